"""The one thread of an opened registry: the keeper's rounds, and the timers of the watches."""

from __future__ import annotations

import logging
import math
import threading
import time
from typing import Final, Protocol

from enlist.host_process import start_thread
from enlist.keeping.keeper import Keeper

__all__ = ["Periodic", "Supervisor"]

_SLACK_S: Final = 0.001
_logger = logging.getLogger(__name__)


class Periodic(Protocol):
    """Something beside the rounds that has work to do at certain times."""

    def next_due_s(self) -> float:
        """Return the seconds until something is due; infinity for nothing."""

    def tick(self) -> None:
        """Do what is due."""


class Supervisor:
    """Starts with the first use, sleeps while there is nothing to do, survives its own bugs."""

    def __init__(self, keeper: Keeper, watches: Periodic, *, name: str) -> None:
        """Supervise, once :meth:`ensure_running` is called.

        Args:
            keeper: whose rounds to run.
            watches: whose timers to serve.
            name: the registry's name, for the thread and for messages.
        """
        self._keeper = keeper
        self._watches = watches
        self._name = name
        self._lock = threading.Lock()
        self._woken = threading.Event()
        # By the system's monotonic clock, by which the thread really sleeps; infinity while it
        # is awake, since it may have looked already when something new becomes due.
        self._sleeps_until = math.inf
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread if that was not done yet: before there is something for it to keep.

        Raises:
            UnavailableError: the system gives no further thread now.
        """
        if self._thread is None:
            self._start()

    def ensure_running(self) -> None:
        """Start the thread if it does not run, and have it look at what is due.

        A thread that died without being told to is started again, and that is logged.

        Raises:
            UnavailableError: the system gives no further thread now.
        """
        thread = self._thread
        if thread is None or not thread.is_alive():
            self._start()
        # Waking it for nothing would cost every call two changes of threads.
        if time.monotonic() + self._pause_s() < self._sleeps_until - _SLACK_S:
            self._woken.set()

    def revive(self) -> None:
        """Start the thread again if it has died; one that never ran need not."""
        if self._thread is not None and not self._thread.is_alive():
            self._start()

    def _start(self) -> None:
        with self._lock:
            if self._stopping or (self._thread is not None and self._thread.is_alive()):
                return
            if self._thread is not None:
                _logger.error("%s: the keeper's thread had died; it was started again", self._name)
            thread = threading.Thread(
                target=self._run, name=f"enlist-keeper-{self._name}", daemon=True
            )
            start_thread(thread)
            self._thread = thread

    def stop(self, timeout_s: float) -> None:
        """End the thread; wait for it no longer than the given seconds."""
        with self._lock:
            self._stopping = True
            thread = self._thread
        self._woken.set()
        if thread is None or thread is threading.current_thread():
            return
        thread.join(timeout_s)
        if thread.is_alive():
            _logger.warning(
                "%s: the keeper is still waiting for the backend; it ends with that call",
                self._name,
            )

    def _run(self) -> None:
        while not self._stopping:
            pause_s = self._pause_s()
            self._sleeps_until = time.monotonic() + pause_s
            self._woken.wait(pause_s)
            self._sleeps_until = math.inf
            self._woken.clear()
            if self._stopping:
                return
            self._look()

    def _pause_s(self) -> float:
        due_s = min(self._watches.next_due_s(), threading.TIMEOUT_MAX)
        round_s = self._keeper.seconds_to_round()
        return min(due_s, threading.TIMEOUT_MAX if round_s is None else round_s)

    def _look(self) -> None:
        # BaseException too, such as an extension's SystemExit: it would end this thread alone,
        # in silence, and with it every registration.
        try:
            self._watches.tick()
        except BaseException:
            _logger.exception("%s: the watches met an error that nobody foresaw", self._name)
        try:
            if self._keeper.seconds_to_round() == 0.0:
                self._keeper.round()
        except BaseException:
            _logger.exception("%s: a round met an error that nobody foresaw", self._name)
