"""Takes a server out of its registry while it says that it is not healthy, and back in after."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Protocol

from enlist.errors import EnlistError
from enlist.info import Info

__all__ = ["HealthGate"]

_logger = logging.getLogger(__name__)


class _Registrar(Protocol):
    """What a gate does to the registry."""

    def register(self, info: Info) -> None:
        """Put the server in."""

    def deregister(self, info: Info) -> None:
        """Take it out."""


class HealthGate:
    """Asks a server in a thread of its own, since a check may block and a beat must not.

    A check that raises counts as unhealthy. What the registry refuses is tried again at the
    next check, as long as the answer stays the same.
    """

    def __init__(
        self,
        healthy: Callable[[], object],
        registry: _Registrar,
        info: Callable[[], Info],
        interval_s: float,
    ) -> None:
        """Watch a server that is registered now.

        Args:
            healthy: returns whether the server can do its work.
            registry: where to take it out and put it back.
            info: tells what is published.
            interval_s: seconds between two checks.
        """
        self._healthy = healthy
        self._registry = registry
        self._info = info
        self._interval_s = interval_s
        self._inside = True
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="enlist-health", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more; waits for a check under way no longer than one interval."""
        self._stopping.set()
        self._thread.join(self._interval_s)
        if self._thread.is_alive():
            _logger.warning("a health check is still running; its thread ends with it")

    def _run(self) -> None:
        while not self._stopping.wait(self._interval_s):
            self.look()

    def look(self) -> None:
        """Ask once, and act if the answer is not what the registry shows."""
        healthy = self._answer()
        if healthy is self._inside or self._stopping.is_set():
            return
        info = self._info()
        try:
            if healthy:
                self._registry.register(info)
            else:
                self._registry.deregister(info)
        except EnlistError as exc:
            _logger.warning("%s is to be %s: %s", info, "in" if healthy else "out", exc)
            return
        self._inside = healthy
        _logger.info("%s is %s", info, "healthy, and in again" if healthy else "unhealthy, and out")

    def _answer(self) -> bool:
        try:
            return bool(self._healthy())
        except Exception:
            _logger.exception("a health check raised; the server counts as unhealthy")
            return False
