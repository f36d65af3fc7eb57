"""Ending a request from another thread, whichever connection carries it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from enlist.errors import RegistryError
from enlist_consul.connection import Connection
from enlist_consul.failures import StoppedError

__all__ = ["Shutter"]


class Shutter:
    """Ends the requests of one thread, over connections that others use as well."""

    def __init__(self) -> None:
        """Have nothing to end yet."""
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._is_shut = False

    def shut(self) -> None:
        """End the request that is under way, and each that follows; it raises."""
        with self._lock:
            self._is_shut = True
            if self._connection is not None:
                self._connection.shut()

    def check(self) -> None:
        """Make sure that requests are still wanted.

        Raises:
            StoppedError: they are not.
        """
        if self._is_shut:
            raise StoppedError("Consul: the request was stopped.")

    @contextlib.contextmanager
    def over(self, connection: Connection) -> Iterator[None]:
        """Shut that connection if requests are stopped in this block, and not afterwards.

        Raises:
            StoppedError: requests were stopped, and this is why the block failed.
        """
        with self._lock:
            self.check()
            self._connection = connection
        try:
            yield
        except RegistryError:
            self.check()
            raise
        finally:
            with self._lock:
                self._connection = None
