"""What a server says about itself: :class:`Address` and :class:`Info`.

Both are immutable values that check themselves when they are made, so an Info that exists is
well formed. Whether it is complete enough to be published is :func:`check_complete`'s question.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Final, TypeAlias

from enlist.address import Address
from enlist.errors import InvalidInfoError
from enlist.text import check_text

__all__ = ["DEFAULT_WEIGHT", "MAX_WEIGHT", "Identity", "Info", "check_complete"]

DEFAULT_WEIGHT: Final = 10
MAX_WEIGHT: Final = 65_535
MAX_SERVICE_NAME_BYTES: Final = 255
MAX_CODEC_BYTES: Final = 64
MAX_TAGS: Final = 64
MAX_TAG_KEY_BYTES: Final = 128
MAX_TAG_VALUE_BYTES: Final = 1_024
MAX_TAGS_BYTES: Final = 8 * 1_024
MAX_WARM_UP: Final = dt.timedelta(days=365)

Identity: TypeAlias = tuple[str, Address]
"""What makes a registration itself: its service name and its address."""

_MILLISECOND: Final = dt.timedelta(milliseconds=1)
_NO_TAGS: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True, init=False, eq=False, repr=False)
class Info:
    """One server as it is published and as it is found: the same type in both directions.

    Every field has a default, so that an Info may say only part: ``Info(weight=20)`` in the
    server options means just that. :func:`enlist.info.check_complete` tells what publishing needs.

    Attributes:
        service_name: what clients ask for. 1 to 255 bytes of UTF-8 without "/", control
            characters or surrounding white space, and not "." or "..". Empty: not said.
        addr: where the server is reached. Text such as "10.0.0.1:8888", "[::1]:8888" or
            "unix:/run/echo.sock" is parsed. None: not said.
        payload_codec: how payloads are encoded, as "thrift" or "protobuf"; kept in lower case.
        weight: the share of traffic relative to other instances, 0 to 65535; 0 means none.
        start_time: when the server started; aware, kept in UTC and whole milliseconds.
        warm_up: how long traffic ramps up after ``start_time``; whole milliseconds, 0 to 365 days.
        tags: up to 64 pairs of text; a key has 1 to 128 bytes, a value up to 1,024, all of
            them together up to 8 KiB. Read only. None: not said, and equal to no tags.
        skip_listen_addr: an instruction to the server, not part of what is published: keep
            ``addr`` as given rather than the address that the server listens on.

    Raises:
        InvalidInfoError: a field breaks its rule; the message names field, value and rule.
    """

    service_name: str
    addr: Address | None
    payload_codec: str
    weight: int
    start_time: dt.datetime | None
    warm_up: dt.timedelta
    tags: Mapping[str, str] | None
    skip_listen_addr: bool

    def __init__(  # noqa: PLR0913 - one keyword for each field
        self,
        *,
        service_name: str = "",
        addr: Address | str | None = None,
        payload_codec: str = "",
        weight: int = DEFAULT_WEIGHT,
        start_time: dt.datetime | None = None,
        warm_up: dt.timedelta = dt.timedelta(0),
        tags: Mapping[str, str] | None = None,
        skip_listen_addr: bool = False,
    ) -> None:
        """Check and normalise every field that was given."""
        checked = {
            "service_name": _service_name(service_name),
            "addr": _addr(addr),
            "payload_codec": _payload_codec(payload_codec),
            "weight": _weight(weight),
            "start_time": _start_time(start_time),
            "warm_up": _warm_up(warm_up),
            "tags": _tags(tags),
            "skip_listen_addr": _flag("skip_listen_addr", skip_listen_addr),
        }
        for name, value in checked.items():
            # A frozen dataclass forbids plain assignment; a generated __init__ does the same.
            object.__setattr__(self, name, value)

    @property
    def identity(self) -> Identity:
        """The service name and address; two Infos with one identity are one registration.

        Raises:
            InvalidInfoError: the Info is not complete.
        """
        if not self.service_name or self.addr is None:
            check_complete(self)
        assert self.addr is not None  # noqa: S101 - or that would have raised; for mypy
        return self.service_name, self.addr

    def __repr__(self) -> str:
        """Show the fields that say something, in the form that makes the same Info."""
        unsaid = Info()
        said = [
            f"{field.name}={_plain(value)!r}"
            for field in fields(self)
            if (value := getattr(self, field.name)) != getattr(unsaid, field.name)
        ]
        return f"Info({', '.join(said)})"

    def _published(self) -> tuple[object, ...]:
        return (
            self.service_name,
            self.addr,
            self.payload_codec,
            self.weight,
            self.start_time,
            self.warm_up,
            dict(self.tags or _NO_TAGS),
        )

    def __eq__(self, other: object) -> bool:
        """Compare what is published: ``skip_listen_addr`` is not, and tags None are no tags."""
        if not isinstance(other, Info):
            return NotImplemented
        return self._published() == other._published()

    def __hash__(self) -> int:
        """Hash the identity: enough to tell instances apart, cheap, and equal for equal Infos."""
        return hash((self.service_name, self.addr))

    def __reduce__(self) -> tuple[Callable[[dict[str, object]], Info], tuple[dict[str, object]]]:
        """Pickle by the constructor's arguments, since a read-only mapping cannot be pickled."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.tags is not None:
            values["tags"] = dict(self.tags)
        return _rebuilt, (values,)


def _plain(value: object) -> object:
    if isinstance(value, Address):
        return str(value)
    return dict(value) if isinstance(value, Mapping) else value


def _rebuilt(values: dict[str, object]) -> Info:
    return Info(**values)  # type: ignore[arg-type]  # what __reduce__ put there


def check_complete(info: Info) -> None:
    """Refuse an Info that cannot be published: no name, no address, or one that nobody can reach.

    Raises:
        InvalidInfoError: names the field, and says where its value usually comes from.
    """
    if not isinstance(info, Info):
        raise InvalidInfoError("info", info, "must be an enlist.Info")
    if not info.service_name:
        rule = "is missing; give it in the Info or in basic_info of the server options"
        raise InvalidInfoError("service_name", info.service_name, rule)
    if info.addr is None:
        rule = "is missing; give the address that clients are to call, such as '10.0.0.1:8888'"
        raise InvalidInfoError("addr", info.addr, rule)
    info.addr.check_reachable()


def _service_name(value: str) -> str:
    check_text("service_name", value, most_bytes=MAX_SERVICE_NAME_BYTES)
    if value != value.strip():
        raise InvalidInfoError("service_name", value, "must not begin or end with white space")
    if "/" in value:
        raise InvalidInfoError(
            "service_name", value, "must not contain '/', which separates names from addresses"
        )
    if value in {".", ".."}:
        raise InvalidInfoError(
            "service_name", value, "must not be '.' or '..', which paths give another meaning"
        )
    return value


def _addr(value: Address | str | None) -> Address | None:
    if isinstance(value, str):
        return Address.parse(value)
    if value is None or isinstance(value, Address):
        return value
    raise InvalidInfoError(
        "addr",
        value,
        "must be an Address, or text such as '10.0.0.1:8888' or 'unix:/run/echo.sock'",
    )


def _payload_codec(value: str) -> str:
    check_text("payload_codec", value, most_bytes=MAX_CODEC_BYTES)
    return value.lower()


def _weight(value: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_WEIGHT:
        raise InvalidInfoError(
            "weight", value, f"must be a whole number from 0 (no traffic) to {MAX_WEIGHT}"
        )
    return int(value)  # of an enumeration's member its number alone


def _start_time(value: dt.datetime | None) -> dt.datetime | None:
    if value is None:
        return None
    if not isinstance(value, dt.datetime) or value.utcoffset() is None:
        raise InvalidInfoError(
            "start_time",
            value,
            "must be a datetime with a time zone, such as datetime.now(timezone.utc)",
        )
    try:
        in_utc = value.astimezone(dt.UTC)
    except OverflowError as exc:
        raise InvalidInfoError(
            "start_time", value, "must lie between the years 1 and 9999 in UTC"
        ) from exc
    return in_utc.replace(microsecond=in_utc.microsecond // 1_000 * 1_000)


def _warm_up(value: dt.timedelta) -> dt.timedelta:
    if not isinstance(value, dt.timedelta):
        raise InvalidInfoError(
            "warm_up", value, "must be a timedelta, such as timedelta(seconds=30)"
        )
    if not dt.timedelta(0) <= value <= MAX_WARM_UP:
        raise InvalidInfoError(
            "warm_up", value, f"must not be negative or longer than {MAX_WARM_UP.days} days"
        )
    return value // _MILLISECOND * _MILLISECOND


def _tags(value: Mapping[str, str] | None) -> Mapping[str, str] | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise InvalidInfoError(
            "tags", value, "must be a mapping of text to text, such as {'zone': 'a'}"
        )
    if len(value) > MAX_TAGS:
        raise InvalidInfoError(
            "tags", value, f"must have at most {MAX_TAGS} entries, not {len(value)}"
        )
    copied = dict(value)
    size = sum(_tag_bytes(key, text) for key, text in copied.items())
    if size > MAX_TAGS_BYTES:
        raise InvalidInfoError(
            "tags", value, f"must have at most {MAX_TAGS_BYTES} bytes in all, not {size}"
        )
    return MappingProxyType(copied)


def _tag_bytes(key: str, value: str) -> int:
    if key == "":
        raise InvalidInfoError("tags", key, "must not have an empty key")
    key_bytes = check_text("tags", key, most_bytes=MAX_TAG_KEY_BYTES, controls=True)
    return key_bytes + check_text(
        f"tags[{key!r}]", value, most_bytes=MAX_TAG_VALUE_BYTES, controls=True
    )


def _flag(field: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidInfoError(field, value, "must be True or False")
    return value
