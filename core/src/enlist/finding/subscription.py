"""One callback for the changes that a resolver shows."""

from __future__ import annotations

import threading
from collections.abc import Callable

from enlist.finding.listeners import Ended, Listener, call
from enlist.finding.live_view import LiveView
from enlist.finding.view import Snapshot

__all__ = ["Subscription"]


class Subscription:
    """One callback, told only of what changes in the resolver's own part of the view.

    It looks at what is newest by itself, one thread at a time. So it does not matter which
    thread says that something has changed, or in which order several of them say so.
    """

    def __init__(
        self,
        callback: Listener,
        ended: Ended | None,
        shown: Callable[[Snapshot], Snapshot],
        watch: LiveView,
    ) -> None:
        """Follow ``watch``.

        Args:
            callback: told of each change.
            ended: told of the end.
            shown: returns the resolver's part of a snapshot.
            watch: what is followed first.
        """
        self._callback = callback
        self._ended = ended
        self._shown = shown
        # Nothing, so that no change can be missed between a look and the subscription.
        self._told: Snapshot | None = None
        self.bind(watch)

    def bind(self, watch: LiveView) -> None:
        """Follow this watch from now on."""
        # A new lock: another thread of the parent may have held the old one at a fork.
        self._lock = threading.Lock()
        self._watch = watch
        self._remove = watch.subscribe(lambda _: self.look(), self._ended)

    def end(self) -> None:
        """Follow no longer; a watch of the process that this one was forked from is left alone."""
        if not self._watch.abandoned:
            self._remove()

    def close(self) -> None:
        """Follow no longer, and tell of the end, unless the watch has done so at its own."""
        goes_on = self._watch.abandoned or self._watch.current is not None
        self.end()
        if goes_on and self._ended is not None:
            call(self._watch.service_name, self._ended)

    def look(self) -> None:
        """Call the callback if there is something to tell."""
        with self._lock:
            current = self._watch.current
            if current is None or not current.listed:
                return
            shown = self._shown(current)
            if shown != self._told:
                self._told = shown
                call(self._watch.service_name, self._callback, shown)
