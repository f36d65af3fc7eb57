"""This owner's records at the agent: written, looked at and removed, singly and in bulk.

Consul's agent compares nothing before it writes. So what must not touch another owner's record
is read first, and between the read and the write lies one round trip in which another process
may take the identity over.
"""

from __future__ import annotations

import contextlib
import enum
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from enlist.errors import RegistryError, TimedOutError
from enlist.hookspecs import Lost, Why
from enlist.info import Info
from enlist_consul.catalog import Catalog
from enlist_consul.client import Client
from enlist_consul.deadline import Deadline
from enlist_consul.failures import UnknownCheckError
from enlist_consul.operations import (
    agent_services,
    beat,
    deregister,
    register,
    remove_check,
    service_and_checks,
)
from enlist_consul.options import ConsulOptions
from enlist_consul.records import encode, is_dead, is_of, owner_of, service_id
from enlist_consul.signs import Signs
from enlist_consul.spreading import Outcomes, spread

__all__ = ["Holder", "Store"]

# So many are looked at one by one; for more the agent lists all that it has, once.
_FEW: Final = 16
# While many are written or waited for, those that are there are beaten so often.
_SHARE_OF_TTL: Final = 1 / 3
# Of the time of a bulk write; the rest is for seeing it in the catalogue.
_SHARE_OF_WRITES: Final = 0.8
# Of the time of a restore, to see whether the catalogue shows anything at all.
_SHARE_OF_TRIAL: Final = 1 / 3
_logger = logging.getLogger(__name__)


class Holder(enum.Enum):
    """Who has an identity at the agent."""

    NOBODY = "nobody"
    US = "us"
    THE_DEAD = "the dead"
    """Another owner, whose process does not live any more."""
    ANOTHER = "another"


class Store:
    """Reads and writes records for one owner."""

    def __init__(
        self, client: Client, catalog: Catalog, owner: str, options: ConsulOptions
    ) -> None:
        """Take what makes the requests.

        Args:
            client: makes them.
            catalog: tells when readers see what was written.
            owner: what our records carry.
            options: what the checks of our records are to be.
        """
        self._client = client
        self._catalog = catalog
        self._owner = owner
        self._options = options
        self.signs: Final = Signs(owner, options.ttl_s, lambda: client.breaks)

    def put(self, info: Info, deadline: Deadline) -> None:
        """Write one record, whatever stands there, and return when readers see it.

        An agent answers a write once its servers have it, and in the same way if it cannot reach
        them. So the first is read back, and each one after something went wrong.
        """
        self._write(info, deadline)
        if not self._catalog.is_proven:
            self._catalog.await_shown(info, deadline)

    def beat(self, info: Info, deadline: Deadline) -> bool:
        """Say that the process behind a record lives; return whether the agent has its check."""
        sign = self.signs.now(info)
        try:
            self._client.call(beat(sign.check, warn=info.weight == 0), deadline)
        except UnknownCheckError:
            self.signs.forget(info)
            return False
        self.signs.note(info, sign)
        return True

    def remove(self, info: Info, deadline: Deadline) -> None:
        """Remove one record if it is ours, and return when readers see it no more."""
        holder = self._holder(info, deadline)
        if holder is Holder.US:
            self._client.call(deregister(service_id(info)), deadline)
        self.signs.forget(info)
        is_sure = holder is Holder.US and self._catalog.is_proven
        if holder in {Holder.US, Holder.NOBODY} and not is_sure:
            self._catalog.await_gone(info, deadline)

    def look(self, infos: Sequence[Info], deadline: Deadline) -> Outcomes[Info, Holder]:
        """Say who has each of these identities."""
        listed = self._listed(deadline) if len(infos) > _FEW else None

        def holder(info: Info) -> Holder:
            if listed is not None and (known := self._known(info, listed)) is not None:
                return known
            return self._holder(info, deadline)

        return spread(infos, holder, deadline)

    def not_ours(self, infos: Sequence[Info], deadline: Deadline) -> list[Info]:
        """Return those of which we know a sign of life and the agent no record of ours.

        Returns:
            None of them where the agent cannot tell.
        """
        known = [info for info in infos if self.signs.knows(info)]
        if not known:
            return []
        try:
            listed = self._listed(deadline, self._owner)
        except RegistryError as exc:
            _logger.info("consul: whose the records are could not be looked up: %s", exc)
            return []
        return [info for info in known if service_id(info) not in listed]

    def restore(self, infos: Sequence[Info], deadline: Deadline) -> list[Lost]:
        """Write each that nobody, the dead or we have; return those that are still not alive.

        Raises:
            RegistryError: nothing was written, because of this.
        """
        looked = self.look(infos, deadline)
        lost = [Lost(info, Why.SUPERSEDED) for info, who in looked.done if who is Holder.ANOTHER]
        for info, who in looked.done:
            if who is Holder.NOBODY:
                self.signs.forget(info)
        free = [info for info, who in looked.done if who is not Holder.ANOTHER]
        self._forget_unlisted([info for info, who in looked.done if who is Holder.US], deadline)
        written = self._write_all(free, deadline)
        for outcomes in (looked, written):
            lost += [Lost(info, Why.FAILED, error) for info, error in outcomes.failed]
            lost += [Lost(info, Why.GONE) for info in outcomes.unreached]
        done = [info for info, _ in written.done]
        if not done:
            for outcomes in (looked, written):
                if outcomes.failed or outcomes.unreached:
                    raise outcomes.first_error(deadline)
            return lost
        return lost + self._unseen(done, deadline)

    def _forget_unlisted(self, ours: Sequence[Info], deadline: Deadline) -> None:
        """Have the agent forget what only its servers have lost, so that it tells them again.

        A newer agent that is told what it has already takes it for told to its servers too.
        """
        unlisted: Sequence[Info] = self._catalog.missing(ours, deadline) if ours else ()
        if unlisted and not self._catalog.knows_node:
            unlisted = self._told_by_first(unlisted, deadline)
        spread(
            unlisted,
            lambda info: self._client.call(deregister(service_id(info)), deadline),
            deadline,
        )

    def _told_by_first(self, unlisted: Sequence[Info], deadline: Deadline) -> Sequence[Info]:
        """Return those that are missing beside the first, once that is written anew and seen.

        The node may have been removed, or the token may not see it any more. Then readers see all
        that is there, and one record that goes for a moment is enough.
        """
        first, *rest = unlisted
        try:
            self._client.call(deregister(service_id(first)), deadline)
            self._write(first, deadline)
            brief = deadline.within(deadline.left_s() * _SHARE_OF_TRIAL)
            self._catalog.await_shown(first, brief)
        except RegistryError as exc:
            _logger.info("consul: what was written anew is not seen: %s", exc)
            return ()
        return rest

    def withdraw(self, infos: Sequence[Info], deadline: Deadline) -> list[Info]:
        """Remove those that are ours; return those that may still be there.

        Raises:
            RegistryError: nothing was removed, because of this.
        """
        looked = self.look(infos, deadline)
        ours = [info for info, who in looked.done if who is Holder.US]
        removed = spread(
            ours, lambda info: self._client.call(deregister(service_id(info)), deadline), deadline
        )
        rest = [info for outcomes in (looked, removed) for info, _ in outcomes.failed]
        rest += [info for outcomes in (looked, removed) for info in outcomes.unreached]
        done = [info for info, _ in removed.done]
        for info in done:
            self.signs.forget(info)
        if not done:
            if rest:
                raise (removed if removed.failed else looked).first_error(deadline)
            return rest
        try:
            self._catalog.await_all_gone(done, deadline)
        except RegistryError as exc:
            _logger.warning("consul: readers may still see what was removed: %s", exc)
            return rest + done
        return rest

    def _write(self, info: Info, deadline: Deadline) -> None:
        before, sign = self.signs.doubt(info), self.signs.now(info)
        self._client.call(register(encode(info, self._owner, self._options)), deadline)
        if self.signs.may_be_critical(info, before):
            self.beat(info, deadline)
        else:
            self.signs.note(info, sign)

    def _write_all(self, infos: Sequence[Info], deadline: Deadline) -> Outcomes[Info, None]:
        """Write all; what was written first is kept alive meanwhile, which may take many ttls."""
        begun_by = deadline.within(deadline.left_s() * _SHARE_OF_WRITES)
        outcomes = self._write_for_a_while(infos, begun_by, deadline)
        while outcomes.unreached and not outcomes.failed and not begun_by.passed:
            self._beat_all([info for info, _ in outcomes.done], deadline)
            more = self._write_for_a_while(outcomes.unreached, begun_by, deadline)
            outcomes.done += more.done
            outcomes.failed += more.failed
            outcomes.unreached = more.unreached
        return outcomes

    def _write_for_a_while(
        self, infos: Sequence[Info], begun_by: Deadline, deadline: Deadline
    ) -> Outcomes[Info, None]:
        """Write what can be begun in time; each that was begun has until the end."""
        brief = begun_by.within(self._options.ttl_s * _SHARE_OF_TTL)
        return spread(infos, lambda info: self._write(info, deadline), brief)

    def _beat_all(self, infos: Sequence[Info], deadline: Deadline) -> None:
        spread(infos, lambda info: self.beat(info, deadline), deadline)

    def _unseen(self, infos: Sequence[Info], deadline: Deadline) -> list[Lost]:
        """Wait until readers see all of these; return those that they do not see in time."""
        missing = infos
        error: RegistryError | None = None
        while missing and not deadline.passed:
            if error is not None or missing is not infos:
                self._beat_all(infos, deadline)
            try:
                brief = deadline.within(self._options.ttl_s * _SHARE_OF_TTL)
                missing, error = self._catalog.unseen(infos, brief), None
            except TimedOutError as exc:
                error = exc
            except RegistryError as exc:
                error = exc
                break
        if error is not None:
            return [Lost(info, Why.FAILED, error) for info in missing]
        return [Lost(info, Why.GONE) for info in missing]

    def _holder(self, info: Info, deadline: Deadline) -> Holder:
        before = self.signs.last_write(info)
        answer = self._client.call(service_and_checks(service_id(info)), deadline)
        if answer.status == HTTPStatus.NOT_FOUND:
            return Holder.NOBODY
        found = answer.json()
        if owner_of(found["Service"]) == self._owner:
            return Holder.US
        # A beat that learns at this moment that our check is gone forgets our writes: that is none.
        if self.signs.last_write(info) not in {before, None}:
            return Holder.US  # a register has begun since; what was read may be its past
        checks = found["Checks"] or ()
        self._leave(checks, deadline)
        return Holder.THE_DEAD if is_dead(found["Service"], checks) else Holder.ANOTHER

    def _leave(self, checks: Sequence[Mapping[str, Any]], deadline: Deadline) -> None:
        """Remove what checks we have at another owner's record: its fate must not hang on ours.

        Whoever registers without asking for the older checks to go, as Kitex does, keeps them.
        """
        for check in checks:
            if is_of(self._owner, check["CheckID"]):
                with contextlib.suppress(UnknownCheckError):  # it has gone meanwhile
                    self._client.call(remove_check(check["CheckID"]), deadline)

    def _listed(self, deadline: Deadline, owner: str = "") -> Mapping[str, Any]:
        listed: Mapping[str, Any] = self._client.call(agent_services(owner), deadline).json()
        return listed

    def _known(self, info: Info, listed: Mapping[str, Any]) -> Holder | None:
        """Return who has an identity as far as the list tells, which says nothing of checks."""
        service = listed.get(service_id(info))
        if service is None:
            return Holder.NOBODY
        return Holder.US if owner_of(service) == self._owner else None
