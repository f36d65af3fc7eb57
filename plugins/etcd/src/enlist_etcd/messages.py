"""The classes of the messages in etcd.proto, and the calls that they belong to.

Every set of classes has a descriptor pool of its own. In protobuf's common pool a second
library with etcd's messages in it would fail to import.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

__all__ = [
    "AUTHENTICATE",
    "KEEP_ALIVE",
    "LEASE_GRANT",
    "LEASE_KEYS",
    "LEASE_REVOKE",
    "PUT",
    "RANGE",
    "TXN",
    "WATCH",
    "Message",
    "MessageClass",
    "Method",
    "load_messages",
    "parse_proto",
]

Message: TypeAlias = Any
"""An object of one of the classes, which are made at run time: no type checker knows them."""

MessageClass: TypeAlias = Any
"""One of the classes."""

_PACKAGE: Final = "enlist_etcd"
_FILE: Final = Path(__file__).with_name("etcd.proto")
# The numbers of google.protobuf.FieldDescriptorProto.
_SCALARS: Final[Mapping[str, int]] = {"int64": 3, "int32": 5, "bool": 8, "string": 9, "bytes": 12}
_MESSAGE_TYPE: Final = 11
_OPTIONAL, _REPEATED = 1, 3


class Method(NamedTuple):
    """One call of etcd's API.

    Attributes:
        path: what gRPC calls it by.
        request: the name of the class of its request.
        response: the name of the class of its answer.
    """

    path: str
    request: str
    response: str


RANGE: Final = Method("/etcdserverpb.KV/Range", "RangeRequest", "RangeResponse")
PUT: Final = Method("/etcdserverpb.KV/Put", "PutRequest", "PutResponse")
TXN: Final = Method("/etcdserverpb.KV/Txn", "TxnRequest", "TxnResponse")
WATCH: Final = Method("/etcdserverpb.Watch/Watch", "WatchRequest", "WatchResponse")
LEASE_GRANT: Final = Method(
    "/etcdserverpb.Lease/LeaseGrant", "LeaseGrantRequest", "LeaseGrantResponse"
)
LEASE_REVOKE: Final = Method(
    "/etcdserverpb.Lease/LeaseRevoke", "LeaseRevokeRequest", "LeaseRevokeResponse"
)
# A stream in both directions at etcd; with one message each way it is on the wire what an
# ordinary call is, which needs no thread and can have a deadline.
KEEP_ALIVE: Final = Method(
    "/etcdserverpb.Lease/LeaseKeepAlive", "LeaseKeepAliveRequest", "LeaseKeepAliveResponse"
)
LEASE_KEYS: Final = Method(
    "/etcdserverpb.Lease/LeaseTimeToLive", "LeaseTimeToLiveRequest", "LeaseTimeToLiveResponse"
)
AUTHENTICATE: Final = Method(
    "/etcdserverpb.Auth/Authenticate", "AuthenticateRequest", "AuthenticateResponse"
)


def load_messages() -> Mapping[str, MessageClass]:
    """Return the classes of etcd.proto by their names, in a pool of their own."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(
        name=f"{_PACKAGE}/etcd.proto", package=_PACKAGE, syntax="proto3"
    )
    for name, fields in parse_proto(_FILE.read_text(encoding="utf-8")):
        message = file.message_type.add(name=name)
        for field in fields:
            message.field.add(**field)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {
        message.name: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"{_PACKAGE}.{message.name}")
        )
        for message in file.message_type
    }


def parse_proto(text: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Return each message of a .proto with its fields, as FieldDescriptorProto takes them.

    Only what etcd.proto uses is understood: messages that are not nested, with plain and
    repeated fields, each on a line of its own.
    """
    name, fields = "", list[dict[str, Any]]()
    for line in text.splitlines():
        match line.partition("//")[0].replace(";", " ;").split():
            case ["message", name, "{"]:
                fields = []
            case [*repeated, kind, field, "=", number, ";"]:
                fields.append(_field(kind, field, number, repeated=bool(repeated)))
            case ["}"]:
                yield name, fields


def _field(kind: str, name: str, number: str, *, repeated: bool) -> dict[str, Any]:
    field: dict[str, Any] = {
        "name": name,
        "number": int(number),
        "label": _REPEATED if repeated else _OPTIONAL,
        "type": _SCALARS.get(kind, _MESSAGE_TYPE),
    }
    if kind not in _SCALARS:
        field["type_name"] = f".{_PACKAGE}.{kind}"
    return field
