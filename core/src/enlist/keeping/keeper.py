"""Keeps the wanted registrations true, whatever the backend and the network do.

A *round* is: one sign of life for all, the removals still owed, then a repair of what is lost.
It is an ordinary method, so that tests run hours of outages in milliseconds; the thread that
runs rounds in production is :class:`enlist.keeping.supervisor.Supervisor`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from enlist.backend import Backend
from enlist.clock import Clock, Deadline
from enlist.errors import PluginBugError, RegistryError, TimedOutError, UnavailableError
from enlist.hookspecs import Lost, Why
from enlist.info import Identity
from enlist.keeping.backoff import Backoff
from enlist.keeping.entry import Claim, Entry
from enlist.keeping.registrations import Registrations
from enlist.keeping.rewriting import Rewriting
from enlist.keeping.writer import NotReachedError, Writer
from enlist.states import State

__all__ = ["Keeper", "Listener"]

_REMOVALS_SHARE: Final = 0.5
"""How much of an interval the removals of a round may take: beats and repairs need the rest."""
_logger = logging.getLogger(__name__)


class Listener(Protocol):
    """Who follows the backend's signs of life: the watches."""

    def active(self) -> tuple[str, ...]:
        """Return the service names that are watched now."""

    def backend_answered(self) -> None:
        """Hear that the backend has answered."""

    def backend_failed(self, error: RegistryError) -> None:
        """Hear that the backend has not answered."""


class Keeper:
    """What is done, round after round, for the registrations of one table."""

    def __init__(
        self,
        backend: Backend,
        table: Registrations,
        writer: Writer,
        *,
        backoff: Backoff,
        clock: Clock,
        listener: Listener,
    ) -> None:
        """Keep what ``table`` holds.

        Args:
            backend: proves liveness.
            table: where the registrations are noted.
            writer: carries out writes and removals.
            backoff: sets the pace.
            clock: counts the time between rounds.
            listener: hears whether the backend answers.
        """
        self._backend = backend
        self._table = table
        self._writer = writer
        self._backoff = backoff
        self._clock = clock
        self._listener = listener
        self._rewriting = Rewriting(backend, table, writer, clock)
        self._next_round = clock.monotonic()
        self._heard_now = False

    def seconds_to_round(self) -> float | None:
        """Return how long until the next round is due; None while there is nothing to do."""
        if not len(self._table) and not self._listener.active():
            return None
        if not self._backoff.granted and self._backoff.failures == 0 and self._table.any(_can_beat):
            # Only a beat tells how long the backend lets a record live.
            return 0.0
        return max(0.0, self._next_round - self._clock.monotonic())

    def hurry(self) -> None:
        """Have a round soon, to make up for an explicit call that failed."""
        now = self._clock.monotonic()
        self._next_round = min(self._next_round, now + self._backoff.retry_s(now))

    def round(self) -> None:
        """Do what is due, and set the time of the next round."""
        began = self._clock.monotonic()
        # Whatever escapes, the next one is not due at once.
        self._next_round = began + self._backoff.interval_s
        self._heard_now = False
        try:
            self._next_round = began + self._attempt()
        except PluginBugError as exc:
            _logger.exception("%s: a round met a bug; the keeper goes on", self._backend.name)
            self._failed(exc)
        except RegistryError as exc:
            self._failed(exc)
        except BaseException as exc:  # noqa: BLE001 - asyncio's CancelledError and SystemExit too
            self._met_unforeseen(exc)
        self._table.announce()

    def _met_unforeseen(self, error: BaseException) -> None:
        """Count as one failed beat what no plugin may raise."""
        _logger.error(
            "%s: the keeper met an error that nobody foresaw; it goes on",
            self._backend.name,
            exc_info=error,
        )
        bug = PluginBugError(f"unforeseen {type(error).__name__} in the keeper")
        self._table.doubt(self._table.written(), bug)
        self._failed(bug)

    def _attempt(self) -> float:
        """Make the calls of a round; return the seconds from its begin until the next.

        The sign of life comes first: whatever becomes of the rest, those that live must not die.
        """
        written = self._table.written()
        try:
            in_time = not written or self._beat(written)
        except UnavailableError:
            raise
        except RegistryError:
            self._remove_owed()  # a refusal is an answer, and what is owed need not wait for it
            raise
        try:
            removals = self._remove_owed()
        except UnavailableError:
            if written:  # the beat was answered, so what is lost need not wait for this
                self._repair()
            raise
        in_time = self._repair() and removals.left == 0 and in_time
        if not written:
            self._hear_of_backend(removed=removals.tried > 0)
        self._backoff.completed()
        return self._backoff.wait_s(self._clock.monotonic()) if in_time else 0.0

    def _hear_of_backend(self, *, removed: bool) -> None:
        """Learn without a beat whether the backend answers: by a probe, or by the removals."""
        watched = self._listener.active()
        if watched:
            self._backend.probe(watched[0], self._backoff.patience_s)
        if watched or removed:
            self._heard()

    def _heard(self, valid_for_s: float | None = None) -> None:
        self._heard_now = True
        self._backoff.heard(self._clock.monotonic(), valid_for_s)
        self._listener.backend_answered()

    def _failed(self, error: RegistryError) -> None:
        self._backoff.failed(timed_out=isinstance(error, TimedOutError))
        if isinstance(error, UnavailableError):
            if not self._heard_now:  # else the backend is there
                self._listener.backend_failed(error)
        elif not isinstance(error, PluginBugError):
            # A refusal is an answer: what is watched can still be true.
            self._listener.backend_answered()
        now = self._clock.monotonic()
        self._next_round = now + self._backoff.wait_s(now)

    def _patience(self) -> Deadline:
        return Deadline(self._clock, self._backoff.patience_s)

    def _remove_owed(self) -> _Removals:
        """Carry out the removals that are owed, as many as fit beside a round's other calls.

        Raises:
            UnavailableError: the backend did not answer one; the others would wait as long.
        """
        claims = self._table.claim_idle(lambda entry: not entry.wanted)
        # Those that are confirmed, and only repeated for fear of a late write, come last.
        claims.sort(key=lambda claim: claim.entry.settles_at is not None)
        time = Deadline(self._clock, self._backoff.interval_s * _REMOVALS_SHARE)
        tried = 0
        try:
            for claim in claims:
                if tried and not time.left_s:
                    break
                self._remove(claim)
                tried += 1
        finally:
            self._table.release(claims)
        return _Removals(tried, len(claims) - tried)

    def _remove(self, claim: Claim) -> None:
        try:
            self._writer.remove(claim, self._patience())
        except UnavailableError:
            raise
        except RegistryError:
            # This one alone is refused; the table has its error. The others must not wait for it.
            self._table.announce()

    def _beat(self, written: Sequence[Claim]) -> bool:
        """Give a sign of life for all; return whether there was time for every one."""
        interval_s, patience_s = self._backoff.interval_s, self._backoff.patience_s
        if "keep_alive" in self._backend.abilities:
            self._beat_all(written, patience_s)
            return True
        done, in_time = self._rewriting.beat(written, interval_s, patience_s)
        if done:
            self._heard(self._backend.ttl_s)
        return in_time

    def _beat_all(self, claims: Sequence[Claim], patience_s: float) -> None:
        try:
            beat = self._backend.keep_alive([claim.info for claim in claims], patience_s)
        except RegistryError as exc:
            self._table.doubt(claims, exc)
            raise
        self._take_in(claims, {item.info.identity: item for item in beat.lost})
        self._heard(beat.valid_for_s)

    def _take_in(self, claims: Sequence[Claim], lost: Mapping[Identity, Lost]) -> None:
        if not lost:
            self._table.seen_alive(claims)
            return
        self._table.seen_alive(claim for claim in claims if claim.info.identity not in lost)
        for claim in claims:
            if (item := lost.get(claim.info.identity)) is not None:
                self._take_in_loss(claim, item)

    def _take_in_loss(self, claim: Claim, lost: Lost) -> None:
        if lost.why is Why.FAILED:
            self._table.doubt([claim], lost.error)
        else:
            state = State.LOST if lost.why is Why.GONE else State.SUPERSEDED
            self._table.settle(claim, state, lost.error)

    def _repair(self) -> bool:
        """Write what is to be written; return whether there was time for every one.

        No time for any is a failure of the backend, and no reason to go on at once.
        """
        now = self._clock.monotonic()

        def is_due(entry: Entry) -> bool:
            # A late write may have put an older Info over the wanted one: write once more after it.
            settled = entry.settles_at is not None and entry.settles_at <= now
            return entry.wanted and (entry.to_write or settled)

        claims = self._table.claim_idle(is_due)
        try:
            if not claims:
                return True
            patience = max(self._backoff.interval_s, self._backoff.patience_s)
            failed = self._writer.write_all(claims, Deadline(self._clock, patience))
        finally:
            self._table.release(claims)
        self._heard()
        return len(failed) == len(claims) or not any(
            isinstance(error, NotReachedError) for error in failed.values()
        )


class _Removals(NamedTuple):
    """How many removals a round has tried, and how many it had no time for."""

    tried: int
    left: int


def _can_beat(entry: Entry) -> bool:
    return entry.wanted and entry.state is not State.PENDING and not entry.callers
