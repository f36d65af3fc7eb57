"""The catalogue of the servers, which readers see: waiting for what was written to the agent.

An agent brings a write into the catalogue before it answers, if it can: where its servers are
away it answers all the same, and brings it in when they are back. So what was written is read
back while nothing shows that writes get there, by requests that are answered when something
changes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from enlist.errors import RegistryError, TimedOutError
from enlist.info import Info
from enlist.records import MalformedRecordError, Record
from enlist_consul.blocking import next_index
from enlist_consul.client import Client
from enlist_consul.connection import Answer
from enlist_consul.deadline import Deadline
from enlist_consul.operations import Request, instance, node_checks, node_services
from enlist_consul.records import (
    changed_at,
    check_id,
    decode,
    entry_of,
    is_live,
    owner_of,
    service_id,
)

__all__ = ["Catalog"]

_NEVER: Final = float("-inf")
_LONGEST_WAIT_S: Final = 30.0
# While a thousand records arrive one by one, the list of all changes with each of them.
_PAUSE_S: Final = 0.02
_NODE_CHECK: Final = "serfHealth"
_UNSEEN: Final = (
    "the agent has {what}, and the catalogue does not show it yet. If this stays so, the token "
    'lacks node_prefix "" {{ policy = "read" }} or service "NAME" {{ policy = "read" }}.'
)
_logger = logging.getLogger(__name__)


class Catalog:
    """The catalogue as far as it is about one owner's records."""

    def __init__(self, client: Client, owner: str, trust_s: float) -> None:
        """Take what makes the requests.

        Args:
            client: makes them.
            owner: whose records count.
            trust_s: for how many seconds a look shows that writes get here.
        """
        self._client = client
        self._owner = owner
        self._trust_s = trust_s
        self._node: str | None = None
        self._was_shown = False
        self._proven = (_NEVER, 0)

    @property
    def is_proven(self) -> bool:
        """Whether the agent's writes get here: a look has shown it lately, and nothing failed."""
        at_s, breaks = self._proven
        return breaks == self._client.breaks and time.monotonic() - at_s < self._trust_s

    @property
    def knows_node(self) -> bool:
        """Whether it has lately shown the agent's node with a record of ours."""
        return self._node is not None

    def await_shown(self, info: Info, deadline: Deadline) -> None:
        """Return when every reader sees the record of ``info``.

        Raises:
            RegistryError: that is not known to be so.
        """

        def is_there(found: Sequence[dict[str, Any]]) -> bool:
            return any(self._is_ours(one, info) and is_live(one["Checks"]) for one in found)

        moment = self._moment()
        request = instance(info.service_name, service_id(info))
        try:
            self._await(request, is_there, deadline, f"a record of {info.service_name!r}")
        except TimedOutError:
            # A token that may not see our records finds none. They are not written anew for that.
            self._node, self._was_shown = None, False
            raise
        self._proven = moment

    def await_gone(self, info: Info, deadline: Deadline) -> None:
        """Return when no reader sees a record of ours for the identity of ``info``."""

        def is_gone(found: Sequence[dict[str, Any]]) -> bool:
            return not any(owner_of(one["Service"]) == self._owner for one in found)

        request = instance(info.service_name, service_id(info))
        self._await(request, is_gone, deadline, f"no record of {info.service_name!r}")

    def unseen(self, infos: Sequence[Info], deadline: Deadline) -> list[Info]:
        """Wait until every reader sees all of these; return those that are not seen in time.

        Raises:
            RegistryError: the catalogue cannot be read.
        """
        node = self._learned(infos[0], deadline)
        if node is None or len(infos) == 1:
            self.await_shown(infos[0], deadline)
            node = self._node
        if node is None or len(infos) == 1:
            return []
        moment = self._moment()
        missing: list[Info] | None = None

        def are_there(found: Mapping[str, Any] | None) -> bool:
            nonlocal missing
            there = {one["ID"]: one for one in _services_in(found)}
            missing = [info for info in infos if not self._is_written(info, there)]
            return not missing

        try:
            request = node_services(node, self._owner)
            self._await(request, are_there, deadline, f"{len(infos)} records")
        except TimedOutError:
            if missing is None:
                raise
        else:
            self._proven = moment
        return missing or []

    def await_all_gone(self, infos: Sequence[Info], deadline: Deadline) -> None:
        """The same as :meth:`await_gone` for many, with one list of all where there is one."""
        node = self._node
        if node is None:
            for info in infos:
                self.await_gone(info, deadline)
            return
        removed = {service_id(info) for info in infos}

        def are_gone(found: Mapping[str, Any] | None) -> bool:
            return removed.isdisjoint(one["ID"] for one in _services_in(found))

        request = node_services(node, self._owner)
        self._await(request, are_gone, deadline, "no such records")

    def missing(self, infos: Sequence[Info], deadline: Deadline) -> list[Info]:
        """Return those whose checks the catalogue lacks, by one request as a rule.

        Returns:
            None of them where the catalogue cannot be read.
        """
        moment = self._moment()
        try:
            there = self._checks(infos[0], deadline)
        except RegistryError as exc:
            # The agent has answered the beats; its servers may be without a leader meanwhile.
            _logger.info("consul: the catalogue could not be compared: %s", exc)
            return []
        if there is None:
            return list(infos) if self._was_shown else []
        if not _is_up(there.values()):
            return []
        missing = [info for info in infos if check_id(info, self._owner) not in there]
        if not missing:
            self._proven = moment
        return missing

    def _checks(self, info: Info, deadline: Deadline) -> Mapping[str, Any] | None:
        """List the checks of our node; None if the catalogue has no node with a record of ours.

        The agent may be of another name by now, or have been removed with all that it has.
        """
        there: dict[str, Any] = {}
        for _ in range(2):
            node = self._node or self._learned(info, deadline)
            if node is None:
                return None
            found = self._client.call(node_checks(node, self._owner), deadline).json()
            there = {check["CheckID"]: check for check in found or ()}
            if _is_up(there.values()):
                break
            self._node = None
        return there

    def _await(
        self, request: Request, holds: Callable[[Any], bool], deadline: Deadline, what: str
    ) -> None:
        index = 0
        try:
            while True:
                began = time.monotonic()
                answer = self._ask(request, index, deadline)
                found = answer.json()
                self._learn_node(found)
                if holds(found):
                    return
                asked, index = index, next_index(index, answer)
                # With an index to wait for, the first answer may be followed at once.
                is_busy = time.monotonic() - began < _PAUSE_S
                if is_busy and (asked or not index):
                    time.sleep(min(_PAUSE_S, deadline.left_s()))
        except TimedOutError as exc:
            words = _UNSEEN.format(what=what)
            raise TimedOutError(f"{exc} As far as is known, {words}") from exc

    def _ask(self, request: Request, index: int, deadline: Deadline) -> Answer:
        if index:
            request = request.waiting(index, min(_LONGEST_WAIT_S, deadline.left_s()))
        return self._client.call(request, deadline)

    def _moment(self) -> tuple[float, int]:
        return time.monotonic(), self._client.breaks

    def _learned(self, info: Info, deadline: Deadline) -> str | None:
        """Return the agent's node: it has another name after some restarts, as in containers."""
        request = instance(info.service_name, service_id(info))
        self._learn_node(self._client.call(request, deadline).json())
        return self._node

    def _learn_node(self, found: object) -> None:
        """Note the name of the agent's node, which all of our records hang on.

        A node that is gone leaves its records behind for a while. One that is up counts, and of
        several that with the newest record.
        """
        ours = [
            one
            for one in (found if isinstance(found, list) else ())
            if owner_of(one["Service"]) == self._owner
        ]
        if ours:
            newest = max(ours, key=lambda one: (_is_up(one["Checks"]), changed_at(one)))
            self._node = newest["Node"]["Node"]
            self._was_shown = True

    def _is_ours(self, one: Mapping[str, Any], info: Info) -> bool:
        record = _record_of(one["Service"], one["Checks"])
        return record == Record(info, self._owner)

    def _is_written(self, info: Info, there: Mapping[str, Mapping[str, Any]]) -> bool:
        service = there.get(service_id(info))
        checks = () if info.weight else ({"Status": "warning"},)
        return service is not None and _record_of(service, checks) == Record(info, self._owner)


def _services_in(found: Mapping[str, Any] | None) -> Sequence[Mapping[str, Any]]:
    """Return the services of a node; Consul answers null for a node that it does not know."""
    return (found or {}).get("Services") or ()


def _is_up(checks: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether the sign of life of a node is among these checks, and not critical."""
    signs = [check for check in checks if check["CheckID"].startswith(_NODE_CHECK)]
    return any(check["Status"] != "critical" for check in signs)


def _record_of(
    service: Mapping[str, Any], checks: Sequence[Mapping[str, Any]] = ()
) -> Record | None:
    try:
        return decode(entry_of(service, checks))
    except MalformedRecordError:
        return None
