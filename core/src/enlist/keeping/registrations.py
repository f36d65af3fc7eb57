"""The table of what a process wants registered, and what became of each registration.

Every entry has a generation: the newest call wins, and an answer to an older one changes
nothing. An entry is *claimed* for the time in which a write for it is under way, so that no two
run at once; the lock itself is never held across a call to a backend.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Sequence

from enlist.clock import Clock, Deadline
from enlist.errors import ClosedError, RegistryError, TimedOutError
from enlist.info import Identity, Info
from enlist.keeping.entry import Claim, Entry
from enlist.states import Change, State, Status

__all__ = ["Registrations"]

_WRITTEN_ANEW = {State.LOST: True, State.SUPERSEDED: False}
"""Whether a repair has to write a registration in that state; one that is superseded waits."""


class Registrations:
    """The table. Safe for any thread."""

    def __init__(
        self,
        clock: Clock,
        announce: Callable[[Sequence[Change]], None],
        settling_s: Callable[[], float],
    ) -> None:
        """Start empty.

        Args:
            clock: gives the times of changes.
            announce: called with the changes, in their order, without the lock held.
            settling_s: tells how many seconds after its next answer a server may still carry
                out a write that it had not answered.
        """
        self._clock = clock
        self._settling_s = settling_s
        self._announce = announce
        self._entries: dict[Identity, Entry] = {}
        # One count for the whole table: an entry that is forgotten and made anew starts higher.
        self._generations = itertools.count(1)
        self._lock = threading.RLock()
        self._freed = threading.Condition(self._lock)  # entering the lock itself is quicker
        self._waiting = 0
        # The same list for each beat until something is wanted or not wanted any more.
        self._written: list[Claim] | None = None
        self._changes: list[Change] = []
        self._announcing = False
        self._closed = False

    def __len__(self) -> int:
        """Return the number of entries, removals still owed included."""
        return len(self._entries)

    # --- explicit calls ----------------------------------------------------------------------

    def want(self, infos: Iterable[Info]) -> list[Claim]:
        """Note what is wanted now; return a ticket for each claim.

        The keeper stays away from the entries until :meth:`called` says that the call is over.

        Raises:
            ClosedError: the table was closed.
        """
        with self._lock:
            self._check_open()
            return [self._want(info) for info in infos]

    def want_instead(self, info: Info, current: Info) -> list[Claim]:
        """Do what :meth:`want` does if ``current`` is still what is wanted, else return nothing."""
        with self._lock:
            self._check_open()
            return [self._want(info)] if self.get(info.identity) is current else []

    def called(self, tickets: Iterable[Claim], *, agreed: bool) -> None:
        """Note that the explicit call with these tickets is over, and whether it holds."""
        with self._lock:
            for ticket in tickets:
                entry = ticket.entry
                entry.callers -= 1
                if agreed and ticket.generation > entry.agreed_generation:
                    entry.agreed, entry.agreed_generation = ticket.info, ticket.generation
                    if entry.fell_back:  # a newer call has failed meanwhile
                        self._fall_back(entry, None)
            self._wake()

    def _want(self, info: Info) -> Claim:
        entry = self._entry_of(info)
        self._renew(entry)
        entry.info, entry.wanted, entry.to_write, entry.takes_over = info, True, True, True
        if entry.state is State.LEAVING:
            self._set_state(entry, State.PENDING, None)
        entry.callers += 1
        return self._claim_on(entry)

    def _entry_of(self, info: Info) -> Entry:
        identity = info.identity
        entry = self._entries.get(identity)
        if entry is None:
            entry = self._entries[identity] = Entry(info, self._clock.now())
        return entry

    def _renew(self, entry: Entry) -> None:
        """Begin a generation, before which every claim on the entry was made in vain."""
        entry.generation = next(self._generations)
        entry.fell_back = False
        self._written = None

    @staticmethod
    def _claim_on(entry: Entry) -> Claim:
        return Claim(entry.info, entry.generation, entry.takes_over, entry)

    def unwant(self, info: Info) -> Claim:
        """Note that ``info`` is not wanted any more; return a ticket, as :meth:`want` does.

        Of two calls for one identity the later waits for the earlier: neither may return before
        the record is gone.
        """
        with self._lock:
            self._check_open()
            entry = self._entry_of(info)
            entry.callers += 1
            if entry.wanted or not entry.generation:
                return self._unwant(entry)
            self._disagree(entry)
            return self._claim_on(entry)

    def _unwant(self, entry: Entry) -> Claim:
        self._renew(entry)
        entry.wanted = False
        self._disagree(entry)
        self._set_state(entry, State.LEAVING, None)
        return self._claim_on(entry)

    @staticmethod
    def _disagree(entry: Entry) -> None:
        entry.agreed, entry.agreed_generation, entry.fell_back = None, entry.generation, False

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("the registry was closed; open another with open_registry()")

    def close(self) -> None:
        """Note that nothing is wanted any more, and never will be."""
        with self._lock:
            self._closed = True
            for entry in self._entries.values():
                if entry.wanted:
                    self._unwant(entry)
        self.announce()

    def held(self, tickets: Iterable[Claim], deadline: Deadline) -> _Held:
        """Hold the claims of these tickets; those that a newer call has overtaken are left out.

        Raises:
            TimedOutError: another write was still under way when time ran out.
        """
        return _Held(self, tickets, deadline)

    def acquire(self, tickets: Iterable[Claim], deadline: Deadline) -> list[Claim]:
        """Do what :meth:`held` begins with; :meth:`release` is what it ends with."""
        claims: list[Claim] = []
        try:
            with self._lock:
                for ticket in tickets:
                    if self._acquire(ticket, deadline):
                        # Not all at once: what was acquired is released if a later one is not.
                        claims.append(ticket)  # noqa: PERF401
        except BaseException:
            self.release(claims)
            raise
        return claims

    def _acquire(self, ticket: Claim, deadline: Deadline) -> bool:
        while ticket.is_current:
            if not ticket.entry.claimed_by:
                ticket.entry.claimed_by = ticket.generation
                return True
            try:
                self._wait(deadline.remaining_s())
            except TimedOutError as exc:
                message = "an earlier write for this registration is still under way"
                raise TimedOutError(message) from exc
        return False

    # --- the keeper's side -------------------------------------------------------------------

    def claim_idle(self, chosen: Callable[[Entry], bool]) -> list[Claim]:
        """Claim every entry that is chosen and that nobody else is writing."""
        claims = []
        with self._lock:
            for entry in self._entries.values():
                if not entry.claimed_by and not entry.callers and chosen(entry):
                    entry.claimed_by = entry.generation
                    claims.append(self._claim_on(entry))
        return claims

    def claim(self, claim: Claim) -> bool:
        """Claim this one for a beat that writes; return False if somebody else is writing it."""
        with self._lock:
            entry = claim.entry
            if entry.claimed_by or entry.callers or not claim.is_current:
                return False
            entry.claimed_by, entry.tried_at = claim.generation, self._clock.monotonic()
            return True

    def claim_next(self, chosen: Callable[[Entry], bool], deadline: Deadline) -> list[Claim]:
        """Claim as :meth:`claim_idle` does, but wait until one that is chosen is idle.

        Returns nothing when none is chosen, or none has become idle by the deadline.
        """
        with self._lock:
            while not (claims := self.claim_idle(chosen)) and self.any(chosen):
                if deadline.expired:
                    break
                self._wait(deadline.left_s)
        return claims

    def _wait(self, seconds: float) -> None:
        """Wait until something is freed; spurious, so ask again after it."""
        self._waiting += 1
        try:
            self._freed.wait(seconds)
        finally:
            self._waiting -= 1

    def written(self) -> list[Claim]:
        """Return every wanted entry that was written at least once, without claiming it."""
        with self._lock:
            if self._written is None:
                self._written = [
                    self._claim_on(entry)
                    for entry in self._entries.values()
                    if entry.wanted and entry.state is not State.PENDING
                ]
            return self._written

    def any(self, chosen: Callable[[Entry], bool]) -> bool:
        """Return whether an entry is chosen."""
        with self._lock:
            return any(map(chosen, self._entries.values()))

    def release(self, claims: Iterable[Claim]) -> None:
        """End the claims and let those who wait for them go on."""
        with self._lock:
            for claim in claims:
                if claim.entry.claimed_by == claim.generation:
                    claim.entry.claimed_by = 0
            self._wake()

    def settle(self, claim: Claim, state: State, error: RegistryError | None = None) -> None:
        """Note the outcome of an attempt, unless a newer call has made it irrelevant."""
        with self._lock:
            if claim.is_current:
                if state in _WRITTEN_ANEW:
                    claim.entry.to_write = _WRITTEN_ANEW[state]
                if state is State.SUPERSEDED:
                    self._settle_late_write(claim.entry, self._clock.monotonic())
                self._set_state(claim.entry, state, error)

    def enlisted(self, claims: Iterable[Claim]) -> None:
        """Note that these were written."""
        with self._lock:
            now, moment = self._clock.monotonic(), self._clock.now()
            for claim in claims:
                if claim.is_current:
                    claim.entry.last_success = moment
                    claim.entry.to_write = claim.entry.takes_over = False
                    self._settle_late_write(claim.entry, now)
                    self._set_state(claim.entry, State.ENLISTED, None)

    def seen_alive(self, claims: Iterable[Claim]) -> None:
        """Note that a beat found these alive; one that is still to be written stays so."""
        with self._lock:
            now, moment = self._clock.monotonic(), self._clock.now()
            for claim in claims:
                if claim.is_current and not claim.entry.to_write:
                    claim.entry.last_success = moment
                    self._count_late_write(claim.entry, now)
                    self._set_state(claim.entry, State.ENLISTED, None)

    def doubt(self, claims: Iterable[Claim], error: RegistryError | None) -> None:
        """Note an attempt that taught nothing: what was enlisted is unconfirmed, the rest stays."""
        with self._lock:
            for claim in claims:
                entry = claim.entry
                if not claim.is_current:
                    continue
                if entry.state is State.ENLISTED:
                    self._set_state(entry, State.UNCONFIRMED, error)
                elif type(entry.last_error) is type(error):
                    entry.last_error = error  # heard before, and cheap for ten thousand
                else:
                    self._set_state(entry, entry.state, error)

    def unsettle(self, claims: Iterable[Claim]) -> None:
        """Note that a write for these may still be carried out, whatever comes after."""
        with self._lock:
            for claim in claims:
                claim.entry.unsettled, claim.entry.settles_at = True, None

    def _settle_late_write(self, entry: Entry, now: float) -> None:
        """Note that a write is over that was not answered, once that is sure."""
        if entry.settles_at is not None and entry.settles_at <= now:
            entry.unsettled, entry.settles_at = False, None
        self._count_late_write(entry, now)

    def _count_late_write(self, entry: Entry, now: float) -> None:
        """Count from the first answer after a write that was not answered.

        Whatever the answer was: the write may also replace the record of somebody else, who had
        taken over meanwhile.
        """
        if entry.unsettled and entry.settles_at is None:
            entry.settles_at = now + self._settling_s()

    def take_back(self, ticket: Claim, error: RegistryError) -> None:
        """Undo a ``want`` that failed: what was agreed before is wanted again, or nothing is."""
        with self._lock:
            if ticket.is_current:
                self._fall_back(ticket.entry, error)

    def _fall_back(self, entry: Entry, error: RegistryError | None) -> None:
        self._renew(entry)
        entry.takes_over, entry.fell_back = False, True
        entry.wanted = entry.to_write = entry.agreed is not None
        if entry.agreed is None:
            self._set_state(entry, State.LEAVING, error)
        else:
            entry.info = entry.agreed
            self._set_state(entry, State.LOST, error)

    def forget(self, claims: Iterable[Claim], *, for_good: bool = False) -> None:
        """Drop entries whose removal is confirmed.

        Args:
            claims: the removals that were confirmed.
            for_good: do not wait for a late write, since nobody will be there to remove it.
        """
        with self._lock:
            now = self._clock.monotonic()
            for claim in claims:
                if claim.is_current and not claim.entry.wanted:
                    self._forget(claim.entry, now, for_good=for_good)
            self._wake()

    def _wake(self) -> None:
        if self._waiting:  # seldom, and asking is much quicker than telling nobody
            self._freed.notify_all()

    def _forget(self, entry: Entry, now: float, *, for_good: bool) -> None:
        self._settle_late_write(entry, now)
        if entry.unsettled and not for_good:
            self._set_state(entry, State.LEAVING, None)
            return
        self._set_state(entry, State.LEFT, None)
        entry.generation, entry.fell_back = 0, False
        self._written = None
        del self._entries[entry.info.identity]

    # --- looking on --------------------------------------------------------------------------

    def statuses(self, registry: str) -> tuple[Status, ...]:
        """Return every registration as it stands."""
        with self._lock:
            return tuple(
                Status(
                    entry.info,
                    entry.state,
                    entry.since,
                    entry.last_success,
                    entry.last_error,
                    registry,
                )
                for entry in self._entries.values()
            )

    def get(self, identity: Identity) -> Info | None:
        """Return what is wanted under an identity."""
        with self._lock:
            entry = self._entries.get(identity)
            return entry.info if entry is not None and entry.wanted else None

    def _set_state(self, entry: Entry, state: State, error: RegistryError | None) -> None:
        changed = entry.state is not state or type(entry.last_error) is not type(error)
        if entry.state is State.PENDING or state is State.PENDING:
            self._written = None
        if entry.state is not state:
            entry.since = self._clock.now()
        entry.state, entry.last_error = state, error
        if changed:
            self._changes.append(Change(entry.info, state, error))

    def announce(self) -> None:
        """Tell of the changes since the last time, in their order, one teller at a time."""
        while self._changes:  # whoever adds one announces it
            with self._lock:
                if self._announcing or not self._changes:
                    return
                changes, self._changes = self._changes, []
                self._announcing = True
            try:
                self._announce(changes)
            finally:
                with self._lock:
                    self._announcing = False


class _Held:
    """The claims of some tickets for the time of a block; quicker than a generator's."""

    __slots__ = ("_claims", "_deadline", "_table", "_tickets")

    def __init__(self, table: Registrations, tickets: Iterable[Claim], deadline: Deadline) -> None:
        self._table = table
        self._tickets = tickets
        self._deadline = deadline

    def __enter__(self) -> list[Claim]:
        self._claims = self._table.acquire(self._tickets, self._deadline)
        return self._claims

    def __exit__(self, *_: object) -> None:
        self._table.release(self._claims)
