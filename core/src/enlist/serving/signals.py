"""SIGTERM and SIGINT for a blocking main: told to a callback, and put back afterwards."""

from __future__ import annotations

import logging
import math
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Final, TypeAlias

from enlist.errors import ServingError

__all__ = ["SEEN_WITHIN_S", "StopRequests", "told_to_stop"]

_Handler: TypeAlias = Callable[[int, FrameType | None], None]

STOPS: Final = (signal.SIGTERM, signal.SIGINT)
SEEN_WITHIN_S: Final = 0.5
_log = logging.getLogger(__name__)


class StopRequests:
    """What a signal handler, or any thread, asks of one thread that waits for it."""

    def __init__(self) -> None:
        """Begin with none."""
        # Of all that threads have for waiting, this alone may be used in a signal handler.
        self._asked: queue.SimpleQueue[float] = queue.SimpleQueue()

    def ask(self) -> None:
        """Ask once; from anywhere."""
        self._asked.put(time.monotonic())

    def forget(self) -> None:
        """Forget what was asked for until now."""
        while self.wait(0) is not None:
            pass

    def wait(self, seconds: float = math.inf) -> float | None:
        """Wait for the next request; return when it was made, or None if there was none.

        The main thread wakes up now and then: a signal that comes just before it blocks, or that
        the system gives to another thread, does not wake it, and its handler is still to run.
        """
        end = time.monotonic() + seconds
        while True:
            left_s = max(0.0, end - time.monotonic())
            try:
                return self._asked.get(timeout=min(left_s, SEEN_WITHIN_S))
            except queue.Empty:
                if left_s <= SEEN_WITHIN_S:
                    return None


@contextmanager
def told_to_stop(callback: Callable[[], object]) -> Iterator[None]:
    """Call back for each SIGTERM and SIGINT, then call the handler that was there before.

    A handler that would only end the process is not called: that is what a graceful stop is
    instead of. A signal that is ignored (``nohup``, a shell's background job) stays so.

    Args:
        callback: runs in a signal handler: it must not block or take a lock.

    Raises:
        ServingError: this is not the main thread, which alone may handle signals.
    """
    if threading.current_thread() is not threading.main_thread():
        raise ServingError(
            "signals can be handled in the main thread alone; elsewhere use enlist.enlisted(), "
            "and stop the server as that thread is stopped"
        )
    with ExitStack() as undo:
        for number in STOPS:
            before = signal.getsignal(number)
            if before is None:
                _log.warning("%s has a handler that is not Python's, and keeps it", number.name)
            elif before is not signal.SIG_IGN:
                signal.signal(number, _chained(callback, before))
                undo.callback(signal.signal, number, before)
        yield


def _chained(callback: Callable[[], object], before: object) -> _Handler:
    def handle(number: int, frame: FrameType | None) -> None:
        callback()
        if callable(before) and not _only_ends(before):
            before(number, frame)

    return handle


def _only_ends(handler: object) -> bool:
    """Tell the handlers that Python and asyncio.run put there by themselves from a user's."""
    # asyncio's is a partial of a method; all that it does is to cancel the main task.
    function = getattr(handler, "func", handler)
    module = getattr(function, "__module__", "")
    return handler is signal.default_int_handler or module == "asyncio.runners"
