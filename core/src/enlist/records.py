"""What every backend's record has in common, so that no plugin writes it again.

A record is Kitex's own, plus one added member that holds what Kitex does not store::

    {"v": 1, "owner": "<32 hex digits>", "codec": "thrift",
     "start_ms": 1700000000000, "warm_up_ms": 30000}

Empty values are left out, except ``v`` and ``owner``. Readers ignore fields that they do not
know; a record without the member is somebody else's, with an unknown owner. Pure functions,
and :class:`Decoded`, which keeps what was decoded between two lists.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, Final, Generic, NamedTuple, TypeVar

from enlist.address import Address
from enlist.errors import InvalidInfoError
from enlist.info import DEFAULT_WEIGHT, Info

__all__ = [
    "MEMBER",
    "Decoded",
    "Extra",
    "MalformedRecordError",
    "Record",
    "compact_json",
    "from_text",
    "json_object",
    "member",
    "record_address",
    "to_text",
]

MEMBER: Final = "enlist"
"""The name of the added member in a JSON record."""

_VERSION: Final = 1
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MILLISECOND: Final = dt.timedelta(milliseconds=1)
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
# Go writes these so, wherever they stand in a text; nowhere else in JSON do they occur.
_ESCAPED_BY_GO: Final = [(each, f"\\u{ord(each):04x}") for each in "<>&\u2028\u2029"]
_logger = logging.getLogger(__name__)


class MalformedRecordError(ValueError):
    """A record cannot be read; the message says why, and is logged once with the record's key."""


class Record(NamedTuple):
    """One decoded record.

    Attributes:
        info: what it says.
        owner: the owner that it carries; empty when it carries none (Kitex's own records).
    """

    info: Info
    owner: str


class Extra(NamedTuple):
    """What Kitex's records do not store, and the owner."""

    owner: str = ""
    payload_codec: str = ""
    start_time: dt.datetime | None = None
    warm_up: dt.timedelta = dt.timedelta(0)

    @classmethod
    def of(cls, info: Info, owner: str) -> Extra:
        """Return what is to be stored beside Kitex's fields for an Info of this owner."""
        return cls(owner, info.payload_codec, info.start_time, info.warm_up)

    def to_json(self) -> dict[str, object]:
        """Return the added member as a JSON object, its fields in a fixed order."""
        written: dict[str, object] = {"v": _VERSION, "owner": self.owner}
        if self.payload_codec:
            written["codec"] = self.payload_codec
        if self.start_time is not None:
            written["start_ms"] = (self.start_time - _EPOCH) // _MILLISECOND
        if self.warm_up:
            written["warm_up_ms"] = self.warm_up // _MILLISECOND
        return written

    @classmethod
    def from_json(cls, value: object) -> Extra:
        """Return what the added member says; None, a record without it, says nothing.

        Raises:
            MalformedRecordError: a known field has the wrong type or an impossible value.
        """
        if value is None:
            return cls()
        if not isinstance(value, dict):
            raise MalformedRecordError(f"{MEMBER!r} is not an object")
        start_ms = _field(value, "start_ms", int, None)
        try:
            start_time = None if start_ms is None else _EPOCH + start_ms * _MILLISECOND
            warm_up = _field(value, "warm_up_ms", int, 0) * _MILLISECOND
        except OverflowError as exc:
            raise MalformedRecordError("a time is out of range") from exc
        return cls(
            _field(value, "owner", str, ""), _field(value, "codec", str, ""), start_time, warm_up
        )

    def info(
        self,
        service_name: str,
        addr: Address,
        *,
        weight: int = DEFAULT_WEIGHT,
        tags: Mapping[str, str] | None = None,
    ) -> Info:
        """Return the whole Info, given what the rest of the record says.

        Raises:
            MalformedRecordError: a value breaks the rules of :class:`~enlist.Info`.
        """
        try:
            return Info(
                service_name=service_name,
                addr=addr,
                payload_codec=self.payload_codec,
                weight=weight,
                start_time=self.start_time,
                warm_up=self.warm_up,
                tags=tags or {},
            )
        except InvalidInfoError as exc:
            raise MalformedRecordError(str(exc)) from exc


def to_text(info: Info, owner: str) -> str:
    """Return a complete Info of this owner as JSON, for a backend without a format of its own.

    The text begins with ``{"owner":"OWNER",``, so that a server that can compare no more than the
    beginning of a text can tell whose record it is.
    """
    return compact_json(
        {
            "owner": owner,
            "service_name": info.service_name,
            "addr": str(info.addr),
            "weight": info.weight,
            "tags": dict(info.tags or {}),
            MEMBER: Extra.of(info, owner).to_json(),
        }
    )


def from_text(key: str, text: bytes | str) -> Record:  # noqa: ARG001 - what Decoded calls has a key
    """Return what :func:`to_text` wrote down; the key plays no part in it.

    Raises:
        MalformedRecordError: it says nothing that can be understood.
    """
    value = json_object(text)
    extra = Extra.from_json(value.get(MEMBER))
    try:
        addr = Address.parse(member(value, "addr", str, ""))
    except InvalidInfoError as exc:
        raise MalformedRecordError(str(exc)) from exc
    info = extra.info(
        member(value, "service_name", str, ""),
        addr,
        weight=member(value, "weight", int, DEFAULT_WEIGHT),
        tags=member(value, "tags", dict, None),
    )
    if not info.service_name:
        raise MalformedRecordError("'service_name' is missing")
    return Record(info, extra.owner)


def record_address(text: str) -> Address:
    """Return the address that a record names; an IPv6 host may stand without its brackets.

    Kitex writes it so. In a record nothing is in doubt: whatever follows the last colon is the
    port, since none is without one.

    Raises:
        MalformedRecordError: it is no address.
    """
    host, _, port = text.rpartition(":")
    bare = ":" in host and not host.startswith(("[", "unix:"))
    try:
        return Address.parse(f"[{host}]:{port}" if bare else text)
    except InvalidInfoError as exc:
        raise MalformedRecordError(str(exc)) from exc


def compact_json(value: object) -> str:
    """Return compact JSON as Go writes it: Unicode as it is, but for five characters."""
    text = _ENCODER.encode(value)
    for character, escape in _ESCAPED_BY_GO:
        text = text.replace(character, escape)
    return text


def json_object(raw: bytes | str) -> dict[str, Any]:
    """Return the JSON object that a record holds.

    Raises:
        MalformedRecordError: it is not UTF-8, not JSON, or not an object.
    """
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as exc:
        raise MalformedRecordError(f"not JSON: {exc}") from exc
    if not isinstance(value, dict):
        raise MalformedRecordError("not a JSON object")
    return value


_T = TypeVar("_T")
_D = TypeVar("_D")


def member(record: Mapping[str, Any], name: str, kind: type[_T], default: _D) -> _T | _D:
    """Return a field as Go's decoder finds it: names without regard to case, the last one wins.

    Go compares letter by letter, so that no name of another length is the same.

    Args:
        record: a JSON object.
        name: the field's name.
        kind: int, str or dict; an int is a whole number written without a fraction.
        default: returned when the field is missing or null.

    Raises:
        MalformedRecordError: the value is of another kind.
    """
    folded = name.casefold()
    found: Any = None
    for key, value in record.items():
        if len(key) == len(name) and value is not None and key.casefold() == folded:
            found = value
    return _typed(name, found, kind, default)


def _field(record: Mapping[str, Any], name: str, kind: type[_T], default: _D) -> _T | _D:
    return _typed(name, record.get(name), kind, default)


def _typed(name: str, value: object, kind: type[_T], default: _D) -> _T | _D:
    if value is None:
        return default
    if not isinstance(value, kind) or isinstance(value, bool):
        raise MalformedRecordError(f"{name!r} is not {_KINDS[kind]}")
    return value


_KINDS: Final[Mapping[type, str]] = {int: "a whole number", str: "text", dict: "an object"}

_Raw = TypeVar("_Raw", bound=Hashable)


class Decoded(Generic[_Raw]):
    """Keeps decoded records between lists, and warns once about each malformed one.

    Decoding dominates the cost of a list of thousands, of which one record changed. One object
    serves one watch or one plugin; it is not safe for two threads at once.
    """

    def __init__(self, decode: Callable[[str, _Raw], Record]) -> None:
        """Take the pure function that decodes a record from its key and its raw value.

        Args:
            decode: returns the Record; raises MalformedRecordError.
        """
        self._decode = decode
        self._known: dict[str, tuple[_Raw, Record | None]] = {}

    def update(self, records: Iterable[tuple[str, _Raw]]) -> list[Record]:
        """Return the readable records of a full list, decoding only what changed.

        Args:
            records: key and raw value of every record that is there now.
        """
        known = {key: (raw, self._read(key, raw)) for key, raw in records}
        self._known = known
        return [record for _, record in known.values() if record is not None]

    def _read(self, key: str, raw: _Raw) -> Record | None:
        before = self._known.get(key)
        if before is not None and before[0] == raw:
            return before[1]
        try:
            return self._decode(key, raw)
        except MalformedRecordError as exc:
            _logger.warning("skipped the malformed record %s: %s", key, exc)
            return None
