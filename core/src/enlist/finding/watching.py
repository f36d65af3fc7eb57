"""The watches of one registry: each watched service has one, however many resolvers share it.

The keeper's thread drives what is due by time (:meth:`Watches.tick`) and passes on the backend's
signs of life; a watch by itself would stay silent before a backend that is frozen.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from random import Random
from typing import Final

from enlist.clock import Clock, Deadline
from enlist.errors import ClosedError, RegistryError, UnavailableError, UnsupportedError
from enlist.finding.view import Snapshot
from enlist.finding.watch import Conditions, Source, Watch
from enlist.host_process import start_thread
from enlist.info import Info

__all__ = ["Watches"]

JOIN_S: Final = 1.0
"""How long a plugin may take to end a watch; the Registry spec allows it 0.2 s."""

_log = logging.getLogger(__name__)


class Watches:
    """Opens, shares, supervises and closes the watches of one registry."""

    def __init__(
        self,
        source: Source,
        *,
        clock: Clock,
        random: Random,
        hold_s: Callable[[], float],
        on_changed: Callable[[str, Sequence[Info], bool], None] | None = None,
    ) -> None:
        """Watch nothing yet.

        Args:
            source: the backend; asked for an iterator of lists for each watched service.
            clock: counts the time between re-openings and that of holding.
            random: spreads re-openings and retries.
            hold_s: tells for how many seconds to hold what is missing after a failure.
            on_changed: told of each change of a view: name, instances, whether stale.
        """
        self._source = source
        self._conditions = Conditions(clock, random, hold_s, lambda: self._away)
        self._clock = clock
        self._on_changed = on_changed
        self._lock = threading.Lock()
        self._watches: dict[str, Watch] = {}
        self._shares: dict[str, int] = {}
        self._away = False
        self._closed = False
        self._to_tell: deque[Watch] = deque()
        self._teller: threading.Thread | None = None
        # By a weak reference, since what is registered for forks is never taken back.
        os.register_at_fork(after_in_child=partial(_abandon, weakref.ref(self)))

    # --- opening and closing -----------------------------------------------------------------

    def open(self, service_name: str) -> Watch:
        """Return the watch of the service, which begins if nobody has it yet; close it after use.

        Does not wait for the first list, and calls nothing of the backend in this thread.

        Raises:
            ClosedError: the watches were closed.
            UnavailableError: the system gives no further thread now.
            UnsupportedError: the backend can only be written to.
        """
        if not self._source.can_resolve:
            raise UnsupportedError(
                f"backend {self._source.name!r} only publishes: it has neither 'resolve' nor "
                f"'watch', so {service_name!r} cannot be watched"
            )
        with self._lock:
            if self._closed:
                raise ClosedError(
                    f"{self._source.name}: {service_name!r} cannot be watched: "
                    "the registry was closed"
                )
            return self._shared(service_name)

    def _shared(self, service_name: str) -> Watch:
        if not self._watches:
            # What was heard of the backend when it was last watched may be long past.
            self._away = False
        watch = self._watches.get(service_name)
        if watch is None:
            watch = Watch(service_name, self._source, self._conditions, self._release)
            if self._on_changed is not None:
                watch.listeners.add(self._teller_of(service_name, self._on_changed))
            watch.start()
            self._watches[service_name] = watch
        self._shares[service_name] = self._shares.get(service_name, 0) + 1
        return watch

    @staticmethod
    def _teller_of(
        service_name: str, on_changed: Callable[[str, Sequence[Info], bool], None]
    ) -> Callable[[Snapshot], None]:
        return lambda snapshot: on_changed(service_name, snapshot.instances, snapshot.stale)

    def _release(self, watch: Watch) -> None:
        """Give one share back; the last one ends the watch."""
        name = watch.service_name
        with self._lock:
            if self._watches.get(name) is not watch:
                return
            self._shares[name] -= 1
            if self._shares[name]:
                return
            del self._watches[name], self._shares[name]
        self._end([watch], JOIN_S)

    def close(self, timeout_s: float = JOIN_S) -> None:
        """End all watches, and wait for their threads no longer than the given seconds in all.

        Whoever waits in a resolver gets a ClosedError. A second call does nothing.
        """
        with self._lock:
            self._closed = True
            watches, self._watches, self._shares = list(self._watches.values()), {}, {}
            teller = self._teller
        self._end(watches, timeout_s, teller)

    def _end(
        self, watches: Iterable[Watch], timeout_s: float, teller: threading.Thread | None = None
    ) -> None:
        deadline = Deadline(self._clock, timeout_s)
        for watch in watches:
            watch.stop()
        for watch in watches:
            if not watch.join(deadline.left_s):
                _log.warning(
                    "%s: the watch of %r did not end within %g s of being stopped; "
                    "the plugin or a callback for changes holds it, and its thread is left behind",
                    self._source.name,
                    watch.service_name,
                    timeout_s,
                )
        if teller is not None and teller is not threading.current_thread():
            teller.join(deadline.left_s)

    def abandon(self) -> None:
        """Let go of everything in a forked child, where the parent's threads do not run.

        Called by itself after each fork, before the child has a second thread. Takes no lock,
        since another thread of the parent may have held it, and touches no connection. A
        resolver that meets one of these watches afterwards opens one of the child's own.
        """
        self._lock = threading.Lock()
        self._closed = True
        for watch in self._watches.values():
            watch.abandon()
        self._watches, self._shares = {}, {}

    # --- supervision, from the keeper's thread ------------------------------------------------

    def _all(self) -> list[Watch]:
        with self._lock:
            return list(self._watches.values())

    def active(self) -> tuple[str, ...]:
        """Return the names of the services that are watched now."""
        with self._lock:
            return tuple(self._watches)

    def backend_failed(self, error: RegistryError) -> None:
        """Mark every view stale: the backend did not answer, although the watches may be silent."""
        self._away = True
        self._tell([watch for watch in self._all() if watch.doubt(error)])

    def backend_answered(self) -> None:
        """After a failure, open every watch anew as one that failed; otherwise do nothing.

        A stream that was silent through an outage may have lost its place without a word.
        """
        if not self._away:
            return
        self._away = False
        self._tell([watch for watch in self._all() if watch.reopen_after_failure()])

    def next_due_s(self) -> float:
        """Return the seconds until :meth:`tick` has something to do; infinity for nothing."""
        if not self._watches:
            return math.inf
        due_at = min((watch.due_at for watch in self._all()), default=math.inf)
        return max(0.0, due_at - self._clock.monotonic())

    def tick(self) -> None:
        """Open anew the watches whose time has come, and drop what was held for long enough."""
        now = self._clock.monotonic()
        self._tell([watch for watch in self._all() if watch.tick(now)])

    # --- callbacks ----------------------------------------------------------------------------

    def _tell(self, changed: Iterable[Watch]) -> None:
        """Have the callbacks called in another thread: a slow one must not delay a sign of life."""
        waiting = [watch for watch in changed if watch.listeners.waiting]
        with self._lock:
            self._to_tell.extend(waiting)
            if not self._to_tell or self._teller is not None:
                return
            teller = threading.Thread(
                target=self._tell_all, name="enlist-watch-callbacks", daemon=True
            )
            try:
                start_thread(teller)
            except UnavailableError as exc:
                # They are told with the next ones; the keeper, which asks for it, has to go on.
                _log.warning("%s: callbacks for changes wait: %s", self._source.name, exc)
            else:
                self._teller = teller

    def _tell_all(self) -> None:
        while True:
            with self._lock:
                if not self._to_tell:
                    self._teller = None
                    return
                watch = self._to_tell.popleft()
            watch.listeners.tell()


def _abandon(reference: weakref.ref[Watches]) -> None:
    """Leave the watches, if they still exist, to the parent process."""
    watches = reference()
    if watches is not None:
        watches.abandon()
