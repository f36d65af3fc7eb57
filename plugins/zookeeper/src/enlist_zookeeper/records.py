"""An Info as a node of ZooKeeper, and back: Kitex's own records and what they lack.

::

    /echo/10.0.0.1:8888
    {"Weight":10,"Tags":{"zone":"a"},"enlist":{...}}

The member "enlist" is ours, and Kitex's reader passes over it: see :mod:`enlist.records`. A
unix socket's node is called ``unix:`` and its path percent-encoded, so that it is one segment
too; Kitex's reader fails on it, so it is written only where that was allowed. Pure functions,
without I/O.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote, unquote

from enlist.address import Address
from enlist.errors import InvalidInfoError
from enlist.info import Info
from enlist.records import (
    MEMBER,
    Extra,
    MalformedRecordError,
    Record,
    compact_json,
    json_object,
    member,
    record_address,
)
from enlist_zookeeper.names import SYSTEM_NODE, fault_in

__all__ = ["Paths", "check", "decode", "encode", "fault_in_name", "is_address", "owner_of"]

_UNIX: Final = "unix:"


class Paths:
    """The paths below one root: ``{root}/{service_name}/{address}``."""

    def __init__(self, root: str) -> None:
        """Take the root, without a slash at its end; empty for the top of the tree."""
        self.root = root

    def of(self, info: Info) -> str:
        """Return the path of a complete Info."""
        assert info.addr is not None  # noqa: S101 - the core hands over complete Infos only; for the type checker
        return f"{self.folder(info.service_name)}/{_segment(info.addr)}"

    def folder(self, service_name: str) -> str:
        """Return the path of the node that the records of one service are children of."""
        return f"{self.root}/{service_name}"


def check(info: Info, *, root: str, kitex_compatible: bool) -> None:
    """Refuse what ZooKeeper, or Kitex's reader, cannot carry.

    Args:
        info: complete.
        root: what the service's node lies below; empty for the top of the tree.
        kitex_compatible: whether Kitex's resolver has to be able to read it.

    Raises:
        InvalidInfoError: names the field and the limit.
    """
    assert info.addr is not None  # noqa: S101 - the core hands over complete Infos only; for the type checker
    if fault := fault_in_name(info.service_name, root):
        raise InvalidInfoError("service_name", info.service_name, fault)
    if kitex_compatible and info.addr.network == "unix":
        rule = (
            "is a unix socket, on which Kitex's resolver fails for the whole service; "
            "set kitex_compatible=false where nobody uses it"
        )
        raise InvalidInfoError("addr", str(info.addr), rule)


def fault_in_name(service_name: str, root: str) -> str | None:
    """Return why there can be no service of that name, as the end of a sentence; else None."""
    if not root and service_name == SYSTEM_NODE:
        return "is ZooKeeper's own node at the top of the tree; choose another, or set a prefix"
    return fault_in(service_name)


def encode(info: Info, owner: str) -> bytes:
    """Return the data of the node for a complete Info of this owner."""
    # Go writes the keys of a map in order.
    tags = None if info.tags is None else dict(sorted(info.tags.items()))
    value = {"Weight": info.weight, "Tags": tags, MEMBER: Extra.of(info, owner).to_json()}
    return compact_json(value).encode()


def decode(service_name: str, segment: str, data: bytes) -> Record:
    """Return what a record says, whoever wrote it.

    A record without a weight has none, as for Kitex, and so gets no traffic.

    Args:
        service_name: the name of the parent node.
        segment: the name of the node.
        data: the node's.

    Raises:
        MalformedRecordError: it cannot be read.
    """
    addr = _address(segment)
    fields = json_object(data)
    extra = Extra.from_json(fields.get(MEMBER))
    weight = member(fields, "Weight", int, 0)
    return Record(extra.info(service_name, addr, weight=weight, tags=_tags(fields)), extra.owner)


def owner_of(data: bytes) -> str:
    """Return the owner that a record carries; empty for Kitex's own and for malformed ones."""
    try:
        return Extra.from_json(json_object(data).get(MEMBER)).owner
    except MalformedRecordError:
        return ""


def is_address(segment: str) -> bool:
    """Return whether a node is called as records are; others may be services nested in a name."""
    try:
        _address(segment)
    except MalformedRecordError:
        return False
    return True


def _segment(addr: Address) -> str:
    return str(addr) if addr.network == "tcp" else _UNIX + quote(addr.host, safe="")


def _address(segment: str) -> Address:
    is_unix = segment.startswith(_UNIX)
    return record_address(_UNIX + unquote(segment.removeprefix(_UNIX)) if is_unix else segment)


def _tags(fields: dict[str, Any]) -> dict[str, str]:
    tags: dict[str, Any] = member(fields, "Tags", dict, {})
    # Go reads null as no text.
    read = {key: "" if value is None else value for key, value in tags.items()}
    if not all(isinstance(value, str) for value in read.values()):
        raise MalformedRecordError("a tag is not text")
    return read
