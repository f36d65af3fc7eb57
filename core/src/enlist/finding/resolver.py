"""Resolver: a live view of one service, and the choice of an instance to call."""

from __future__ import annotations

import datetime as dt
import os
import random
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from enlist.clock import Clock, Deadline
from enlist.errors import (
    ClosedError,
    InvalidOptionError,
    NoInstanceError,
    TimedOutError,
    UnavailableError,
)
from enlist.finding.balance import Balancer, Table
from enlist.finding.live_view import LiveView
from enlist.finding.subscription import Subscription
from enlist.finding.view import Snapshot
from enlist.info import Info

__all__ = ["Resolver", "Waiting"]


@dataclass(frozen=True, slots=True)
class Waiting:
    """One wait for instances: a thread sleeps through it, a coroutine awaits its end.

    Attributes:
        seconds: how long it may take.
        is_over: tells whether there are enough instances, or nothing can come any more.
        outcome: returns the instances that are there, or raises why they are too few.
    """

    seconds: float
    is_over: Callable[[], bool]
    outcome: Callable[[], tuple[Info, ...]]


class Resolver:
    """Shows who serves a name now, and picks one of them.

    Opening it does not wait: until the first list has come, :attr:`instances` is empty and
    :attr:`stale` is true. The first :meth:`pick` waits for that list; nothing else but
    :meth:`wait_for` ever waits. All methods may be called from any thread. In a forked child the
    first use opens a watch of the child's own.

    While the backend is away the last list stays, marked stale, and may still be picked from.
    """

    def __init__(
        self,
        open_watch: Callable[[], LiveView],
        *,
        clock: Clock,
        timeout_s: float,
        tags: Mapping[str, str] | None = None,
        random: Callable[[], float] = random.random,
    ) -> None:
        """Open a watch and show what it sees.

        Args:
            open_watch: opens a share of the watch; called now, and again in a forked child.
            clock: counts the time of waiting and of warming up.
            timeout_s: how long the first pick and :meth:`wait_for` wait, unless told otherwise.
            tags: show only the instances that have all of these pairs.
            random: numbers from 0 up to but not including 1, for picking.

        Raises:
            InvalidInfoError: a tag breaks the rules for tags.
        """
        self._tags = tuple((Info(tags=tags).tags or {}).items())
        self._open_watch = open_watch
        self._clock = clock
        self._timeout_s = timeout_s
        self._random = random
        self._closed = False
        self._locks: dict[int, threading.Lock] = {}
        self._subscriptions: dict[object, Subscription] = {}
        # Each is a pair that is replaced as a whole: what was made, and of which snapshot.
        self._filtered = (Snapshot(), Snapshot())
        self._prepared = (Snapshot(), Table((), (), 0.0))
        self._watch = open_watch()
        self._backend_name = self._watch.backend_name
        self._service_name = self._watch.service_name
        self._first_list_by = Deadline(clock, timeout_s)

    # --- looking --------------------------------------------------------------------------

    @property
    def service_name(self) -> str:
        """The name that is resolved."""
        return self._service_name

    @property
    def instances(self) -> tuple[Info, ...]:
        """The instances that may be called now, first those of the newest list, then those held.

        Raises:
            ClosedError: the resolver or its registry was closed.
        """
        return self.snapshot().instances

    @property
    def stale(self) -> bool:
        """Whether the view may be out of date, since no list has come yet or the backend is away.

        Raises:
            ClosedError: the resolver or its registry was closed.
        """
        return self.snapshot().stale

    @property
    def last_error(self) -> BaseException | None:
        """Why the view is stale, if it is known; None while all is well."""
        return self._watch.last_error

    def snapshot(self) -> Snapshot:
        """Return one consistent look at everything. Does not wait.

        Raises:
            ClosedError: the resolver or its registry was closed.
        """
        return self._shown(self._current())

    def wait_for(self, n: int = 1, timeout: dt.timedelta | None = None) -> tuple[Info, ...]:
        """Wait until at least ``n`` instances are there, and return all that are.

        Held instances and those of a stale view count, since they may be picked.

        Args:
            n: how many; 0 waits for the first list alone, even if it is empty.
            timeout: how long to wait; the registry's timeout by default, 0 for one look.

        Raises:
            TimedOutError: there are fewer; it says how many, whether the view is stale, and why.
            ClosedError: the resolver or its registry was closed, also while waiting.
            InvalidOptionError: ``n`` or ``timeout`` is negative or of another type.
        """
        waiting = self.waiting(n, timeout)
        self._usable().wait_until(lambda _: waiting.is_over(), waiting.seconds)
        return waiting.outcome()

    def waiting(self, n: int, timeout: dt.timedelta | None) -> Waiting:
        """Return what :meth:`wait_for` waits for, for whoever waits in another way."""
        if not isinstance(n, int) or isinstance(n, bool) or n < 0:
            raise InvalidOptionError("n", n, "must be a whole number of instances, 0 or more")
        timeout_s = self._seconds(timeout)
        self._usable()  # refuses after the end
        return Waiting(timeout_s, lambda: self._is_over(n), lambda: self._found(n, timeout_s))

    def waiting_for_first_list(self) -> Waiting:
        """Return what the first :meth:`pick` waits for, for whoever waits in another way."""
        self._usable()  # in a forked child the list and the time for it are its own
        left_s = self._first_list_by.left_s
        return Waiting(left_s, lambda: self._is_over(0), lambda: self._found(0, left_s))

    def _is_over(self, n: int) -> bool:
        current = self._watch.current
        return current is None or self._has(current, n)

    def _found(self, n: int, timeout_s: float) -> tuple[Info, ...]:
        snapshot = self._current()
        if self._has(snapshot, n):
            return self._shown(snapshot).instances
        known = len(self._shown(snapshot).instances)
        wanted = f"{n} of {self._what()}" if n else f"the first list of {self._what()}"
        raise TimedOutError(
            f"{self._backend_name}: waited {timeout_s:g} s for {wanted}; "
            f"there are {known}{self._doubts(snapshot)}"
        ) from self.last_error

    def _has(self, snapshot: Snapshot, n: int) -> bool:
        return self._closed or (snapshot.listed and len(self._shown(snapshot).instances) >= n)

    def _seconds(self, timeout: dt.timedelta | None) -> float:
        if timeout is None:
            return self._timeout_s
        if not isinstance(timeout, dt.timedelta) or timeout < dt.timedelta(0):
            raise InvalidOptionError(
                "timeout", timeout, "must be a timedelta of 0 or more, such as timedelta(seconds=3)"
            )
        return timeout.total_seconds()

    # --- picking --------------------------------------------------------------------------

    def pick(self, *, exclude: Collection[Info] = ()) -> Info:
        """Choose an instance by chance, in proportion to the weights; less while one warms up.

        Takes about as long for 10,000 instances as for 10. Waits only while no list has ever
        come, and not beyond the registry's timeout after the resolver was opened.

        Args:
            exclude: instances not to choose, such as those that this call has tried already;
                compared by address.

        Raises:
            NoInstanceError: nobody is eligible; it says how many are known, and why.
            UnavailableError: no list has come yet, so nothing is known.
            ClosedError: the resolver or its registry was closed.
        """
        made_of, table = self._prepared
        if made_of is not self._watch.current or table.expires_at <= self._clock.monotonic():
            table = self._prepare()
        info = table.draw_except(exclude, self._random) if exclude else table.draw(self._random)
        if info is None:
            raise self._nobody(exclude)
        return info

    def _prepare(self) -> Table:
        """Return a table of the instances as they are now; made once for all threads."""
        watch = self._usable()
        watch.wait_until(lambda snapshot: self._has(snapshot, 0), self._first_list_by.left_s)
        with self._lock():
            current = self._current()
            made_of, table = self._prepared
            if made_of is not current or table.expires_at <= self._clock.monotonic():
                table = Balancer(self._clock, watch.first_seen).table(
                    self._shown(current).instances
                )
                self._prepared = current, table
            return table

    def _nobody(self, exclude: Collection[Info]) -> UnavailableError | NoInstanceError:
        snapshot = self._current()
        doubts = self._doubts(snapshot)
        if not snapshot.listed:
            return UnavailableError(
                f"{self._backend_name}: nothing is known of {self._service_name!r} yet{doubts}"
            )
        known = self._shown(snapshot).instances
        idle = sum(info.weight == 0 for info in known)
        why = "".join(
            [
                f", {idle} of them of weight 0" if idle else "",
                f", {len(exclude)} excluded" if exclude else "",
                f", {len(snapshot.instances)} without regard to tags" if self._tags else "",
            ]
        )
        return NoInstanceError(
            f"{self._backend_name}: no instance of {self._what()} can be picked: "
            f"{len(known)} known{why}{doubts}"
        )

    # --- following ------------------------------------------------------------------------

    def on_change(
        self, callback: Callable[[Snapshot], object], *, ended: Callable[[], object] | None = None
    ) -> Callable[[], None]:
        """Have the callback called with the new snapshot after each change.

        It is called in a thread of the registry, in a forked child also in that of the first
        use; never twice at a time, and in order. While it runs, snapshots between may be
        skipped, never the newest. What it raises is logged. It is not called for what is there
        already: call :meth:`snapshot` after this.

        Args:
            callback: takes the snapshot.
            ended: called, in the thread that closes, when the resolver or its registry is closed;
                of several registries with each of them.

        Returns:
            A function that ends it; a second call of that does nothing.

        Raises:
            InvalidOptionError: ``callback`` cannot be called.
            ClosedError: the resolver or its registry was closed.
        """
        if not callable(callback):
            raise InvalidOptionError(
                "callback", callback, "must be a function that takes a Snapshot"
            )
        self._current()  # refuses after the end
        token = object()
        self._subscriptions[token] = Subscription(callback, ended, self._shown, self._usable())

        def unsubscribe() -> None:
            if (found := self._subscriptions.pop(token, None)) is not None:
                found.end()

        return unsubscribe

    # --- the end --------------------------------------------------------------------------

    def close(self) -> None:
        """Stop following; a second call does nothing. The last of a service ends its watch."""
        with self._lock():
            if self._closed:
                return
            self._closed = True
            # A snapshot that is nobody's current one: the next pick looks closer, and is refused.
            self._prepared = (Snapshot(), Table((), (), 0.0))
        while self._subscriptions:
            self._subscriptions.popitem()[1].close()
        if not self._watch.abandoned:
            self._watch.close()

    def __enter__(self) -> Self:
        """Return the resolver itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def __repr__(self) -> str:
        """Name the service, and say how many instances there are."""
        current = self._watch.current
        state = (
            "closed"
            if self._closed or current is None
            else f"{len(self._shown(current).instances)} instances"
        )
        return f"<Resolver of {self._what()} at {self._backend_name}: {state}>"

    # --- inside ---------------------------------------------------------------------------

    def _lock(self) -> threading.Lock:
        """Return this process's lock: one held at the moment of a fork stays held in the child."""
        return self._locks.setdefault(os.getpid(), threading.Lock())

    def _usable(self) -> LiveView:
        if self._closed:
            raise ClosedError(
                f"{self._backend_name}: the resolver of {self._service_name!r} was closed; "
                "open another one"
            )
        return self._reopened() if self._watch.abandoned else self._watch

    def _reopened(self) -> LiveView:
        """Open a watch in a forked child; its parent's threads do not run there."""
        with self._lock():
            if not self._watch.abandoned:
                return self._watch
            watch = self._open_watch()
            self._first_list_by = Deadline(self._clock, self._timeout_s)
            subscriptions = list(self._subscriptions.values())
            for subscription in subscriptions:
                subscription.bind(watch)
            self._watch = watch
        # The first list may have come before they were bound.
        for subscription in subscriptions:
            subscription.look()
        return watch

    def _current(self) -> Snapshot:
        current = self._usable().current
        if current is None:
            raise ClosedError(
                f"{self._backend_name}: {self._service_name!r} is no longer watched: "
                "the registry was closed"
            )
        return current

    def _shown(self, snapshot: Snapshot) -> Snapshot:
        """Return the snapshot without the instances that lack one of the tags."""
        if not self._tags:
            return snapshot
        made_of, shown = self._filtered
        if made_of is not snapshot:
            shown = Snapshot(
                tuple(filter(self._fits, snapshot.instances)),
                snapshot.stale,
                tuple(filter(self._fits, snapshot.held)),
                snapshot.listed,
            )
            self._filtered = snapshot, shown
        return shown

    def _fits(self, info: Info) -> bool:
        tags = info.tags or {}
        return all(tags.get(key) == value for key, value in self._tags)

    def _what(self) -> str:
        return (
            f"{self._service_name!r} with tags {dict(self._tags)!r}"
            if self._tags
            else repr(self._service_name)
        )

    def _doubts(self, snapshot: Snapshot) -> str:
        if not snapshot.stale:
            return ""
        error = self.last_error
        unlisted = "" if snapshot.listed else ", and no list has come"
        return f"; the view is stale{unlisted}" + (f"; last error: {error}" if error else "")
