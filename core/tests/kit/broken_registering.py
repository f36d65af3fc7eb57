"""Plugins that register and deregister in ways that break R1 to R8.

Each is broken in one way that real ones are; all else is as in memory_plugin.
"""

import contextlib
import json
import logging
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

from core.tests.kit.memory_plugin import (
    CONNECT_S,
    Answer,
    Json,
    MemoryOptions,
    MemoryRegistry,
    Watched,
)
from enlist.errors import (
    InvalidInfoError,
    RejectedError,
    TimedOutError,
    UnauthorisedError,
    UnavailableError,
)
from enlist.hookspecs import Beat, Lost, Stop, Why, hookimpl
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


class WatchDropsTags(MemoryRegistry):
    """Reads records in two places, and the one for watches forgot the tags."""

    def lists(self, watched: Watched) -> Iterator[list[Info]]:
        for instances in super().lists(watched):
            yield [replace(info, tags=None) for info in instances]


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


class RepairsWithLess(MemoryRegistry):
    """Writes records in two places, and one of them forgot the tags."""

    @hookimpl
    def restore(self, infos: Sequence[Info], timeout_s: float) -> list[Lost]:
        left = super().restore([replace(info, tags={}) for info in infos], timeout_s)
        return [Lost(info, Why.SUPERSEDED) for info in infos if info in {one.info for one in left}]


class NotBoundToLife(MemoryRegistry):
    """Writes records without a lease: they stay for ever, as with unitpulse-discovery."""

    def record(self, info: Info) -> Json:
        return {**super().record(info), "lease": ""}


class GrantsMore(MemoryRegistry):
    """Asks the server for four times the ttl that it speaks of."""

    def grant(self, timeout_s: float) -> None:
        self.call("grant", timeout_s, lease=self.lease, ttl_s=4 * self.ttl_s)


class BindsOnlyTheFirst(MemoryRegistry):
    """Updates and repairs without the lease: what it wrote a second time stays for ever."""

    def __init__(self, options: MemoryOptions, owner: str) -> None:
        super().__init__(options, owner)
        self.wrote: set[str] = set()

    def record(self, info: Info) -> Json:
        record = super().record(info)
        again = record["key"] in self.wrote
        self.wrote.add(record["key"])
        return {**record, "lease": ""} if again else record


class RepairsForEver(MemoryRegistry):
    """Writes in bulk without a lease."""

    @hookimpl
    def restore(self, infos: Sequence[Info], timeout_s: float) -> list[Lost]:
        records = [{**self.record(info), "lease": ""} for info in infos]
        refused = self.call("put", timeout_s, records=records, only_vacant=True)
        return [Lost(info, Why.SUPERSEDED) for info in infos if self.key(info) in refused]


class TakesOverWithTheOldLease(MemoryRegistry):
    """Replaces the text of another's record, and leaves it under the other's lease."""

    def put(self, info: Info, timeout_s: float) -> None:
        record = self.record(info)
        for held in self.call("get", timeout_s, keys=[record["key"]]):
            record["lease"] = held["lease"]
        self.call("put", timeout_s, records=[record])


class PromisesMore(MemoryRegistry):
    """Says of every beat that it is good for longer than the server granted."""

    @hookimpl
    def keep_alive(self, infos: Sequence[Info], timeout_s: float) -> Beat:
        beat = super().keep_alive(infos, timeout_s)
        return Beat(beat.lost, 1.5 * beat.valid_for_s)


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


class RepairsByDeleting(MemoryRegistry):
    """Writes in bulk by removing and writing."""

    @hookimpl
    def restore(self, infos: Sequence[Info], timeout_s: float) -> list[Lost]:
        self.withdraw(infos, timeout_s)
        self.call("ping", timeout_s)
        return super().restore(infos, timeout_s)


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


class RepairsOverForeigners(MemoryRegistry):
    """Takes a record that carries no owner for nobody's."""

    @hookimpl
    def restore(self, infos: Sequence[Info], timeout_s: float) -> list[Lost]:
        found = self.call("get", timeout_s, keys=[self.key(info) for info in infos])
        self.call("delete", timeout_s, keys=[one["key"] for one in found], owner="")
        return super().restore(infos, timeout_s)


class ReadsThenRepairs(MemoryRegistry):
    """Looks whether the place is free and writes in two steps, although the server has one."""

    @hookimpl
    def restore(self, infos: Sequence[Info], timeout_s: float) -> list[Lost]:
        lost = [one for one in self.lost(infos, timeout_s) if one.why is Why.SUPERSEDED]
        self.grant(timeout_s)
        taken = {one.info for one in lost}
        records = [self.record(info) for info in infos if info not in taken]
        self.call("put", timeout_s, records=records)
        return lost


class WithdrawsAnothers(MemoryRegistry):
    """Removes in bulk without a look at the owner."""

    @hookimpl
    def withdraw(self, infos: Sequence[Info], timeout_s: float) -> list[Info]:
        self.call("delete", timeout_s, keys=[self.key(info) for info in infos])
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


class DeregistersByPrefix(MemoryRegistry):
    """Removes all whose key begins like the one that leaves: port 80 takes 8080 with it."""

    @hookimpl
    def deregister(self, info: Info, timeout_s: float) -> None:
        found = self.call("list", timeout_s, prefix=self.key(info))
        self.call("delete", timeout_s, keys=[one["key"] for one in found], owner=self.owner)


class ListsWhoeverWasThere(MemoryRegistry):
    """Never forgets the name of a service."""

    def __init__(self, options: MemoryOptions, owner: str) -> None:
        super().__init__(options, owner)
        self.names: set[str] = set()

    @hookimpl
    def services(self, timeout_s: float) -> list[str]:
        self.names.update(super().services(timeout_s))
        return sorted(self.names)


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


class HangsInABeat(MemoryRegistry):
    """Keeps to the time in all hooks but one."""

    @hookimpl
    def keep_alive(self, infos: Sequence[Info], timeout_s: float) -> Beat:
        return super().keep_alive(infos, FOR_EVER_S)


class HangsInTheWithdrawal(MemoryRegistry):
    """The same in another one."""

    @hookimpl
    def withdraw(self, infos: Sequence[Info], timeout_s: float) -> list[Info]:
        return super().withdraw(infos, FOR_EVER_S)


class TriesAgain(MemoryRegistry):
    """Repeats a call that failed, for as long again."""

    def call(self, what: str, timeout_s: float, **arguments: Answer) -> Answer:
        try:
            return super().call(what, timeout_s, **arguments)
        except TimedOutError:
            return super().call(what, timeout_s, **arguments)


class WithdrawsInSilence(MemoryRegistry):
    """Calls everything removed when nobody answers."""

    @hookimpl
    def withdraw(self, infos: Sequence[Info], timeout_s: float) -> list[Info]:
        with contextlib.suppress(UnavailableError):
            return super().withdraw(infos, timeout_s)
        return []


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


class PrintsThePassword(MemoryRegistry):
    """Was debugged once."""

    def request(self, what: str, **arguments: Answer) -> Json:
        request = super().request(what, **arguments)
        print(request)  # noqa: T201 - this is the point of it
        return request


class ShowsThePasswordOfItself(MemoryRegistry):
    """Has a repr that says how it connects."""

    def __repr__(self) -> str:
        """Show too much."""
        return f"MemoryRegistry({self.options.password.reveal()})"


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


class WatchSwallowsRefusals(MemoryRegistry):
    """Takes a watch that is refused for a service without instances."""

    @hookimpl
    def watch(self, service_name: str, stop: Stop) -> Iterator[list[Info]]:
        try:
            yield from super().watch(service_name, stop)
        except UnauthorisedError:
            yield []
            stop.wait(FOR_EVER_S)


class ValidatesAtTheServer(MemoryRegistry):
    """Asks the server whether it would like an Info."""

    @hookimpl
    def validate(self, info: Info) -> None:
        super().validate(info)
        with contextlib.suppress(UnauthorisedError):
            self.call("ping", CONNECT_S)


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
    WatchDropsTags: "R2",
    RefusesInsideLimits: "R2",
    RefusesTheWrongField: "R2",
    RepairsWithLess: "R2",
    NotBoundToLife: "R3",
    BindsOnlyTheFirst: "R3",
    RepairsForEver: "R3",
    TakesOverWithTheOldLease: "R3",
    PromisesMore: "R3",
    GrantsMore: "R3",
    NeverBeats: "R3",
    DeletesFirst: "R4",
    RepairsByDeleting: "R4",
    OneRecordForEachOwner: "R4",
    DeletesAnothers: "R5",
    RepairsOverAnother: "R5",
    RepairsOverForeigners: "R5",
    ReadsThenRepairs: "R5",
    WithdrawsAnothers: "R5",
    ReadsThenDeletes: "R5",
    ClosesWithAnothers: "R5",
    DeregistersLater: "R6",
    DeregistersByPrefix: "R6",
    ListsWhoeverWasThere: "R6",
    DeregistersOnlyWhatIsThere: "R6",
    Hangs: "R7",
    HangsInABeat: "R7",
    HangsInTheWithdrawal: "R7",
    TriesAgain: "R7",
    WithdrawsInSilence: "R7",
    RaisesForeignErrors: "R7",
    ShowsThePassword: "R7",
    PrintsThePassword: "R7",
    ShowsThePasswordOfItself: "R7",
    PasswordInErrors: "R7",
    SwallowsRefusals: "R7",
    WatchSwallowsRefusals: "R7",
    RefusesTooLate: "R8",
    ValidatesAtTheServer: "R8",
}
"""The rule that each of them breaks."""
