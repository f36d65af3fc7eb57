"""Waiting for the catalogue: an agent answers a write before the readers can see it.

An agent brings what was written to it into the servers' catalogue some milliseconds later, and
after a takeover it removes the older owner's check later still. So each write is read back
there, by requests that are answered when something changes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from enlist.errors import RegistryError, TimedOutError
from enlist.info import Info
from enlist.records import MalformedRecordError, Record
from enlist_consul.client import Client
from enlist_consul.connection import Answer
from enlist_consul.deadline import Deadline
from enlist_consul.operations import Request, instance, node_checks, node_services
from enlist_consul.records import check_id, decode, entry_of, owner_of, service_id

__all__ = ["Catalog"]

_INDEX: Final = "X-Consul-Index"
_LONGEST_WAIT_S: Final = 30.0
# While a thousand records arrive one by one, the list of all changes with each of them.
_PAUSE_S: Final = 0.02
_MAINTENANCE: Final = "_service_maintenance"
_UNSEEN: Final = (
    "the agent has {what}, and the catalogue does not show it yet. If this stays so, the token "
    'lacks node_prefix "" {{ policy = "read" }} or service "NAME" {{ policy = "read" }}.'
)
_logger = logging.getLogger(__name__)


class Catalog:
    """The catalogue as far as it is about one owner's records."""

    def __init__(self, client: Client, owner: str) -> None:
        """Take what makes the requests, and whose records count."""
        self._client = client
        self._owner = owner
        self._lock = threading.Lock()
        self._node: str | None = None

    def await_shown(self, info: Info, deadline: Deadline) -> None:
        """Return when every reader sees the record of ``info``.

        Raises:
            RegistryError: that is not known to be so.
        """

        def is_there(found: Sequence[dict[str, Any]]) -> bool:
            return any(self._is_ours(one, info) and not _is_hidden(one) for one in found)

        request = instance(info.service_name, service_id(info))
        self._await(request, is_there, deadline, f"a record of {info.service_name!r}")

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
        if self._node is None or len(infos) == 1:
            self.await_shown(infos[0], deadline)
        if self._node is None or len(infos) == 1:
            return []
        missing: list[Info] | None = None

        def are_there(found: Mapping[str, Any] | None) -> bool:
            nonlocal missing
            there = {one["ID"]: one for one in _services_in(found)}
            missing = [info for info in infos if not self._is_written(info, there)]
            return not missing

        try:
            request = node_services(self._node, self._owner)
            self._await(request, are_there, deadline, f"{len(infos)} records")
        except TimedOutError:
            if missing is None:
                raise
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
        """Return those that the catalogue lacks although the agent has them; one request.

        Returns:
            None of them where the catalogue cannot be read, or has not been read before.
        """
        node = self._node
        if node is None:
            return []
        try:
            found = self._client.call(node_checks(node, self._owner), deadline).json()
        except RegistryError as exc:
            # The agent has answered the beats; its servers may be without a leader meanwhile.
            _logger.info("consul: the catalogue could not be compared: %s", exc)
            return []
        there = {check["CheckID"] for check in found or ()}
        # Without the node's own check in it, the list is of another node's name or kept back.
        if not any(one.startswith("serfHealth") for one in there):
            return []
        return [info for info in infos if check_id(info, self._owner) not in there]

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
                newer = _index_of(answer)
                if index and time.monotonic() - began < _PAUSE_S:
                    time.sleep(min(_PAUSE_S, deadline.left_s()))
                index = newer if newer >= index else 0
        except TimedOutError as exc:
            words = _UNSEEN.format(what=what)
            raise TimedOutError(f"{exc} As far as is known, {words}") from exc

    def _ask(self, request: Request, index: int, deadline: Deadline) -> Answer:
        if index:
            request = request.waiting(index, min(_LONGEST_WAIT_S, deadline.left_s()))
        return self._client.call(request, deadline)

    def _learn_node(self, found: object) -> None:
        """Note the name of the agent's node, which all of our records hang on."""
        for one in found if isinstance(found, list) else ():
            if owner_of(one["Service"]) == self._owner:
                with self._lock:
                    self._node = one["Node"]["Node"]

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


def _is_hidden(one: Mapping[str, Any]) -> bool:
    """Return whether an instance is dead; what operators and its node's checks hide is not."""
    return any(
        check["Status"] == "critical"
        and check.get("ServiceID")
        and not check["CheckID"].startswith(_MAINTENANCE)
        for check in one["Checks"]
    )


def _record_of(
    service: Mapping[str, Any], checks: Sequence[Mapping[str, Any]] = ()
) -> Record | None:
    try:
        return decode(entry_of(service, checks))
    except MalformedRecordError:
        return None


def _index_of(answer: Answer) -> int:
    return int(answer.headers.get(_INDEX, "0"))
