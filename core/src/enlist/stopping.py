"""The token with which the core ends a watch."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

__all__ = ["StopToken"]

_logger = logging.getLogger(__name__)


class StopToken:
    """Set once; whoever waits for it wakes, and every callback runs once in the stopping thread."""

    def __init__(self) -> None:
        """Make a token that is not set."""
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], object]] = []

    def is_set(self) -> bool:
        """Return whether :meth:`set` was called."""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait until the token is set or the seconds have passed; return whether it is set."""
        return self._event.wait(seconds)

    def on_stop(self, callback: Callable[[], object]) -> None:
        """Have the callback run when the token is set; at once if it is set already."""
        with self._lock:
            if not self._event.is_set():
                self._callbacks.append(callback)
                return
        _run(callback)

    def set(self) -> None:
        """Set the token and run the callbacks; a second call does nothing."""
        with self._lock:
            self._event.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            _run(callback)


def _run(callback: Callable[[], object]) -> None:
    # One callback that fails must not keep the others from unblocking their iterators.
    try:
        callback()
    except Exception:
        _logger.exception("a watch could not be unblocked: its stop callback raised")
