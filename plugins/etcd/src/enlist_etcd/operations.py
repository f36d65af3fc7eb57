"""Requests that read and write records, and what their answers hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from enlist_etcd.messages import Message, MessageClass

__all__ = ["Found", "Operations", "folder_end", "found_in"]

_BY_REVISION: Final = 2
_BY_LEASE: Final = 4


class Found(NamedTuple):
    """What etcd holds under one key.

    Attributes:
        value: the value; empty where there is none.
        revision: of the key's last change; 0 where there is no such key.
    """

    value: bytes = b""
    revision: int = 0


class Operations:
    """Makes requests of one set of message classes."""

    def __init__(self, classes: Mapping[str, MessageClass]) -> None:
        """Take the classes."""
        self._op = classes["RequestOp"]
        self._range = classes["RangeRequest"]
        self._put = classes["PutRequest"]
        self._delete = classes["DeleteRangeRequest"]
        self._compare = classes["Compare"]
        self._txn = classes["TxnRequest"]

    def list_folder(self, folder: bytes) -> Message:
        """Return the request for all keys that begin with ``folder``."""
        return self._range(key=folder, range_end=folder_end(folder))

    def count(self, key: bytes) -> Message:
        """Return the request for the number of keys that are called so: 0 or 1."""
        return self._range(key=key, count_only=True)

    def plain_put(self, key: bytes, value: bytes, lease: int) -> Message:
        """Return the request that writes, whatever stands there."""
        return self._put(key=key, value=value, lease=lease)

    def put(self, key: bytes, value: bytes, lease: int) -> Message:
        """Return the operation of a transaction that writes."""
        return self._op(request_put=self._put(key=key, value=value, lease=lease))

    def get(self, key: bytes) -> Message:
        """Return the operation of a transaction that reads."""
        return self._op(request_range=self._range(key=key))

    def delete(self, key: bytes) -> Message:
        """Return the operation of a transaction that removes."""
        return self._op(request_delete_range=self._delete(key=key))

    def unchanged(self, key: bytes, revision: int) -> Message:
        """Return the condition that a key's last change is that one; 0: that there is none."""
        return self._compare(target=_BY_REVISION, key=key, mod_revision=revision)

    def leased(self, key: bytes, lease: int) -> Message:
        """Return the condition that a key hangs on that lease."""
        return self._compare(target=_BY_LEASE, key=key, lease=lease)

    def txn(
        self,
        conditions: Sequence[Message],
        then: Sequence[Message],
        otherwise: Sequence[Message] = (),
    ) -> Message:
        """Return the transaction that does one or the other."""
        return self._txn(compare=conditions, success=then, failure=otherwise)

    def within(self, txn: Message) -> Message:
        """Return a transaction as the operation of another one."""
        return self._op(request_txn=txn)


def folder_end(folder: bytes) -> bytes:
    """Return the first key after all that begin with ``folder``, which ends in a slash."""
    return folder[:-1] + b"0"  # the character after the slash


def found_in(response: Message) -> Found:
    """Return what the answer to ``get`` holds."""
    for pair in response.response_range.kvs:
        return Found(pair.value, pair.mod_revision)
    return Found()
