"""The hooks of the etcd backend. gRPC is loaded with the first call, not with this module."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from enlist.errors import RegistryError, UnauthorisedError, UnavailableError
from enlist.hookspecs import Beat, Lost, Stop, Why, hookimpl
from enlist.info import Info
from enlist.records import MalformedRecordError
from enlist_etcd.client import Client
from enlist_etcd.deadline import Deadline
from enlist_etcd.lease import Lease
from enlist_etcd.listing import Listing
from enlist_etcd.messages import RANGE
from enlist_etcd.operations import Operations
from enlist_etcd.options import EtcdOptions
from enlist_etcd.records import Keys, decode, encode
from enlist_etcd.store import Item, Store
from enlist_etcd.watches import Watches

if TYPE_CHECKING:
    from enlist_etcd.connection import OnStop
    from enlist_etcd.messages import Message

__all__ = ["EtcdRegistry"]

LIST_TIMEOUT_S: Final = 10.0
"""How long the first list of a watch may take: the core gives a watch no time limit of its own."""

_logger = logging.getLogger(__name__)


class _Opened:
    """What works for a plugin object once it is in use."""

    def __init__(self, options: EtcdOptions, owner: str, ttl_s: int) -> None:
        """Load gRPC's messages; nothing is connected yet."""
        self.client = Client(options)
        self.operations = Operations(self.client.classes)
        self.lease = Lease(self.client, ttl_s)
        self.store = Store(self.client, self.lease, owner, options.max_txn_ops)
        self.watches = Watches(self.client)


class EtcdRegistry:
    """The etcd backend: one lease, one connection, and one stream for all watches.

    The core makes it and calls its hooks, which :class:`enlist.hookspecs.RegistrySpec`
    describes. Nothing is connected before the first call.
    """

    spec_version = 1
    Options = EtcdOptions

    def __init__(self, options: EtcdOptions, owner: str) -> None:
        """Take the options, and what our records carry; no I/O.

        Args:
            options: what was chosen.
            owner: 32 hexadecimal digits.
        """
        self._options = options
        self._owner = owner
        self._keys = Keys(options.prefix)
        self._ttl_s = math.ceil(options.ttl.total_seconds())
        self._lock = threading.Lock()
        self._parts: _Opened | None = None
        self._closed = False

    # --- writing -----------------------------------------------------------------------------

    @hookimpl
    def register(self, info: Info, timeout_s: float) -> None:
        """Write the record under our lease, whatever stands there: one call."""
        self._open().store.put(self._item(info), Deadline(timeout_s))

    @hookimpl
    def deregister(self, info: Info, timeout_s: float) -> None:
        """Remove the record if it hangs on our lease, or carries our owner: one call as a rule."""
        item = Item(info, self._keys.of(info))
        self._open().store.remove(item, Deadline(timeout_s))

    @hookimpl
    def keep_alive(self, infos: Sequence[Info], timeout_s: float) -> Beat:
        """Renew the lease and have its keys listed: two calls, however many records there are."""
        deadline = Deadline(timeout_s)
        parts = self._open()
        lease = parts.lease.id_if_granted()
        if lease is None:
            parts.lease.granted(deadline)
            return self._all_gone(infos)
        valid_for_s = parts.lease.renew(lease, deadline)
        if valid_for_s is None:
            return self._all_gone(infos)
        try:
            held = parts.lease.keys(lease, deadline)
        except UnauthorisedError as exc:
            # The login failed; the lease was renewed without one.
            return Beat([Lost(info, Why.FAILED, exc) for info in infos], valid_for_s)
        if held is None:
            return Beat((), valid_for_s)
        items = [Item(info, self._keys.of(info)) for info in infos]
        missing = [item for item in items if item.key not in held]
        return Beat([*parts.store.look(missing, deadline)], valid_for_s)

    @hookimpl
    def restore(self, infos: Sequence[Info], timeout_s: float) -> Sequence[Lost]:
        """Write those that are absent or ours, in transactions."""
        return self._open().store.restore(map(self._item, infos), Deadline(timeout_s))

    @hookimpl
    def withdraw(self, infos: Sequence[Info], timeout_s: float) -> Sequence[Info]:
        """Remove those that are ours; when that is all there is, by revoking the lease."""
        items = [Item(info, self._keys.of(info)) for info in infos]
        return self._open().store.withdraw(items, Deadline(timeout_s))

    # --- reading -----------------------------------------------------------------------------

    @hookimpl
    def resolve(self, service_name: str, timeout_s: float) -> Sequence[Info]:
        """Return the instances, by a read that a majority of the members stands for."""
        answer = self._list(self._keys.folder(service_name), Deadline(timeout_s))
        return Listing(self._keys, service_name).fill(answer.kvs)

    @hookimpl
    def watch(self, service_name: str, stop: Stop) -> Iterator[Sequence[Info]]:
        """Yield the list of one revision, then what the watch from the next one makes of it."""
        folder = self._keys.folder(service_name)
        deadline = Deadline(LIST_TIMEOUT_S)
        parts = self._open()
        try:
            answer = self._list(folder, deadline, stop.on_stop)
            token = parts.client.token(deadline, stop.on_stop)
        except RegistryError:
            if stop.is_set():
                return
            raise
        listing = Listing(self._keys, service_name)
        with parts.watches.following(folder, answer.header.revision, token) as watch:
            stop.on_stop(watch.stop)
            infos = listing.fill(answer.kvs)
            del answer  # a list of thousands is not to be kept twice
            yield infos
            for changes in watch:
                changed = listing.change(changes)
                if changed is not None:
                    yield changed

    @hookimpl
    def services(self, timeout_s: float) -> Sequence[str]:
        """Return the names below the prefix that have a readable record."""
        names: dict[str, None] = {}
        for pair in self._list(self._keys.root, Deadline(timeout_s)).kvs:
            parts = self._keys.split(pair.key)
            if parts is not None and parts[0] not in names and _is_readable(*parts, pair.value):
                names[parts[0]] = None
        return [*names]

    @hookimpl
    def probe(self, timeout_s: float) -> None:
        """Count one key, by a read that a majority of the members stands for."""
        parts = self._open()
        parts.client.call(RANGE, parts.operations.count(self._keys.root), Deadline(timeout_s))

    # --- the end -----------------------------------------------------------------------------

    @hookimpl
    def close(self, timeout_s: float) -> None:
        """Revoke the lease, which removes what is left of ours, and disconnect."""
        with self._lock:
            parts, self._parts = self._parts, None
            self._closed = True
        if parts is None:
            return
        parts.watches.close()
        try:
            parts.lease.revoke(Deadline(timeout_s))
        except RegistryError as exc:
            _logger.warning(
                "etcd: the lease could not be revoked; what hangs on it stays for up to %d s: %s",
                self._ttl_s,
                exc,
            )
        finally:
            parts.client.close()

    def _open(self) -> _Opened:
        """Return the working parts; they are made once, and connect by themselves."""
        with self._lock:
            if self._closed:
                raise UnavailableError("etcd: the registry was closed.")
            if self._parts is None:
                self._parts = _Opened(self._options, self._owner, self._ttl_s)
            return self._parts

    def _item(self, info: Info) -> Item:
        return Item(info, self._keys.of(info), encode(info, self._owner))

    def _all_gone(self, infos: Sequence[Info]) -> Beat:
        return Beat([Lost(info, Why.GONE) for info in infos], float(self._ttl_s))

    def _list(self, folder: bytes, deadline: Deadline, on_stop: OnStop | None = None) -> Message:
        parts = self._open()
        return parts.client.call(RANGE, parts.operations.list_folder(folder), deadline, on_stop)


def _is_readable(service_name: str, segment: str, value: bytes) -> bool:
    try:
        decode(service_name, segment, value)
    except MalformedRecordError:
        return False
    return True
