"""Plugins that resolve and watch in ways that break the rules of V.

Each is broken in one way that real ones are; all else is as in memory_plugin.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

from core.tests.kit.memory_plugin import (
    CONNECT_S,
    Answer,
    Json,
    MemoryOptions,
    MemoryRegistry,
    Watched,
)
from enlist.errors import RejectedError, UnavailableError
from enlist.hookspecs import Stop, hookimpl
from enlist.info import Info
from enlist.records import MalformedRecordError

FOR_EVER_S = 3_600.0


class SaysNothingOfNobody(MemoryRegistry):
    """Begins a watch with the first instance: an empty list is never yielded."""

    def lists(self, watched: Watched) -> Iterator[list[Info]]:
        shown = False
        for instances in super().lists(watched):
            shown = shown or bool(instances)
            if shown:
                yield instances


class NobodyIsAnError(MemoryRegistry):
    """Rejects the question for a name that nobody registered."""

    @hookimpl
    def resolve(self, service_name: str, timeout_s: float) -> list[Info]:
        found = super().resolve(service_name, timeout_s)
        if not found:
            raise RejectedError(f"no service {service_name!r}")
        return found


class OneAtATime(MemoryRegistry):
    """Yields what it has so far for each record that it reads."""

    def lists(self, watched: Watched) -> Iterator[list[Info]]:
        for instances in super().lists(watched):
            for count in range(1, len(instances)):
                yield instances[:count]
            yield instances


class AsksNowAndThen(MemoryRegistry):
    """Calls a poll every five seconds a watch."""

    @hookimpl
    def watch(self, service_name: str, stop: Stop) -> Iterator[list[Info]]:
        before = None
        while not stop.is_set():
            now = self.resolve(service_name, CONNECT_S)
            if now != before:
                yield now
            before = now
            stop.wait(5.0)


class MissesTheGap(MemoryRegistry):
    """Lists first, and then watches for what comes after."""

    @hookimpl
    def watch(self, service_name: str, stop: Stop) -> Iterator[list[Info]]:
        yield self.resolve(service_name, CONNECT_S)
        lists = super().watch(service_name, stop)
        next(lists, None)
        yield from lists


class HearsOnlyItself(MemoryRegistry):
    """Tells its own process of each change at once, and asks for those of others now and then."""

    bell = threading.Condition()

    def call(self, what: str, timeout_s: float, **arguments: Answer) -> Answer:
        answer = super().call(what, timeout_s, **arguments)
        if what in {"put", "delete"}:
            with self.bell:
                self.bell.notify_all()
        return answer

    @hookimpl
    def watch(self, service_name: str, stop: Stop) -> Iterator[list[Info]]:
        before, asked_at = None, 0.0
        while not stop.is_set():
            now = self.resolve(service_name, CONNECT_S)
            if now != before:
                yield now
            before, asked_at = now, time.monotonic()
            with self.bell:
                while not stop.is_set() and time.monotonic() - asked_at < 10.0:
                    if self.bell.wait(0.05):
                        break


class SeesNoChanges(MemoryRegistry):
    """Watches the keys alone, as ZooKeeper's watch of children does."""

    def lists(self, watched: Watched) -> Iterator[list[Info]]:
        before = None
        for instances in super().lists(watched):
            keys = {info.addr for info in instances}
            if keys != before:
                yield instances
            before = keys


class OutOfOrder(MemoryRegistry):
    """Now and then delivers a list after the one that followed it."""

    def lists(self, watched: Watched) -> Iterator[list[Info]]:
        before: list[Info] | None = None
        for number, instances in enumerate(super().lists(watched)):
            yield instances
            if number % 5 == 4 and before is not None:
                yield before
                yield instances
            before = instances


class TalksForNothing(MemoryRegistry):
    """Yields the same list again every tenth of a second."""

    @hookimpl
    def watch(self, service_name: str, stop: Stop) -> Iterator[list[Info]]:
        while not stop.is_set():
            yield self.resolve(service_name, CONNECT_S)
            stop.wait(0.1)


class EmptiesOnAnError(MemoryRegistry):
    """Has nobody to show when nobody answers."""

    @hookimpl
    def resolve(self, service_name: str, timeout_s: float) -> list[Info]:
        try:
            return super().resolve(service_name, timeout_s)
        except UnavailableError:
            return []


class RemembersThroughAnError(MemoryRegistry):
    """Gives the answer of yesterday when nobody answers."""

    def __init__(self, options: MemoryOptions, owner: str) -> None:
        super().__init__(options, owner)
        self.last: dict[str, list[Info]] = {}

    @hookimpl
    def resolve(self, service_name: str, timeout_s: float) -> list[Info]:
        try:
            self.last[service_name] = super().resolve(service_name, timeout_s)
        except UnavailableError:
            if service_name not in self.last:
                raise
        return self.last[service_name]


class EmptiesTheWatchOnAnError(MemoryRegistry):
    """Yields an empty list when the stream breaks."""

    def lists(self, watched: Watched) -> Iterator[list[Info]]:
        try:
            yield from super().lists(watched)
        except OSError:
            yield []
            raise


class ProbesNothing(MemoryRegistry):
    """Is sure that the server is there."""

    @hookimpl
    def probe(self, timeout_s: float) -> None:
        """Ask nobody."""


class FailsOverOneBadRecord(MemoryRegistry):
    """Has no patience with a malformed record."""

    def instances(self, records: list[Json]) -> list[Info]:
        return [self.decode(one["key"], one["value"]).info for one in records]


class ListsNothingOverOneBadRecord(MemoryRegistry):
    """Has none either when it lists the names."""

    @hookimpl
    def services(self, timeout_s: float) -> list[str]:
        records = self.call("list", timeout_s, prefix="")
        try:
            infos = [self.decode(one["key"], one["value"]).info for one in records]
        except MalformedRecordError as exc:
            raise RejectedError("a record cannot be read") from exc
        return sorted({info.service_name for info in infos})


class SkipsInSilence(MemoryRegistry):
    """Leaves malformed records out without a word."""

    def instances(self, records: list[Json]) -> list[Info]:
        found = []
        for one in records:
            with contextlib.suppress(MalformedRecordError):
                found.append(self.decode(one["key"], one["value"]).info)
        return found


class SeesLongerNames(MemoryRegistry):
    """Asks for all that begins with the name."""

    @hookimpl
    def resolve(self, service_name: str, timeout_s: float) -> list[Info]:
        prefix = self.prefix(service_name).removesuffix("/")
        return self.instances(self.call("list", timeout_s, prefix=prefix))


class IgnoresCase(MemoryRegistry):
    """Finds a name in any case, as Consul does."""

    @hookimpl
    def resolve(self, service_name: str, timeout_s: float) -> list[Info]:
        records = self.call("list", timeout_s, prefix="")
        found = self.instances(records)
        return [one for one in found if one.service_name.lower() == service_name.lower()]


class SeesNestedNames(MemoryRegistry):
    """Takes what is nested in a name for an instance of it."""

    def instances(self, records: list[Json]) -> list[Info]:
        return super().instances([{**one, "key": self._flat(one["key"])} for one in records])

    def _flat(self, key: str) -> str:
        first, *_, last = key.split("/")
        return f"{first}/{last}"


class ReconnectsInSilence(MemoryRegistry):
    """Connects anew by itself, and shows a server that came back empty as departures."""

    @hookimpl
    def watch(self, service_name: str, stop: Stop) -> Iterator[list[Info]]:
        before = None
        while not stop.is_set():
            with contextlib.suppress(UnavailableError):
                for instances in super().watch(service_name, stop):
                    if instances != before:
                        yield instances
                    before = instances
            stop.wait(0.02)


class ShowsACachedList(MemoryRegistry):
    """After its first break begins each watch with what it remembers, and stays with that."""

    def __init__(self, options: MemoryOptions, owner: str) -> None:
        super().__init__(options, owner)
        self.last: dict[str, list[Info]] = {}
        self.remembered: dict[str, list[Info]] = {}

    @hookimpl
    def watch(self, service_name: str, stop: Stop) -> Iterator[list[Info]]:
        if service_name in self.remembered:
            yield self.remembered[service_name]
            stop.wait(FOR_EVER_S)
            return
        try:
            for instances in super().watch(service_name, stop):
                self.last[service_name] = instances
                yield instances
        finally:
            self.remembered.update(self.last)


class CannotBeStopped(MemoryRegistry):
    """Looks at the stop token between two lists only."""

    def cut(self, connection: socket.socket) -> None:
        """Do not."""


class LeaksAThread(MemoryRegistry):
    """Leaves the helper thread of each watch."""

    @hookimpl
    def watch(self, service_name: str, stop: Stop) -> Iterator[list[Info]]:
        helper = threading.Thread(target=threading.Event().wait, name="helper", daemon=True)
        helper.start()
        yield from super().watch(service_name, stop)


class LeaksWhenItFails(MemoryRegistry):
    """Ends the helper thread of a watch that is stopped, and forgets that of one that fails."""

    @hookimpl
    def watch(self, service_name: str, stop: Stop) -> Iterator[list[Info]]:
        ended = threading.Event()
        threading.Thread(target=ended.wait, name="helper", daemon=True).start()
        yield from super().watch(service_name, stop)
        ended.set()


class LeaksASocket(MemoryRegistry):
    """Leaves a connection of each watch."""

    left: list[socket.socket]

    @hookimpl
    def watch(self, service_name: str, stop: Stop) -> Iterator[list[Info]]:
        self.__dict__.setdefault("left", []).append(self.connect(CONNECT_S))
        yield from super().watch(service_name, stop)


class LeaksAtClose(MemoryRegistry):
    """Keeps one connection for all of its life, and longer."""

    kept: list[socket.socket] = []  # noqa: RUF012 - to be kept for ever is the point

    @hookimpl
    def register(self, info: Info, timeout_s: float) -> None:
        super().register(info, timeout_s)
        self.kept.append(self.connect(timeout_s))


class HangsWhenItCloses(MemoryRegistry):
    """Waits without a limit until the server has heard that it leaves."""

    @hookimpl
    def close(self, timeout_s: float) -> None:
        super().close(FOR_EVER_S)


BREAKS: dict[type[MemoryRegistry], str] = {
    SaysNothingOfNobody: "V1",
    NobodyIsAnError: "V1",
    OneAtATime: "V1",
    AsksNowAndThen: "V2",
    MissesTheGap: "V2",
    HearsOnlyItself: "V2",
    SeesNoChanges: "V2",
    OutOfOrder: "V3",
    TalksForNothing: "V3",
    EmptiesOnAnError: "V4",
    RemembersThroughAnError: "V4",
    EmptiesTheWatchOnAnError: "V4",
    ProbesNothing: "V4",
    FailsOverOneBadRecord: "V5",
    ListsNothingOverOneBadRecord: "V5",
    SkipsInSilence: "V5",
    SeesLongerNames: "V6",
    IgnoresCase: "V6",
    SeesNestedNames: "V6",
    ReconnectsInSilence: "V8",
    ShowsACachedList: "V7",
    CannotBeStopped: "V9",
    LeaksAThread: "V9",
    LeaksWhenItFails: "V9",
    LeaksASocket: "V9",
    LeaksAtClose: "V9",
    HangsWhenItCloses: "V9",
}
"""The rule that each of them breaks."""
