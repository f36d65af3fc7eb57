"""One watched service: a thread that reads lists from the backend, and the view they make."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Protocol

from enlist.clock import Clock
from enlist.errors import PluginBugError, RegistryError, UnavailableError
from enlist.finding.balance import FirstSeen
from enlist.finding.listeners import Ended, Listener, Listeners
from enlist.finding.view import Snapshot, View
from enlist.hookspecs import Stop
from enlist.host_process import start_thread
from enlist.info import Info
from enlist.stopping import StopToken

__all__ = ["Conditions", "Source", "Watch"]

REOPEN_S: Final = 60.0
"""How often a watch is opened anew, so that whatever it lost becomes right by itself."""
REOPEN_SPREAD: Final = 0.2
FIRST_RETRY_CAP_S: Final = 1.0
LAST_RETRY_CAP_S: Final = 5.0

_log = logging.getLogger(__name__)


class Source(Protocol):
    """What a watch needs of a backend."""

    @property
    def name(self) -> str:
        """What the user chose the backend by."""

    @property
    def can_resolve(self) -> bool:
        """Whether the backend can be read."""

    def watch(self, service_name: str, stop: Stop) -> Iterator[Sequence[Info]]:
        """Yield full lists until stopped; raise when the connection is lost."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What all watches of a registry share.

    Attributes:
        clock: counts the time.
        random: spreads what many processes would do at once.
        hold_s: tells for how many seconds to hold what is missing after a failure.
        is_away: tells whether the keeper has heard nothing of the backend lately.
    """

    clock: Clock
    random: Random
    hold_s: Callable[[], float]
    is_away: Callable[[], bool]


class _Round:
    """One opening of the watch; its token ends it, and it alone."""

    def __init__(self, opened_at: float, reopen_at: float) -> None:
        self.stop = StopToken()
        self.opened_at = opened_at
        self.reopen_at = reopen_at
        self.listed = False


class Watch:
    """A live view of one service, shared by all who opened it.

    Attributes:
        service_name: what is watched.
        backend_name: what the backend is called, for messages.
        current: the newest snapshot; None once the watch has ended or was abandoned. Replaced as
            a whole, so that reading it needs no lock.
        last_error: why the view is stale, if it is known; None while lists come.
        first_seen: when this process first saw each instance.
        listeners: who is told of changes.
        abandoned: whether it belongs to the process that this one was forked from.
    """

    def __init__(
        self,
        service_name: str,
        source: Source,
        conditions: Conditions,
        release: Callable[[Watch], None],
    ) -> None:
        """Make the watch; :meth:`start` begins it.

        Args:
            service_name: what to watch.
            source: where the lists come from.
            conditions: what it shares with other watches.
            release: takes one share of it back.
        """
        self.service_name = service_name
        self.backend_name = source.name
        self.current: Snapshot | None = Snapshot()
        self.last_error: BaseException | None = None
        self.first_seen = FirstSeen()
        self.listeners = Listeners(service_name)
        self.abandoned = False
        self._source = source
        self._conditions = conditions
        self._release = release
        self._changed = threading.Condition()
        self._view = View()
        self._round: _Round | None = None
        self._stopping = False
        # Of the watch's own thread alone: how many rounds in a row failed, and what was logged.
        self._failures = 0
        self._logged: type[BaseException] | None = None
        self._thread = threading.Thread(
            target=self._run, name=f"enlist-watch-{service_name}", daemon=True
        )

    # --- for those who share it ---------------------------------------------------------------

    def subscribe(self, listener: Listener, ended: Ended | None = None) -> Callable[[], None]:
        """Have the listener called with each new snapshot from now on; return what ends that."""
        return self.listeners.add(listener, ended)

    def wait_until(self, wanted: Callable[[Snapshot], bool], timeout_s: float) -> None:
        """Wait until a snapshot is as wanted, the watch has ended, or the seconds have passed."""
        with self._changed:
            self._changed.wait_for(
                lambda: self.current is None or wanted(self.current),
                min(timeout_s, threading.TIMEOUT_MAX),
            )

    def close(self) -> None:
        """Give this share back; the watch ends with the last. Call it once for each opening."""
        if self.abandoned:
            return
        with self._changed:
            self._changed.notify_all()
        self._release(self)

    # --- for the watches of the registry ------------------------------------------------------

    def start(self) -> None:
        """Begin to watch.

        Raises:
            UnavailableError: the system gives no further thread now.
        """
        start_thread(self._thread)

    def stop(self) -> None:
        """Have the thread end, wake whoever waits, and tell of nothing more but the end."""
        with self._changed:
            self._stopping = True
            self.current = None
            self._changed.notify_all()
        self.listeners.end()
        self._end_round()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread to end; return whether it has, or is the one that asks."""
        if self._thread is threading.current_thread():
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def abandon(self) -> None:
        """Leave the watch to the parent process, in a forked child with one thread."""
        self.abandoned = True
        self.current = None
        # Another thread of the parent may have held the old one's lock.
        self._changed = threading.Condition()

    def doubt(self, error: BaseException) -> bool:
        """Mark the view stale; return whether it was not."""
        with self._changed:
            self.last_error = error
            return self._publish(renewed=self._view.doubt())

    def reopen_after_failure(self) -> bool:
        """Open the watch anew as one that failed; return whether the view has changed by it."""
        with self._changed:
            renewed = self._publish(renewed=self._view.doubt())
        self._end_round()
        return renewed

    @property
    def due_at(self) -> float:
        """When :meth:`tick` has something to do, in monotonic seconds; infinity for never."""
        with self._changed:
            expires_at = self._view.expires_at
            turn = self._round
            return (
                expires_at
                if turn is None or turn.stop.is_set()
                else min(expires_at, turn.reopen_at)
            )

    def tick(self, now: float) -> bool:
        """Do what is due at ``now``; return whether the view has changed by it."""
        with self._changed:
            due = self._round is not None and self._round.reopen_at <= now
            held = self._view.snapshot.held
            expired = self._publish(renewed=self._view.expire(now))
        if due:
            self._end_round()
        if expired:
            _log.info(
                "%s: %d instances of %r did not come back and were dropped",
                self.backend_name,
                len(held),
                self.service_name,
            )
        return expired

    def _end_round(self) -> None:
        # Outside the lock: the token's callbacks are the plugin's.
        with self._changed:
            turn = self._round
        if turn is not None:
            turn.stop.set()

    def _publish(self, *, renewed: bool) -> bool:
        """Show a new snapshot to everybody; the caller has the lock, and tells afterwards."""
        if not renewed or self._stopping:
            return False
        # In this order nobody who has seen a snapshot, and then subscribes, is told of it.
        self.listeners.put(self._view.snapshot)
        self.current = self._view.snapshot
        self._changed.notify_all()
        return True

    # --- the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        while (turn := self._next_round()) is not None:
            try:
                self._follow(turn)
            except BaseException as exc:  # noqa: BLE001 - asyncio's CancelledError and SystemExit come from plugins, too
                self._failed(turn, exc)
            turn.stop.wait(self._pause_s())

    def _next_round(self) -> _Round | None:
        now = self._conditions.clock.monotonic()
        spread = 1.0 + REOPEN_SPREAD * (2.0 * self._conditions.random.random() - 1.0)
        with self._changed:
            if self._stopping:
                return None
            self._round = _Round(now, now + REOPEN_S * spread)
            return self._round

    def _follow(self, turn: _Round) -> None:
        lists = self._source.watch(self.service_name, turn.stop)
        try:
            for infos in lists:
                if not self._take(turn, infos):
                    break
        finally:
            if isinstance(lists, Generator):
                lists.close()
        if not turn.stop.is_set():
            raise PluginBugError(
                f"backend {self.backend_name!r} ended a watch without being told to: "
                "a bug in the plugin"
            )
        self._failures = 0

    def _take(self, turn: _Round, infos: Sequence[Info]) -> bool:
        """Take in a list; return False if it comes from a round that was ended meanwhile."""
        now, hold_s = self._conditions.clock.monotonic(), self._conditions.hold_s()
        with self._changed:
            if turn.stop.is_set():
                return False
            was_held = len(self._view.snapshot.held)
            trusted = not self._conditions.is_away()
            self._publish(renewed=self._view.update(infos, now=now, hold_s=hold_s, trusted=trusted))
            snapshot = self._view.snapshot
            self.first_seen.keep(snapshot.instances, now)
            if trusted:
                self.last_error = None
        turn.listed = True
        self._log_success(len(snapshot.held) - was_held, hold_s)
        self.listeners.tell()
        return True

    def _log_success(self, newly_held: int, hold_s: float) -> None:
        if self._logged is not None:
            self._logged = None
            _log.info("%s: the watch of %r works again", self.backend_name, self.service_name)
        if newly_held > 0:
            _log.warning(
                "%s: %d instances of %r are missing since an outage; they are held for up to %g s",
                self.backend_name,
                newly_held,
                self.service_name,
                hold_s,
            )

    def _failed(self, turn: _Round, error: BaseException) -> None:
        if turn.stop.is_set():
            # A stream that is cut off may well raise; this is how it was told to end.
            _log.debug(
                "%s: the watch of %r ended with an error",
                self.backend_name,
                self.service_name,
                exc_info=error,
            )
            return
        self.doubt(error)
        # A watch that gives a list and fails at once must not be opened in a tight circle.
        lasted_s = self._conditions.clock.monotonic() - turn.opened_at
        self._failures = 1 if turn.listed and lasted_s >= LAST_RETRY_CAP_S else self._failures + 1
        if type(error) is not self._logged:
            self._logged = type(error)
            self._log_failure(error)
        self.listeners.tell()

    def _log_failure(self, error: BaseException) -> None:
        foreseen = isinstance(error, RegistryError) and not isinstance(error, PluginBugError)
        _log.log(
            logging.WARNING if isinstance(error, UnavailableError) else logging.ERROR,
            "%s: the watch of %r failed and is opened anew; the instances stay, marked stale: %s",
            self.backend_name,
            self.service_name,
            error if foreseen else type(error).__name__,
            exc_info=None if foreseen else error,
        )

    def _pause_s(self) -> float:
        """Return how long to wait before the next round: not at all after the first failure."""
        if self._failures <= 1:
            return 0.0
        cap_s = min(LAST_RETRY_CAP_S, FIRST_RETRY_CAP_S * 2.0 ** min(self._failures - 2, 16))
        return cap_s * self._conditions.random.random()
