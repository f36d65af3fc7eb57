"""The explicit calls of a user: they act at once, in the caller's thread, within their deadline."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from enlist.backend import Backend
from enlist.clock import Deadline
from enlist.errors import RegistryError, UnavailableError
from enlist.info import Identity, Info
from enlist.keeping.entry import Claim
from enlist.keeping.registrations import Registrations
from enlist.keeping.writer import Writer

__all__ = ["Calls", "OnUnavailable"]

OnUnavailable = Literal["raise", "retry"]
"""What a first ``register`` does that finds no backend: fail, or go on in the background."""

_logger = logging.getLogger(__name__)


class Calls:
    """Register, deregister and leave; whatever is left undone is the keeper's."""

    def __init__(
        self,
        backend: Backend,
        table: Registrations,
        writer: Writer,
        *,
        on_unavailable: OnUnavailable,
        hurry: Callable[[], None],
    ) -> None:
        """Act on ``table`` through ``writer``.

        Args:
            backend: removes in bulk when everything leaves.
            table: where the registrations are noted.
            writer: carries out single writes.
            on_unavailable: whether a ``register`` that finds no backend raises or is retried.
            hurry: has the keeper do soon what a failed call left undone.
        """
        self._backend = backend
        self._table = table
        self._writer = writer
        self._on_unavailable = on_unavailable
        self._hurry = hurry

    def register(self, info: Info, deadline: Deadline) -> None:
        """Register; on failure what was agreed before is wanted again, unless told to retry."""
        self._write(self._table.want([info]), deadline)

    def update(self, info: Info, current: Info, deadline: Deadline) -> bool:
        """Register in the place of ``current``; return False if that is not wanted any more."""
        tickets = self._table.want_instead(info, current)
        self._write(tickets, deadline)
        return bool(tickets)

    def _write(self, tickets: Sequence[Claim], deadline: Deadline) -> None:
        agreed = False
        try:
            with self._table.held(tickets, deadline) as claims:
                for claim in claims:
                    self._writer.write(claim, deadline)
            agreed = True
        except RegistryError as exc:
            self._give_up(tickets, exc)
            if not (agreed := self._may_wait(exc)):
                raise
        finally:
            self._table.called(tickets, agreed=agreed)
        self._table.announce()

    def register_all(self, infos: Sequence[Info], deadline: Deadline) -> None:
        """Register in bulk; on failure nothing new stays wanted, unless told to retry."""
        tickets = self._table.want(infos)
        agreed = False
        try:
            with self._table.held(tickets, deadline) as claims:
                failed = self._writer.write_all(claims, deadline) if claims else {}
            self._raise_first(list(failed.values()), len(infos))
            agreed = True
        except RegistryError as exc:
            self._give_up(tickets, exc)
            if not (agreed := self._may_wait(exc)):
                raise
        finally:
            self._table.called(tickets, agreed=agreed)
        self._table.announce()

    def _raise_first(self, failed: Sequence[RegistryError], asked: int) -> None:
        grave = [error for error in failed if not isinstance(error, UnavailableError)] or failed
        if grave:
            first = grave[0]
            raise type(first)(
                f"{len(failed)} of {asked} could not be registered; the first because: {first}"
            ) from first

    def _give_up(self, tickets: Iterable[Claim], error: RegistryError) -> None:
        for ticket in tickets:
            if self._may_wait(error):
                self._table.doubt([ticket], error)
            else:
                self._table.take_back(ticket, error)
        self._table.announce()
        self._hurry()

    def _may_wait(self, error: RegistryError) -> bool:
        return self._on_unavailable == "retry" and isinstance(error, UnavailableError)

    def deregister(self, info: Info, deadline: Deadline) -> None:
        """Remove; on failure removal goes on in the background until it is confirmed."""
        ticket = self._table.unwant(info)
        try:
            self._table.announce()
            with self._table.held([ticket], deadline) as claims:
                for claim in claims:
                    self._writer.remove(claim, deadline)
        except RegistryError as exc:
            self._hurry()
            raise type(exc)(f"{exc}; the removal goes on in the background") from exc
        finally:
            self._table.called([ticket], agreed=False)
        self._table.announce()

    def leave(self, deadline: Deadline) -> int:
        """Remove everything that is wanted or owed, each once; return how many may remain.

        No call begins after this. What a call or the keeper writes now is removed when that write
        has ended; one that has not by the deadline is left to its time to live.
        """
        self._table.close()
        tried: set[Identity] = set()
        while claims := self._table.claim_next(
            lambda entry: entry.info.identity not in tried, deadline
        ):
            tried.update(claim.info.identity for claim in claims)
            self._leave(claims, deadline)
        return len(self._table)

    def _leave(self, claims: Sequence[Claim], deadline: Deadline) -> None:
        try:
            remaining = {info.identity for info in self._withdraw(claims, deadline)}
        finally:
            self._table.release(claims)
        gone = [claim for claim in claims if claim.info.identity not in remaining]
        self._table.forget(gone, for_good=True)
        self._table.announce()

    def _withdraw(self, claims: Sequence[Claim], deadline: Deadline) -> Sequence[Info]:
        infos = [claim.info for claim in claims]
        try:
            return self._backend.withdraw(infos, deadline.remaining_s())
        except RegistryError as exc:
            _logger.warning("%s: could not deregister on closing: %s", self._backend.name, exc)
            return infos
