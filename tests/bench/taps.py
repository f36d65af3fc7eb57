"""Counting requests where they pass by: on the wire, by what the protocol says they are."""

import collections
import struct
from dataclasses import dataclass, field
from typing import Final

_HEAD_END: Final = b"\r\n\r\n"
_OPERATIONS: Final = {
    1: "create",
    2: "delete",
    3: "exists",
    4: "getData",
    5: "setData",
    8: "getChildren",
    9: "sync",
    11: "ping",
    12: "getChildren2",
    13: "check",
    14: "multi",
    15: "create2",
    103: "getEphemerals",
    -11: "closeSession",
}
_CONNECT: Final = "connect"


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request as it was sent.

    Attributes:
        method: such as "PUT".
        path: with its query.
        headers: with lower-case names.
        body: empty where there is none.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class HttpTap:
    """Counts HTTP/1.1 requests that carry their length, and keeps the newest of them.

    Attributes:
        counts: how many there were of each method and kind of path, as `kind_of` names it.
        newest: the last request of each such kind.
    """

    counts: collections.Counter[str] = field(default_factory=collections.Counter)
    newest: dict[str, Request] = field(default_factory=dict)
    _buffers: dict[int, bytes] = field(default_factory=dict)

    def __call__(self, connection: int, is_request: bool, data: bytes) -> None:  # noqa: FBT001 - as the proxy calls it
        """Take in what a client has sent."""
        if not is_request:
            return
        rest = self._buffers.get(connection, b"") + data
        while (parsed := _parse(rest)) is not None:
            request, rest = parsed
            kind = kind_of(request)
            self.counts[kind] += 1
            self.newest[kind] = request
        self._buffers[connection] = rest


def kind_of(request: Request) -> str:
    """Return the method and what the path asks for, without what it asks it of."""
    steps = request.path.partition("?")[0].split("/")
    return f"{request.method} {'/'.join(steps[:5])}"


def _parse(data: bytes) -> tuple[Request, bytes] | None:
    """Return the first request and what follows it; None while it is not complete."""
    head, end, rest = data.partition(_HEAD_END)
    if not end:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ")
    pairs = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    length = int(headers.get("content-length", "0"))
    if len(rest) < length:
        return None
    return Request(method, path, headers, rest[:length]), rest[length:]


@dataclass
class ZooKeeperTap:
    """Counts ZooKeeper's requests by their kinds, and hears which sessions were opened.

    Attributes:
        counts: how many there were of each kind.
        sessions: the number and the password of each session, in their order.
    """

    counts: collections.Counter[str] = field(default_factory=collections.Counter)
    sessions: list[tuple[int, bytes]] = field(default_factory=list)
    _buffers: dict[tuple[int, bool], bytes] = field(default_factory=dict)
    _greeted: set[tuple[int, bool]] = field(default_factory=set)

    def __call__(self, connection: int, is_request: bool, data: bytes) -> None:  # noqa: FBT001 - as the proxy calls it
        """Take in what was sent in one direction."""
        stream = connection, is_request
        rest = self._buffers.get(stream, b"") + data
        while len(rest) >= 4 + (length := _length(rest)):
            packet, rest = rest[4 : 4 + length], rest[4 + length :]
            is_first = stream not in self._greeted
            self._greeted.add(stream)
            if is_request:
                self.counts[_CONNECT if is_first else _name(packet)] += 1
            elif is_first:
                self._note_session(packet)
        self._buffers[stream] = rest

    def _note_session(self, packet: bytes) -> None:
        _, timeout_ms, number, password = struct.unpack_from(">iiq4x16s", packet)
        if timeout_ms > 0:
            self.sessions.append((number, password))


def _length(data: bytes) -> int:
    """Return the length of the next packet; that of a header alone while there is none."""
    return int.from_bytes(data[:4], "big") if len(data) >= 4 else 4


def _name(packet: bytes) -> str:
    (operation,) = struct.unpack_from(">i", packet, 4)
    return _OPERATIONS.get(operation, str(operation))
