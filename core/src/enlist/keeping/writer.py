"""Carries claimed writes and removals to the backend and notes in the table what became of them."""

from __future__ import annotations

from collections.abc import Sequence

from enlist.backend import Backend
from enlist.clock import Deadline
from enlist.errors import PluginBugError, RegistryError, UnavailableError
from enlist.hookspecs import Lost, Why
from enlist.info import Identity
from enlist.keeping.entry import Claim
from enlist.keeping.registrations import Registrations
from enlist.states import State

__all__ = ["NotReachedError", "Writer"]


class NotReachedError(UnavailableError):
    """The time of a bulk write ended before this one; the server has not failed."""

    def __init__(self, message: str = "not reached within the time allowed") -> None:
        """Say so."""
        super().__init__(message)


class Writer:
    """Writes and removes records for which the caller holds the claims."""

    def __init__(self, backend: Backend, table: Registrations) -> None:
        """Write through ``backend`` and note in ``table``."""
        self._backend = backend
        self._table = table

    def write(self, claim: Claim, deadline: Deadline) -> None:
        """Write one record whatever stands there; the table learns of success only."""
        try:
            self._backend.register(claim.info, deadline.remaining_s())
        except RegistryError as exc:
            self.unanswered([claim], exc)
            raise
        self._table.enlisted([claim])

    def write_all(
        self, claims: Sequence[Claim], deadline: Deadline
    ) -> dict[Identity, RegistryError]:
        """Restore in bulk, take over what was asked for explicitly, and note each outcome.

        Returns:
            The error of each that could not be written. One that another owner holds is no error.

        Raises:
            RegistryError: nothing was written.
        """
        try:
            answers = self._backend.restore(
                [claim.info for claim in claims], deadline.remaining_s()
            )
        except RegistryError as exc:
            self.unanswered(claims, exc)
            self._table.doubt(claims, exc)
            raise
        lost = {item.info.identity: item for item in answers}
        if not lost:
            self._table.enlisted(claims)
            return {}
        self._table.enlisted(claim for claim in claims if claim.info.identity not in lost)
        failed = {}
        for claim in claims:
            item = lost.get(claim.info.identity)
            if item is not None and (error := self._take_in(claim, item, deadline)) is not None:
                failed[claim.info.identity] = error
        return failed

    def _take_in(self, claim: Claim, item: Lost, deadline: Deadline) -> RegistryError | None:
        if item.why is not Why.SUPERSEDED:
            error = item.error or NotReachedError()
            self.unanswered([claim], error)
        elif claim.takes_over:
            try:
                self.write(claim, deadline)
            except RegistryError as exc:
                error = exc
            else:
                return None
        else:
            self._table.settle(claim, State.SUPERSEDED)
            return None
        self._table.doubt([claim], error)
        return error

    def remove(self, claim: Claim, deadline: Deadline) -> None:
        """Remove one record; it stays owed if that fails."""
        try:
            self._backend.deregister(claim.info, deadline.remaining_s())
        except RegistryError as exc:
            self._table.settle(claim, State.LEAVING, exc)
            raise
        self._table.forget([claim])

    def unanswered(self, claims: Sequence[Claim], error: RegistryError) -> None:
        """Remember that the server may still carry the write out."""
        unknown = isinstance(error, (UnavailableError, PluginBugError))
        if unknown and not isinstance(error, NotReachedError):
            self._table.unsettle(claims)
