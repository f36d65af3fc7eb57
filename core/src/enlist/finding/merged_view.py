"""The views that several registries have of one service, made one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final

from enlist.clock import Clock
from enlist.finding.balance import FirstSeen
from enlist.finding.listeners import Ended, Listener
from enlist.finding.live_view import LiveView
from enlist.finding.view import Snapshot, identity_of
from enlist.info import Identity, Info

__all__ = ["MergedView"]

_NOTHING: Final[tuple[Snapshot | None, ...]] = ()


class MergedView:
    """The union of several views by identity; in a clash the first one is believed.

    Fresh as long as one of them is fresh, held only if no view has the instance for certain.
    """

    def __init__(self, views: Sequence[LiveView], clock: Clock) -> None:
        """Merge these; closing the merged view closes each.

        Args:
            views: shares of one service's watches, which are this one's from now on.
            clock: tells when an instance was first seen.
        """
        self._views = tuple(views)
        self._clock = clock
        self._merged: tuple[tuple[Snapshot | None, ...], Snapshot | None] = _NOTHING, Snapshot()
        self._changed = threading.Condition()
        self.first_seen = FirstSeen()

    @property
    def backend_name(self) -> str:
        """The names of the backends."""
        return ", ".join(view.backend_name for view in self._views)

    @property
    def service_name(self) -> str:
        """What is watched."""
        return self._views[0].service_name

    @property
    def current(self) -> Snapshot | None:
        """The union now; the same object until one of the views changes."""
        parts = tuple(view.current for view in self._views)
        made_of, merged = self._merged
        if len(made_of) != len(parts) or any(
            a is not b for a, b in zip(made_of, parts, strict=True)
        ):
            merged = _union([part for part in parts if part is not None])
            self._merged = parts, merged
            if merged is not None:
                self.first_seen.keep(merged.instances, self._clock.monotonic())
        return merged

    @property
    def last_error(self) -> BaseException | None:
        """The error of the first view that has one, while no view is fresh."""
        errors = [view.last_error for view in self._views]
        return next(filter(None, errors), None) if all(errors) else None

    @property
    def abandoned(self) -> bool:
        """Whether the views belong to the process that this one was forked from."""
        return any(view.abandoned for view in self._views)

    def subscribe(self, listener: Listener, ended: Ended | None = None) -> Callable[[], None]:
        """Have the listener called with the union after a change of any view."""

        def hear(_: Snapshot) -> None:
            if (current := self.current) is not None:
                listener(current)

        ends = [view.subscribe(hear, ended) for view in self._views]

        def end() -> None:
            for one in ends:
                one()

        return end

    def wait_until(self, wanted: Callable[[Snapshot], bool], timeout_s: float) -> None:
        """Wait until the union is as wanted, all views have ended, or the seconds have passed."""

        def wake(*_: Snapshot) -> None:
            with self._changed:
                self._changed.notify_all()

        ends = [view.subscribe(wake, wake) for view in self._views]
        try:
            with self._changed:
                self._changed.wait_for(
                    lambda: (current := self.current) is None or wanted(current),
                    min(timeout_s, threading.TIMEOUT_MAX),
                )
        finally:
            for end in ends:
                end()

    def close(self) -> None:
        """Give back every view, and wake whoever waits."""
        for view in self._views:
            view.close()
        with self._changed:
            self._changed.notify_all()


def _union(parts: Sequence[Snapshot]) -> Snapshot | None:
    if not parts:
        return None
    known: dict[Identity, Info] = {}
    held: dict[Identity, Info] = {}
    for part in parts:
        uncertain = {identity_of(info) for info in part.held}
        for info in part.instances:
            target = held if identity_of(info) in uncertain else known
            target.setdefault(identity_of(info), info)
    only_held = {identity: info for identity, info in held.items() if identity not in known}
    return Snapshot(
        (*known.values(), *only_held.values()),
        all(part.stale for part in parts),
        tuple(only_held.values()),
        any(part.listed for part in parts),
    )
