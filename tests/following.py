"""Follows the watch of any plugin as the core does."""

import threading
import time
from collections.abc import Iterator, Sequence
from queue import Queue
from typing import Protocol

from enlist.errors import RegistryError
from enlist.info import Info
from enlist.stopping import StopToken


class Watchable(Protocol):
    """A plugin, as far as a follower needs it."""

    def watch(self, service_name: str, stop: StopToken) -> Iterator[Sequence[Info]]:
        """Yield full lists until stopped."""


class Follower:
    """Iterates over a watch in a thread of its own, as the core does."""

    def __init__(self, plugin: Watchable, service_name: str) -> None:
        self.stop = StopToken()
        self.lists: Queue[Sequence[Info]] = Queue()
        self.error: RegistryError | None = None
        self._plugin = plugin
        self._name = service_name
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            for infos in self._plugin.watch(self._name, self.stop):
                self.lists.put(infos)
        except RegistryError as exc:
            self.error = exc

    def next(self) -> Sequence[Info]:
        """Wait for the next list."""
        return self.lists.get(timeout=20)

    def until(self, wanted: Sequence[Info]) -> None:
        """Wait for a list with just these instances."""
        while set(self.next()) != set(wanted):
            pass

    def ended(self) -> RegistryError | None:
        """Wait until the watch has ended by itself."""
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self.error

    def end(self) -> float:
        """Stop and return the seconds that it took."""
        began = time.monotonic()
        self.stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()
        return time.monotonic() - began
