"""A correct plugin for :mod:`memory_server`, small enough to be broken in many ways."""

import contextlib
import datetime as dt
import json
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TextIO, TypeAlias
from urllib.parse import quote, unquote

from enlist.address import Address
from enlist.backend_options import Hosts, Secret, option
from enlist.errors import (
    InvalidInfoError,
    RegistryError,
    TimedOutError,
    UnauthorisedError,
    UnavailableError,
)
from enlist.hookspecs import Beat, Lost, Stop, Why, hookimpl
from enlist.info import Info
from enlist.records import Decoded, Extra, MalformedRecordError, Record, json_object, member

Json: TypeAlias = dict[str, Any]
Answer: TypeAlias = Any
"""What JSON holds: it depends on the request."""
CONNECT_S = 1.0


@dataclass(frozen=True)
class Watched:
    """One watch under way."""

    service_name: str
    stop: Stop
    connection: socket.socket
    stream: TextIO


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryOptions:
    hosts: Hosts = option("127.0.0.1:1", help="the server", url="hosts", default_port=1)
    ttl: dt.timedelta = option(dt.timedelta(seconds=15), help="how long a silent process is shown")
    password: Secret = option(Secret(""), help="what the server asks for")


class MemoryRegistry:
    """The hooks. Every call has a connection of its own, so that nothing is shared or left."""

    spec_version = 1
    Options: ClassVar[type[MemoryOptions]] = MemoryOptions
    most_weight = 65_535

    def __init__(self, options: MemoryOptions, owner: str) -> None:
        self.options = options
        self.owner = owner
        self.lease = f"lease-{owner}"
        self.ttl_s = options.ttl.total_seconds()
        self.decoded = Decoded[str](self.decode)
        self.decoding = threading.Lock()

    # --- hooks -----------------------------------------------------------------------------

    @hookimpl
    def register(self, info: Info, timeout_s: float) -> None:
        self.grant(timeout_s)
        self.put(info, timeout_s)

    @hookimpl
    def deregister(self, info: Info, timeout_s: float) -> None:
        self.call("delete", timeout_s, keys=[self.key(info)], owner=self.owner)

    @hookimpl
    def withdraw(self, infos: Sequence[Info], timeout_s: float) -> list[Info]:
        keys = [self.key(info) for info in infos]
        self.call("delete", timeout_s, keys=keys, owner=self.owner)
        return []

    @hookimpl
    def keep_alive(self, infos: Sequence[Info], timeout_s: float) -> Beat:
        self.call("prolong", timeout_s, lease=self.lease)
        return Beat(self.lost(infos, timeout_s), self.ttl_s)

    @hookimpl
    def restore(self, infos: Sequence[Info], timeout_s: float) -> list[Lost]:
        self.grant(timeout_s)
        records = [self.record(info) for info in infos]
        refused = self.call("put", timeout_s, records=records, only_vacant=True)
        return [Lost(info, Why.SUPERSEDED) for info in infos if self.key(info) in refused]

    @hookimpl
    def resolve(self, service_name: str, timeout_s: float) -> list[Info]:
        return self.instances(self.call("list", timeout_s, prefix=self.prefix(service_name)))

    @hookimpl
    def watch(self, service_name: str, stop: Stop) -> Iterator[list[Info]]:
        connection = self.connect(CONNECT_S)
        stop.on_stop(lambda: self.cut(connection))
        try:
            with connection, connection.makefile("rw", encoding="utf-8", newline="\n") as stream:
                yield from self.lists(Watched(service_name, stop, connection, stream))
        except RegistryError:
            raise
        except OSError as exc:
            if not stop.is_set():
                raise UnavailableError(f"the watch of {service_name!r} was cut off") from exc

    @hookimpl
    def services(self, timeout_s: float) -> list[str]:
        found = self.call("list", timeout_s, prefix="")
        readable = [record for record in found if self.instances([record])]
        return sorted({unquote(record["key"].partition("/")[0]) for record in readable})

    @hookimpl
    def probe(self, timeout_s: float) -> None:
        self.call("ping", timeout_s)

    @hookimpl
    def validate(self, info: Info) -> None:
        if info.weight > self.most_weight:
            raise InvalidInfoError("weight", info.weight, f"must be at most {self.most_weight}")
        if info.addr is not None and info.addr.network == "unix":
            raise InvalidInfoError("addr", str(info.addr), "must be a TCP address")

    @hookimpl
    def close(self, timeout_s: float) -> None:
        with contextlib.suppress(UnavailableError, UnauthorisedError):
            self.call("revoke", timeout_s, lease=self.lease)

    # --- records ---------------------------------------------------------------------------

    def prefix(self, service_name: str) -> str:
        return f"{quote(service_name, safe='')}/"

    def key(self, info: Info) -> str:
        return f"{self.prefix(info.service_name)}{quote(str(info.addr), safe='')}"

    def record(self, info: Info) -> Json:
        value = json.dumps(self.value(info))
        return {
            "key": self.key(info),
            "value": value,
            "owner": self.owner,
            "lease": self.lease,
        }

    def value(self, info: Info) -> Json:
        return {
            "weight": info.weight,
            "tags": dict(info.tags or {}),
            "enlist": Extra.of(info, self.owner).to_json(),
        }

    def decode(self, key: str, raw: str) -> Record:
        name, _, address = key.partition("/")
        if "/" in address:
            raise MalformedRecordError("the key has three parts")
        value = json_object(raw)
        extra = Extra.from_json(value.get("enlist"))
        info = extra.info(
            unquote(name),
            Address.parse(unquote(address)),
            weight=member(value, "weight", int, 10),
            tags=member(value, "tags", dict, None),
        )
        return Record(info, extra.owner)

    def instances(self, records: list[Json]) -> list[Info]:
        flat = [(one["key"], one["value"]) for one in records if one["key"].count("/") == 1]
        with self.decoding:
            return [record.info for record in self.decoded.update(flat)]

    def lost(self, infos: Sequence[Info], timeout_s: float) -> list[Lost]:
        keys = [self.key(info) for info in infos]
        owners = {one["key"]: one["owner"] for one in self.call("get", timeout_s, keys=keys)}
        found = []
        for info, key in zip(infos, keys, strict=True):
            if owners.get(key) != self.owner:
                found.append(Lost(info, Why.SUPERSEDED if key in owners else Why.GONE))
        return found

    # --- the server ------------------------------------------------------------------------

    def put(self, info: Info, timeout_s: float) -> None:
        if self.call("put", timeout_s, records=[self.record(info)]):
            raise UnavailableError("the lease ended at this very moment")

    def grant(self, timeout_s: float) -> None:
        self.call("grant", timeout_s, lease=self.lease, ttl_s=self.ttl_s)

    def connect(self, timeout_s: float) -> socket.socket:
        host = self.options.hosts[0]
        try:
            return socket.create_connection((host.host, host.port), timeout_s)
        except TimeoutError as exc:
            raise TimedOutError(f"{host} did not answer") from exc
        except OSError as exc:
            raise UnavailableError(f"{host} cannot be reached") from exc

    def call(self, what: str, timeout_s: float, **arguments: Answer) -> Answer:
        try:
            with self.connect(timeout_s) as connection:
                return self.ask(connection, what, **arguments)
        except RegistryError:
            raise  # several of these are OSErrors too
        except TimeoutError as exc:
            raise TimedOutError(f"no answer within {timeout_s:g} s") from exc
        except (OSError, ValueError) as exc:
            raise UnavailableError("the connection was cut off") from exc

    def ask(self, connection: socket.socket, what: str, **arguments: Answer) -> Answer:
        with connection.makefile("rw", encoding="utf-8", newline="\n") as stream:
            stream.write(json.dumps(self.request(what, **arguments)) + "\n")
            stream.flush()
            return self.answer(stream.readline())

    def request(self, what: str, **arguments: Answer) -> Json:
        return {"do": what, "password": self.options.password.reveal(), **arguments}

    def answer(self, line: str) -> Answer:
        if not line:
            raise OSError("no answer")
        answer = json.loads(line)
        if "refused" in answer:
            raise UnauthorisedError(f"{self.options.hosts[0]} refused the password")
        return answer["answer"]

    def lists(self, watched: Watched) -> Iterator[list[Info]]:
        request = self.request("watch", prefix=self.prefix(watched.service_name))
        watched.stream.write(json.dumps(request) + "\n")
        watched.stream.flush()
        # The server is silent while nothing changes; the core finds out whether it is frozen.
        watched.connection.settimeout(None)
        decoded = Decoded[str](self.decode)
        while not watched.stop.is_set():
            records = self.answer(watched.stream.readline())
            flat = [(one["key"], one["value"]) for one in records if one["key"].count("/") == 1]
            yield [record.info for record in decoded.update(flat)]

    def cut(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
