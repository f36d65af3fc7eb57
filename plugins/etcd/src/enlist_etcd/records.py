"""An Info as a key and a value of etcd, and back: Kitex's own records and what they lack.

::

    kitex/registry-etcd/echo/10.0.0.1:8888
    {"network":"tcp","address":"10.0.0.1:8888","weight":10,"tags":{"zone":"a"},"enlist":{...}}

The member "enlist" is ours, and Kitex's reader passes over it: see :mod:`enlist.records`. A
unix socket's key ends in ``unix:`` and its path percent-encoded, so that it is one segment too.
Pure functions, without I/O.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote, unquote

from enlist.address import Address
from enlist.info import DEFAULT_WEIGHT, Info
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

__all__ = ["Keys", "decode", "encode", "key_text", "owner_of"]

_NETWORKS: Final = frozenset({"tcp", "unix"})
_UNIX: Final = "unix:"


class Keys:
    """The keys below one prefix: ``{prefix}/{service_name}/{address}``.

    Keys are bytes, as etcd has them: those of other people need not be UTF-8.
    """

    def __init__(self, prefix: str) -> None:
        """Take the prefix, without a slash at its end; it may be empty."""
        self._prefix = prefix
        self.root = f"{prefix}/".encode()

    def of(self, info: Info) -> bytes:
        """Return the key of a complete Info."""
        assert info.addr is not None  # noqa: S101 - the core hands over complete Infos only; for the type checker
        return f"{self._prefix}/{info.service_name}/{_segment(info.addr)}".encode()

    def folder(self, service_name: str) -> bytes:
        """Return what the keys of one service begin with, the slash included."""
        return self.root + f"{service_name}/".encode()

    def split(self, key: bytes) -> tuple[str, str] | None:
        """Return the service name and the address's segment of a key below the prefix.

        Returns:
            None for a key with fewer or more segments, or a name that no service can have:
            it is somebody else's.
        """
        name, slash, segment = key.removeprefix(self.root).partition(b"/")
        if not name or not slash or b"/" in segment:
            return None
        try:
            return name.decode(), key_text(segment)
        except UnicodeDecodeError:
            return None


def encode(info: Info, owner: str) -> bytes:
    """Return the value for a complete Info of this owner.

    Weight 0 is written as 0. Kitex's resolver reads it as its default of 10 unless it was made
    with WithDefaultWeight(0).
    """
    assert info.addr is not None  # noqa: S101 - the core hands over complete Infos only; for the type checker
    # Go writes the keys of a map in order.
    tags = None if info.tags is None else dict(sorted(info.tags.items()))
    value = {
        "network": info.addr.network,
        "address": _dialled(info.addr),
        "weight": info.weight,
        "tags": tags,
        MEMBER: Extra.of(info, owner).to_json(),
    }
    return compact_json(value).encode()


def decode(service_name: str, segment: str, value: bytes) -> Record:
    """Return what a record says, whoever wrote it.

    Args:
        service_name: the one in the key.
        segment: what follows it in the key.
        value: the value.

    Raises:
        MalformedRecordError: it cannot be read, or key and value name different addresses.
    """
    fields = json_object(value)
    addr = _address(fields)
    # Comparing the texts first saves reading the address a second time in nearly every record.
    if segment != _segment(addr) and _address_in_key(segment) != addr:
        raise MalformedRecordError(f"its address {addr} is another than its key's")
    extra = Extra.from_json(fields.get(MEMBER))
    weight = member(fields, "weight", int, DEFAULT_WEIGHT)
    return Record(extra.info(service_name, addr, weight=weight, tags=_tags(fields)), extra.owner)


def owner_of(value: bytes) -> str:
    """Return the owner that a value carries; empty for Kitex's own and for malformed ones."""
    try:
        return Extra.from_json(json_object(value).get(MEMBER)).owner
    except MalformedRecordError:
        return ""


def _segment(addr: Address) -> str:
    return str(addr) if addr.network == "tcp" else _UNIX + quote(addr.host, safe="")


def _dialled(addr: Address) -> str:
    """Return the address as Go's net.Addr spells it: a unix socket is its path alone."""
    return str(addr) if addr.network == "tcp" else addr.host


def _address(fields: dict[str, Any]) -> Address:
    network = member(fields, "network", str, "tcp") or "tcp"
    text = member(fields, "address", str, "")
    if network not in _NETWORKS:
        raise MalformedRecordError(f"its network {network!r} is neither 'tcp' nor 'unix'")
    return _parsed(f"{_UNIX}{text}" if network == "unix" else text, network)


def _address_in_key(segment: str) -> Address:
    if segment.startswith(_UNIX):
        return _parsed(_UNIX + unquote(segment.removeprefix(_UNIX)), "unix")
    return _parsed(segment, "tcp")


def _parsed(text: str, network: str) -> Address:
    addr = record_address(text)
    if addr.network != network:
        raise MalformedRecordError(f"its address {text!r} is not of its network {network!r}")
    return addr


def _tags(fields: dict[str, Any]) -> dict[str, str]:
    # Go reads null for a text as the empty text.
    tags = member(fields, "tags", dict, {})
    return {key: "" if value is None else value for key, value in tags.items()}


def key_text(key: bytes) -> str:
    """Return a key, or a part of one, as text; what is not UTF-8 is shown escaped."""
    return key.decode("utf-8", "backslashreplace")
