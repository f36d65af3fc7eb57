"""Threads that look on while a test acts: a watch that is followed, and a client that asks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from types import TracebackType
from typing import Final, Self

from enlist.backend import Backend
from enlist.errors import RegistryError, TimedOutError, UnavailableError
from enlist.info import Info
from enlist.registry import Registry
from enlist.stopping import StopToken

__all__ = ["Asking", "Following", "poll"]

PAUSE_S: Final = 0.01
ENDS_WITHIN_S: Final = 15.0


def poll(condition: Callable[[], bool], within_s: float) -> bool:
    """Look until the condition holds or the seconds have passed; return whether it holds."""
    end = time.monotonic() + within_s
    while True:
        if condition():
            return True
        if time.monotonic() >= end:
            return False
        time.sleep(PAUSE_S)


class Following:
    """Takes every list from a plugin's own ``watch``, in a thread, as the core would.

    Attributes:
        lists: what came, oldest first.
        error: what ended the watch, if an error did.
        stop: the token; :meth:`end` sets it.
    """

    def __init__(self, backend: Backend, service_name: str, *, paused: bool = False) -> None:
        """Start to watch.

        Args:
            backend: whose hook to call.
            service_name: what to watch.
            paused: after the first list, do not ask for the next before :meth:`go_on`.
        """
        self._may_go_on = threading.Event()
        if not paused:
            self._may_go_on.set()
        self.lists: list[tuple[Info, ...]] = []
        self.error: RegistryError | None = None
        self.stop = StopToken()
        self._backend = backend
        self._service_name = service_name
        self._thread = threading.Thread(target=self._run, name="enlist-kit-following", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            lists = self._backend.watch(self._service_name, self.stop)
            try:
                for instances in lists:
                    self.lists.append(tuple(instances))
                    self._may_go_on.wait()
            finally:
                if isinstance(lists, Generator):
                    lists.close()
        except RegistryError as exc:
            self.error = exc

    def go_on(self) -> None:
        """Ask for the next list, if paused."""
        self._may_go_on.set()

    @property
    def newest(self) -> tuple[Info, ...] | None:
        """The last list, None before the first."""
        return self.lists[-1] if self.lists else None

    def has_shown(self, info: Info) -> bool:
        """Return whether the newest list has that instance."""
        return info in (self.newest or ())

    def end(self, within_s: float) -> float | None:
        """Stop the watch; return the seconds that it took to end, None if it takes longer."""
        began = time.monotonic()
        self.stop.set()
        self.go_on()
        self._thread.join(within_s)
        return None if self._thread.is_alive() else time.monotonic() - began


class Asking:
    """A client that resolves without a pause in a thread, and keeps each answer that is new.

    Attributes:
        answers: every answer that differed from the one before, with its time.
        error: the first error that was not that the backend is away.
    """

    def __init__(self, registry: Registry, service_name: str) -> None:
        """Ask nothing yet; use ``with``."""
        self.answers: list[tuple[Info, ...]] = []
        self.asked = 0
        self.error: RegistryError | None = None
        self._registry = registry
        self._service_name = service_name
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="enlist-kit-asking", daemon=True)

    def _run(self) -> None:
        while not self._ended.wait(PAUSE_S / 5):
            try:
                answer = self._registry.resolve(self._service_name)
            except UnavailableError:
                continue
            except RegistryError as exc:
                self.error = exc
                return
            if not self.answers or self.answers[-1] != answer:
                self.answers.append(answer)
            self.asked += 1

    def __enter__(self) -> Self:
        """Begin, and wait for the first answer."""
        self._thread.start()
        poll(lambda: self.asked > 0 or self.error is not None, 10.0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Ask once more, and end."""
        asked = self.asked
        poll(lambda: self.asked > asked + 1 or self.error is not None, 1.0)
        self._ended.set()
        self._thread.join(ENDS_WITHIN_S)
        if self._thread.is_alive():
            self.error = TimedOutError(f"resolve had not returned {ENDS_WITHIN_S:g} s later")
