"""An Info as a service of Consul, and back: Kitex's own records and what they lack.

::

    {"ID": "echo:10.0.0.1:8888", "Name": "echo", "Address": "10.0.0.1", "Port": 8888,
     "Tags": ["zone:a", "enlist.eyJ2Ijox..."], "Meta": {"enlist_owner": "..."},
     "Weights": {"Passing": 10, "Warning": 10}, "Checks": [...]}

One tag without a colon, which Kitex's reader passes over, holds the member "enlist" (see
:mod:`enlist.records`) as base64, together with the tags whose key contains a colon. Weight 0 is
weights of 1 and 0 with a check in the state "warning": whoever asks for passing instances does
not see it, and whoever takes warning ones gives it the weight 0. Pure functions, without I/O.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from enlist.address import Address
from enlist.errors import InvalidInfoError
from enlist.info import Info
from enlist.records import Extra, MalformedRecordError, Record, compact_json, json_object, member
from enlist_consul.options import ConsulOptions

__all__ = [
    "OWNER",
    "Entry",
    "changed_at",
    "check_id",
    "decode",
    "encode",
    "entry_of",
    "is_dead",
    "is_live",
    "is_of",
    "is_shown",
    "owner_of",
    "service_id",
    "unjudged",
]

OWNER: Final = "enlist_owner"
"""The key in a service's Meta that names its owner."""

_BLOB: Final = "enlist."
_TAGS: Final = "tags"
_KIND: Final = "enlist"
_LIVENESS: Final = f"{_KIND}:"
_IDLE: Final = "#idle"
_CRITICAL: Final = "critical"
_WARNING: Final = "warning"
_PASSING: Final = "passing"
_CASE_DIGITS: Final = 16
_SECOND: Final = dt.timedelta(seconds=1)
_MILLISECOND: Final = dt.timedelta(milliseconds=1)


class Entry(NamedTuple):
    """One service as the catalogue shows it: what a record is decoded from.

    Attributes:
        name: of the service, in its own spelling.
        address: where it is reached; the node's address if it has none of its own.
        port: 0 where it has none.
        tags: all of them.
        weight: the one that holds in the present state of its checks.
        owner: empty for somebody else's.
    """

    name: str
    address: str
    port: int
    tags: tuple[str, ...]
    weight: int
    owner: str


def service_id(info: Info) -> str:
    """Return the ID of a complete Info: Kitex's own, as far as it tells services apart.

    Consul's catalogue takes two IDs that differ in case alone for one. So a name with upper
    case has a digest of its spelling behind it. Brackets tell where an IPv6 address begins.
    """
    name = info.service_name
    plain = f"{name}:{info.addr}"
    if name == name.lower():
        return plain
    return f"{plain}#{hashlib.sha256(name.encode()).hexdigest()[:_CASE_DIGITS]}"


def check_id(info: Info, owner: str) -> str:
    """Return the ID of the check that this owner beats.

    An agent that is told of a check which it has keeps its state, so that an instance that is
    to get no traffic from now on needs another check.
    """
    return f"{_LIVENESS}{owner}:{service_id(info)}{'' if info.weight else _IDLE}"


def is_of(owner: str, check: str) -> bool:
    """Return whether this owner has given a record the check of that ID."""
    kind, _, rest = check.partition(":")
    return kind.startswith(_KIND) and rest.startswith(f"{owner}:")


def encode(info: Info, owner: str, options: ConsulOptions) -> dict[str, object]:
    """Return the body that registers a complete Info with an agent."""
    assert info.addr is not None  # noqa: S101 - the core hands over complete Infos only; for the type checker
    weights = (info.weight, info.weight) if info.weight else (1, 0)
    return {
        "ID": service_id(info),
        "Name": info.service_name,
        "Address": info.addr.host,
        "Port": info.addr.port,
        "Tags": _tags_of(info, owner),
        "Meta": {OWNER: owner},
        "Weights": {"Passing": weights[0], "Warning": weights[1]},
        "Checks": [_liveness(info, owner, options), *_call(info, owner, options)],
    }


def _tags_of(info: Info, owner: str) -> list[str]:
    tags = info.tags or {}
    extra = Extra.of(info, owner).to_json()
    if unwritable := {key: value for key, value in tags.items() if ":" in key}:
        extra[_TAGS] = unwritable
    blob = base64.urlsafe_b64encode(compact_json(extra).encode()).decode().rstrip("=")
    plain = [f"{key}:{value}" for key, value in tags.items() if ":" not in key]
    return [*plain, _BLOB + blob]


def _liveness(info: Info, owner: str, options: ConsulOptions) -> dict[str, object]:
    return {
        "CheckID": check_id(info, owner),
        "Name": "enlist",
        "TTL": _go_duration(options.ttl),
        "Status": _PASSING if info.weight else _WARNING,
        "DeregisterCriticalServiceAfter": _go_duration(options.deregister_after),
    }


def _call(info: Info, owner: str, options: ConsulOptions) -> Iterable[dict[str, object]]:
    """Give the check for which the agent calls the instance, if one was chosen."""
    targets: dict[str, dict[str, object]] = {
        "tcp": {"TCP": str(info.addr)},
        "http": {"HTTP": f"http://{info.addr}{options.check_path}"},
        "https": {"HTTP": f"https://{info.addr}{options.check_path}"},
        "grpc": {"GRPC": "/".join(filter(None, (str(info.addr), options.check_service)))},
    }
    if options.check in targets:
        yield {
            "CheckID": f"enlist-{options.check}:{owner}:{service_id(info)}",
            "Name": f"enlist {options.check}",
            **targets[options.check],
            "Interval": _go_duration(options.check_interval),
            "Timeout": _go_duration(options.check_timeout),
            "Status": _PASSING,  # it accepts already: enlist registers once it does
        }


def _go_duration(span: dt.timedelta) -> str:
    seconds, rest = divmod(span, _SECOND)
    return f"{span // _MILLISECOND}ms" if rest else f"{seconds}s"


def is_live(checks: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether the process behind a service lives, going by its checks.

    Of our own records the sign of life alone decides: one whose port cannot be called is not
    shown, and its owner still holds it.
    """
    return is_shown(_signs_of_life(checks))


def _signs_of_life(checks: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    return [one for one in checks if str(one.get("CheckID")).startswith(_LIVENESS)] or checks


def is_dead(service: Mapping[str, Any], checks: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether the process behind a service is known not to live any more.

    What an earlier owner has left there tells nothing of it, and neither does a check that has
    not been carried out yet, which Consul takes for critical.
    """
    owner = owner_of(service)
    own = [check for check in checks if _speaks_for(owner, str(check.get("CheckID")))]
    return not is_shown([check for check in _signs_of_life(own) if check.get("Output")])


def _speaks_for(owner: str, check: str) -> bool:
    return is_of(owner, check) if owner else not check.startswith(_KIND)


def is_shown(checks: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether none of the checks is critical."""
    return all(check.get("Status") != _CRITICAL for check in checks)


def unjudged(checks: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]] | None:
    """Return the checks as they were, of a record that an agent has not judged since its start.

    An agent that starts takes each check for critical, until a beat or the end of a ttl tells
    more; only the latter leaves an output. Nothing is known yet of that process.

    Returns:
        None if the record is not of that kind.
    """
    if not any(map(_is_unjudged, checks)):
        return None
    before = [
        {**check, "Status": _WARNING if str(check["CheckID"]).endswith(_IDLE) else _PASSING}
        if _is_unjudged(check)
        else check
        for check in checks
    ]
    return before if is_shown(before) else None


def _is_unjudged(check: Mapping[str, Any]) -> bool:
    is_ours = str(check.get("CheckID")).startswith(_LIVENESS)
    return is_ours and check.get("Status") == _CRITICAL and not check.get("Output")


def changed_at(one: Mapping[str, Any]) -> int:
    """Return the index at which an instance, as the API lists it, was written last."""
    index: int = one["Service"].get("ModifyIndex", 0)
    return index


def owner_of(service: Mapping[str, Any]) -> str:
    """Return the owner that a service's Meta names; empty for somebody else's."""
    owner = (service.get("Meta") or {}).get(OWNER, "")
    return owner if isinstance(owner, str) else ""


def entry_of(
    service: Mapping[str, Any],
    checks: Sequence[Mapping[str, Any]] = (),
    node_address: str = "",
) -> Entry:
    """Return what there is to know of a service of Consul's API.

    Args:
        service: as the API gives it.
        checks: its checks and its node's.
        node_address: where its node is.
    """
    weights = service.get("Weights") or {}
    warned = any(check.get("Status") == _WARNING for check in checks)
    return Entry(
        service["Service"],
        service.get("Address") or node_address,
        service.get("Port") or 0,
        tuple(service.get("Tags") or ()),
        weights.get("Warning" if warned else "Passing", 1),
        owner_of(service),
    )


def decode(entry: Entry) -> Record:
    """Return what a record says, whoever wrote it.

    Raises:
        MalformedRecordError: it cannot be read.
    """
    try:
        addr = Address.tcp(entry.address, entry.port)
    except InvalidInfoError as exc:
        raise MalformedRecordError(str(exc)) from exc
    pairs = (tag.partition(":") for tag in entry.tags if ":" in tag)
    tags = {key: value for key, _, value in pairs if key}
    blob = next((tag for tag in entry.tags if tag.startswith(_BLOB) and ":" not in tag), None)
    kept = {} if blob is None else _object_in(blob)
    extra = Extra.from_json(kept or None)
    tags |= member(kept, _TAGS, dict, {})
    return Record(extra.info(entry.name, addr, weight=entry.weight, tags=tags), entry.owner)


def _object_in(blob: str) -> dict[str, Any]:
    text = blob.removeprefix(_BLOB)
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError) as exc:
        raise MalformedRecordError(f"its tag {_BLOB}... is not base64: {exc}") from exc
    return json_object(raw)
