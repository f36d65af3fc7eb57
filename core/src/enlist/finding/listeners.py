"""Telling callbacks of the newest snapshot: in order, one at a time, and never under a lock."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeAlias

from enlist.finding.view import Snapshot

__all__ = ["Ended", "Listener", "Listeners", "call"]

Listener: TypeAlias = Callable[[Snapshot], object]
Ended: TypeAlias = Callable[[], object]
_P = ParamSpec("_P")
_log = logging.getLogger(__name__)


class Listeners:
    """The callbacks of one watched service.

    Changes come from several threads; whichever comes to tell while another is telling leaves
    its snapshot to that one. A callback that is slow misses what lies between, never the newest.
    """

    def __init__(self, service_name: str) -> None:
        """Have nobody to tell yet; the service's name is for messages."""
        self._service_name = service_name
        self._lock = threading.Lock()
        self._listeners: dict[object, Listener] = {}
        self._ended: dict[object, Ended] = {}
        # The newest snapshot, and who had asked to be told when it came.
        self._untold: tuple[Snapshot, frozenset[object]] | None = None
        self._telling = False

    def add(self, listener: Listener, ended: Ended | None = None) -> Callable[[], None]:
        """Have the listener told of what is put from now on; return what ends that.

        Args:
            listener: told of the snapshots.
            ended: called by :meth:`end`.
        """
        token = object()
        with self._lock:
            self._listeners[token] = listener
            if ended is not None:
                self._ended[token] = ended

        def remove() -> None:
            with self._lock:
                self._listeners.pop(token, None)
                self._ended.pop(token, None)

        return remove

    def end(self) -> None:
        """Tell nobody of a snapshot any more, and those who asked for it of the end."""
        with self._lock:
            self._listeners.clear()
            told, self._ended = list(self._ended.values()), {}
        for ended in told:
            call(self._service_name, ended)

    def put(self, snapshot: Snapshot) -> None:
        """Note what is to be told at the next :meth:`tell`, in place of what was not told yet."""
        with self._lock:
            self._untold = (snapshot, frozenset(self._listeners)) if self._listeners else None

    @property
    def waiting(self) -> bool:
        """Whether something is to be told and nobody is telling it."""
        with self._lock:
            return self._untold is not None and not self._telling

    def tell(self) -> None:
        """Tell in this thread what was noted, unless another thread is at it already."""
        with self._lock:
            if self._telling:
                return
            self._telling = True
        while (todo := self._next()) is not None:
            snapshot, listeners = todo
            for listener in listeners:
                call(self._service_name, listener, snapshot)

    def _next(self) -> tuple[Snapshot, list[Listener]] | None:
        with self._lock:
            if self._untold is None:
                self._telling = False
                return None
            (snapshot, tokens), self._untold = self._untold, None
            return snapshot, [each for token, each in self._listeners.items() if token in tokens]


def call(
    service_name: str, callback: Callable[_P, object], *args: _P.args, **named: _P.kwargs
) -> None:
    """Call a callback; what it raises is logged and goes no further."""
    try:
        callback(*args, **named)
    except BaseException:  # noqa: BLE001 - a callback that calls sys.exit() must not end the watch
        _log.exception("a callback for changes of %r failed; the others go on", service_name)
