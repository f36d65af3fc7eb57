"""Takes a server out of its registry while it says that it is not healthy, and back in after."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from enlist.errors import EnlistError
from enlist.info import Info
from enlist.states import State, Status

__all__ = ["HealthGate", "Observer", "Silent"]

_logger = logging.getLogger(__name__)
_PATIENCE_S: Final = 0.5


class Observer(Protocol):
    """Told how a stay goes, in the thread that takes its steps; may not raise, nor block."""

    def serving(self, *, yes: bool) -> None:
        """The server was enlisted, or what it says of its health has changed."""

    def leaving(self) -> None:
        """The stop has begun; the drain begins now."""


class Silent:
    """Nobody to tell."""

    def serving(self, *, yes: bool) -> None:
        """Do nothing."""

    def leaving(self) -> None:
        """Do nothing."""


class _Registrar(Protocol):
    """What a gate does to the registry."""

    def register(self, info: Info) -> None:
        """Put the server in."""

    def deregister(self, info: Info) -> None:
        """Take it out; what fails goes on in the background."""

    def status(self) -> Sequence[Status]:
        """Tell what is in."""


class HealthGate:
    """Asks a server in a thread of its own, since a check may block and a beat must not.

    A check that raises counts as unhealthy. Each check looks what the registry shows, so what
    failed or came in between is made good by the next one.
    """

    def __init__(
        self,
        healthy: Callable[[], object],
        registry: _Registrar,
        info: Callable[[], Info],
        interval_s: float,
        *,
        observer: Observer | None = None,
    ) -> None:
        """Watch a server that is registered now.

        Args:
            healthy: returns whether the server can do its work.
            registry: where to take it out and put it back.
            info: tells what is published, or is to be when the server is in again.
            interval_s: seconds between two checks.
            observer: told of each change, whether or not the registry can be.
        """
        self._healthy = healthy
        self._registry = registry
        self._info = info
        self._interval_s = interval_s
        self._observer = observer or Silent()
        self._said = True
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="enlist-health", daemon=True)

    @property
    def inside(self) -> bool:
        """Whether the server is in, as far as its process is concerned."""
        identity = self._info().identity
        return any(
            status.info.identity == identity and status.state is not State.LEAVING
            for status in self._registry.status()
        )

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more; waits for a check under way no longer than one interval, or half a second.

        A check that goes on for longer acts no more: its server has left by then.
        """
        self._stopping.set()
        self._thread.join(min(self._interval_s, _PATIENCE_S))
        if self._thread.is_alive():
            _logger.warning("a health check is still running; its thread ends with it")

    def _run(self) -> None:
        while not self._stopping.wait(self._interval_s):
            self.look()

    def look(self) -> None:
        """Ask once, and act if the answer is not what the registry shows."""
        healthy = self._answer()
        if self._stopping.is_set():
            return
        if healthy is not self._said:
            self._said = healthy
            self._observer.serving(yes=healthy)
        if healthy is self.inside:
            return
        try:
            if healthy:
                self._put_in()
            else:
                self._registry.deregister(self._info())
        except EnlistError as exc:
            _logger.warning("%s is to be %s: %s", self._info(), "in" if healthy else "out", exc)
            return
        state = "healthy, and in again" if healthy else "unhealthy, and out"
        _logger.info("%s is %s", self._info(), state)

    def _put_in(self) -> None:
        registered = None
        while registered != (info := self._info()):  # it may be updated meanwhile
            self._registry.register(info)
            registered = info
            if self._stopping.is_set():  # the server may have left while it was put in
                self._registry.deregister(info)
                return

    def _answer(self) -> bool:
        try:
            return bool(self._healthy())
        except Exception:
            _logger.exception("a health check raised; the server counts as unhealthy")
            return False
