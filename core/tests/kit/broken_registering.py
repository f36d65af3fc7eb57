"""Plugins that register and deregister in ways that break R1 to R8.

Each is broken in one way that real ones are; all else is as in memory_plugin.
"""

import json
import logging
import socket
import threading
from collections.abc import Sequence

from core.tests.kit.memory_plugin import Answer, Json, MemoryOptions, MemoryRegistry
from enlist.errors import InvalidInfoError, RejectedError, UnauthorisedError
from enlist.hookspecs import Beat, Lost, hookimpl
from enlist.info import Info
from enlist.records import Record

_logger = logging.getLogger(__name__)
FOR_EVER_S = 3_600.0
LATER_S = 0.15


class WritesLater(MemoryRegistry):
    """Queues the write and returns."""

    @hookimpl
    def register(self, info: Info, timeout_s: float) -> None:
        self.grant(timeout_s)
        threading.Timer(LATER_S, self.put, [info, timeout_s]).start()


class DropsColonTags(MemoryRegistry):
    """Takes a tag with a colon for something else, as Kitex's Consul reader does."""

    def value(self, info: Info) -> Json:
        tags = {key: text for key, text in (info.tags or {}).items() if ":" not in key + text}
        return {**super().value(info), "tags": tags}


class WeightAsText(MemoryRegistry):
    """Writes the weight as text, and so reads none."""

    def value(self, info: Info) -> Json:
        return {**super().value(info), "weight": str(info.weight)}

    def decode(self, key: str, raw: str) -> Record:
        value = json.loads(raw)
        if isinstance(value.get("weight"), str):
            del value["weight"]
        return super().decode(key, json.dumps(value))


class DropsEmptyTags(MemoryRegistry):
    """Takes an empty value for no value."""

    def value(self, info: Info) -> Json:
        tags = {key: text for key, text in (info.tags or {}).items() if text}
        return {**super().value(info), "tags": tags}


class LosesCase(MemoryRegistry):
    """Writes names down in lower case, so that two become one."""

    def prefix(self, service_name: str) -> str:
        return super().prefix(service_name.lower())


class RefusesInsideLimits(MemoryRegistry):
    """Refuses a weight of 0, and does not declare it."""

    @hookimpl
    def validate(self, info: Info) -> None:
        super().validate(info)
        if info.weight == 0:
            raise InvalidInfoError("weight", info.weight, "must be at least 1")


class RefusesTheWrongField(MemoryRegistry):
    """Refuses a unix socket, and names another field."""

    @hookimpl
    def validate(self, info: Info) -> None:
        try:
            super().validate(info)
        except InvalidInfoError as exc:
            raise InvalidInfoError("service_name", info.service_name, "is bad") from exc


class NotBoundToLife(MemoryRegistry):
    """Writes records without a lease: they stay for ever, as with unitpulse-discovery."""

    def record(self, info: Info) -> Json:
        return {**super().record(info), "lease": ""}


class GrantsMore(MemoryRegistry):
    """Asks the server for four times the ttl that it speaks of."""

    def grant(self, timeout_s: float) -> None:
        self.call("grant", timeout_s, lease=self.lease, ttl_s=4 * self.ttl_s)


class NeverBeats(MemoryRegistry):
    """Says that it lives, and tells nobody."""

    @hookimpl
    def keep_alive(self, infos: Sequence[Info], timeout_s: float) -> Beat:
        return Beat(self.lost(infos, timeout_s), self.ttl_s)


class DeletesFirst(MemoryRegistry):
    """Updates by removing and writing."""

    @hookimpl
    def register(self, info: Info, timeout_s: float) -> None:
        self.grant(timeout_s)
        self.call("delete", timeout_s, keys=[self.key(info)])
        self.call("ping", timeout_s)
        self.put(info, timeout_s)


class OneRecordForEachOwner(MemoryRegistry):
    """Has the owner in the key: a take-over leaves two records."""

    def key(self, info: Info) -> str:
        return f"{super().key(info)}%7C{self.owner}"

    def decode(self, key: str, raw: str) -> Record:
        return super().decode(key.partition("%7C")[0], raw)


class DeletesAnothers(MemoryRegistry):
    """Deregisters without a look at the owner."""

    @hookimpl
    def deregister(self, info: Info, timeout_s: float) -> None:
        self.call("delete", timeout_s, keys=[self.key(info)])


class RepairsOverAnother(MemoryRegistry):
    """Repairs by the plain write that takes over."""

    @hookimpl
    def restore(self, infos: Sequence[Info], timeout_s: float) -> list[Lost]:
        self.grant(timeout_s)
        self.call("put", timeout_s, records=[self.record(info) for info in infos])
        return []


class ReadsThenDeletes(MemoryRegistry):
    """Looks at the owner and removes in two steps, although the server has one."""

    @hookimpl
    def deregister(self, info: Info, timeout_s: float) -> None:
        found = self.call("get", timeout_s, keys=[self.key(info)])
        self.call("ping", timeout_s)
        if found and found[0]["owner"] == self.owner:
            self.call("delete", timeout_s, keys=[self.key(info)])


class ClosesWithAnothers(MemoryRegistry):
    """Removes everything that it ever wrote when it closes."""

    def __init__(self, options: MemoryOptions, owner: str) -> None:
        super().__init__(options, owner)
        self.wrote: set[str] = set()

    def record(self, info: Info) -> Json:
        self.wrote.add(self.key(info))
        return super().record(info)

    @hookimpl
    def close(self, timeout_s: float) -> None:
        self.call("delete", timeout_s, keys=sorted(self.wrote))


class DeregistersLater(MemoryRegistry):
    """Queues the removal and returns."""

    @hookimpl
    def deregister(self, info: Info, timeout_s: float) -> None:
        threading.Timer(LATER_S, super().deregister, [info, timeout_s]).start()


class DeregistersOnlyWhatIsThere(MemoryRegistry):
    """Rejects the removal of what is not there."""

    @hookimpl
    def deregister(self, info: Info, timeout_s: float) -> None:
        if not self.call("get", timeout_s, keys=[self.key(info)]):
            raise RejectedError(f"{info.service_name} is not registered")
        super().deregister(info, timeout_s)


class Hangs(MemoryRegistry):
    """Waits for an answer without a limit."""

    def call(self, what: str, timeout_s: float, **arguments: Answer) -> Answer:
        return super().call(what, FOR_EVER_S, **arguments)


class RaisesForeignErrors(MemoryRegistry):
    """Lets the socket's own errors out."""

    def connect(self, timeout_s: float) -> socket.socket:
        host = self.options.hosts[0]
        return socket.create_connection((host.host, host.port), timeout_s)

    def call(self, what: str, timeout_s: float, **arguments: Answer) -> Answer:
        with self.connect(timeout_s) as connection:
            return self.ask(connection, what, **arguments)


class ShowsThePassword(MemoryRegistry):
    """Logs its requests."""

    def request(self, what: str, **arguments: Answer) -> Json:
        request = super().request(what, **arguments)
        _logger.debug("asking %s", request)
        return request


class PasswordInErrors(MemoryRegistry):
    """Says in an error what it had sent."""

    def answer(self, line: str) -> Answer:
        try:
            return super().answer(line)
        except UnauthorisedError as exc:
            raise UnauthorisedError(f"not accepted: {self.options.password.reveal()}") from exc


class SwallowsRefusals(MemoryRegistry):
    """Takes a wrong password for an empty answer."""

    def answer(self, line: str) -> Answer:
        try:
            return super().answer(line)
        except UnauthorisedError:
            return []


class RefusesTooLate(MemoryRegistry):
    """Has no look at an Info before it is written."""

    @hookimpl
    def validate(self, info: Info) -> None:
        """Refuse nothing."""

    @hookimpl
    def register(self, info: Info, timeout_s: float) -> None:
        if info.addr is not None and info.addr.network == "unix":
            raise RejectedError("no unix sockets")
        super().register(info, timeout_s)


BREAKS: dict[type[MemoryRegistry], str] = {
    WritesLater: "R1",
    DropsColonTags: "R2",
    WeightAsText: "R2",
    DropsEmptyTags: "R2",
    LosesCase: "R2",
    RefusesInsideLimits: "R2",
    RefusesTheWrongField: "R2",
    NotBoundToLife: "R3",
    GrantsMore: "R3",
    NeverBeats: "R3",
    DeletesFirst: "R4",
    OneRecordForEachOwner: "R4",
    DeletesAnothers: "R5",
    RepairsOverAnother: "R5",
    ReadsThenDeletes: "R5",
    ClosesWithAnothers: "R5",
    DeregistersLater: "R6",
    DeregistersOnlyWhatIsThere: "R6",
    Hangs: "R7",
    RaisesForeignErrors: "R7",
    ShowsThePassword: "R7",
    PasswordInErrors: "R7",
    SwallowsRefusals: "R7",
    RefusesTooLate: "R8",
}
"""The rule that each of them breaks."""
