"""An Info as a row of the database, and back. Pure functions, no I/O.

A row is (service name, address, owner, value). The first two are the key, in the spelling of
``str(address)``; the value is the JSON of Kitex's etcd record and the member of
:mod:`enlist.records`::

    {"network":"tcp","address":"10.0.0.1:8888","weight":10,"tags":{"zone":"a"},"enlist":{"v":1,...}}
"""

from __future__ import annotations

from typing import Final, NamedTuple, TypeAlias

from enlist.address import Address
from enlist.errors import InvalidInfoError
from enlist.info import DEFAULT_WEIGHT, Info
from enlist.records import (
    MEMBER,
    Extra,
    MalformedRecordError,
    Record,
    compact_json,
    json_object,
    member,
)

__all__ = ["Key", "Row", "decoded", "encoded", "key_of", "readable"]

_UNIX_PREFIX: Final = "unix:"


Key: TypeAlias = tuple[str, str]
"""Service name and address: what there is one record for."""


class Row(NamedTuple):
    """One row as SQLite gives it: text as bytes, and anything at all if written by hand."""

    service_name: object
    address: object
    owner: object
    value: object

    @property
    def name(self) -> str:
        """What to call this record in a message."""
        return "/".join(
            part.decode(errors="backslashreplace") if isinstance(part, bytes) else repr(part)
            for part in self[:2]
        )


def key_of(info: Info) -> Key:
    """Return the key of a complete Info."""
    # Not info.identity, which checks anew what was checked: this runs for all at every beat.
    return info.service_name, str(info.addr)


def encoded(info: Info, owner: str) -> tuple[str, str, str, str]:
    """Return the row of a complete Info."""
    service_name, address = key_of(info)
    value = {
        "network": "unix" if address.startswith(_UNIX_PREFIX) else "tcp",
        "address": address.removeprefix(_UNIX_PREFIX),
        "weight": info.weight,
        "tags": dict(info.tags) if info.tags else None,
        MEMBER: Extra.of(info, owner).to_json(),
    }
    return service_name, address, owner, compact_json(value)


def decoded(row: Row) -> Record:
    """Return what a row says.

    Raises:
        MalformedRecordError: it says nothing that can be understood.
    """
    value = json_object(_text("value", row.value))
    address = _address(value)
    if str(address) != _text("address", row.address):
        raise MalformedRecordError(f"the value holds another address: {address}")
    info = Extra.from_json(value.get(MEMBER)).info(
        _text("service name", row.service_name),
        address,
        weight=member(value, "weight", int, DEFAULT_WEIGHT),
        tags=member(value, "tags", dict, None),
    )
    return Record(info, _text("owner", row.owner))


def readable(row: Row) -> Record | None:
    """Return what a row says, or None if it says nothing that can be understood."""
    try:
        return decoded(row)
    except MalformedRecordError:
        return None


def _address(value: dict[str, object]) -> Address:
    network = member(value, "network", str, "tcp")
    text = member(value, "address", str, "")
    try:
        return Address.parse(_UNIX_PREFIX + text if network == "unix" else text)
    except InvalidInfoError as exc:
        raise MalformedRecordError(str(exc)) from exc


def _text(what: str, value: object) -> str:
    if not isinstance(value, bytes):
        raise MalformedRecordError(f"its {what} is not text")
    try:
        return value.decode()
    except UnicodeDecodeError as exc:
        raise MalformedRecordError(f"its {what} is not UTF-8") from exc
