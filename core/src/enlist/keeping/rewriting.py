"""Signs of life for a backend without ``keep_alive``: each record is written again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from enlist.backend import Backend
from enlist.clock import Clock, Deadline
from enlist.errors import RegistryError, TimedOutError, UnavailableError
from enlist.keeping.entry import Claim
from enlist.keeping.registrations import Registrations
from enlist.keeping.writer import Writer

__all__ = ["Rewriting", "Rewritten"]


class Rewritten(NamedTuple):
    """How many were written again, and whether there was time for every one."""

    done: int
    in_time: bool


class Rewriting:
    """Writes record after record, each for as short a time as an explicit call has to wait."""

    def __init__(
        self, backend: Backend, table: Registrations, writer: Writer, clock: Clock
    ) -> None:
        """Write through ``backend``, and note in ``table``."""
        self._backend = backend
        self._table = table
        self._writer = writer
        self._clock = clock

    def beat(self, written: Sequence[Claim], interval_s: float, patience_s: float) -> Rewritten:
        """Write these again, those first that were tried longest ago.

        Args:
            written: what to write; what somebody else is writing is left out.
            interval_s: how long all of them may take.
            patience_s: how long each may take.

        Raises:
            RegistryError: nothing came of any; the first's.
        """
        time = Deadline(self._clock, interval_s)
        in_turn = sorted(written, key=lambda claim: claim.entry.tried_at)
        done, errors = 0, list[RegistryError]()
        for place, claim in enumerate(in_turn):
            if time.expired and (done or errors):
                return self._ended(in_turn[place:], done, errors)
            if not self._table.claim(claim):
                continue
            error = self._write(claim, min(patience_s, time.left_s))
            if error is None:
                done += 1
                continue
            errors.append(error)
            if _is_away(error):
                return self._ended(in_turn[place:], done, errors)
        return self._ended((), done, errors)

    def _write(self, claim: Claim, patience_s: float) -> RegistryError | None:
        try:
            self._backend.register(claim.info, patience_s)
            self._table.seen_alive([claim])
        except RegistryError as exc:
            self._writer.unanswered([claim], exc)
            self._table.doubt([claim], exc)
            return exc
        finally:
            self._table.release([claim])
        return None

    def _ended(
        self, left: Sequence[Claim], done: int, errors: Sequence[RegistryError]
    ) -> Rewritten:
        """Tell what came of it; those that are left are in doubt if the last attempt failed."""
        if errors and (not done or _is_away(errors[-1])):
            self._table.doubt(left, errors[-1])
        if errors and not done:
            raise errors[0]
        return Rewritten(done, in_time=not left or (bool(errors) and _is_away(errors[-1])))


def _is_away(error: RegistryError) -> bool:
    """Return whether nobody answers, so that the next would only be refused as well."""
    return isinstance(error, UnavailableError) and not isinstance(error, TimedOutError)
