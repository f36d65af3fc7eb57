"""The ZooKeeper backend: each hook as few requests to the ensemble."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from enlist.hookspecs import Beat, Lost, Stop, hookimpl
from enlist.info import Info
from enlist.records import Decoded, Record
from enlist_zookeeper.bulk import Item
from enlist_zookeeper.client import Client
from enlist_zookeeper.deadline import Deadline
from enlist_zookeeper.listing import services_below
from enlist_zookeeper.options import ZooKeeperOptions
from enlist_zookeeper.records import Paths, check, decode, encode, fault_in_name
from enlist_zookeeper.session import Session
from enlist_zookeeper.store import Store
from enlist_zookeeper.unreadable import Unreadable
from enlist_zookeeper.watches import Watches

__all__ = ["ZooKeeperRegistry"]

_LONG_S: Final = 3_600.0


class ZooKeeperRegistry:
    """Keeps each Info as an ephemeral node, all of them on one session of this process."""

    spec_version = 1
    Options = ZooKeeperOptions

    def __init__(self, options: ZooKeeperOptions, owner: str) -> None:
        """Take the options and the owner; nothing is connected yet.

        Args:
            options: of this registry.
            owner: what its records carry.
        """
        self._options = options
        self._owner = owner
        self._paths = Paths(options.root)
        self._watches = Watches(options.root)
        self._session = Session(options, self._watches.lose)
        self._client = Client(self._session, options.base, options.root)
        self._store = Store(self._client, owner)

    @hookimpl
    def register(self, info: Info, timeout_s: float) -> None:
        """Create the node; where one stands, replace it in one transaction."""
        self._store.put(self._item(info), Deadline(timeout_s))

    @hookimpl
    def deregister(self, info: Info, timeout_s: float) -> None:
        """Look at the node and remove it if it is ours, and still the one that was looked at."""
        self._store.remove(self._place(info), Deadline(timeout_s))

    @hookimpl
    def keep_alive(self, infos: Sequence[Info], timeout_s: float) -> Beat:
        """Ask for the session's own nodes; kazoo keeps the session itself alive."""
        lost = self._store.lost([self._place(info) for info in infos], Deadline(timeout_s))
        return Beat(lost, self._session.timeout_s)

    @hookimpl
    def restore(self, infos: Sequence[Info], timeout_s: float) -> Sequence[Lost]:
        """Create the nodes in transactions, and replace only what is ours."""
        return self._store.restore([self._item(info) for info in infos], Deadline(timeout_s))

    @hookimpl
    def withdraw(self, infos: Sequence[Info], timeout_s: float) -> Sequence[Info]:
        """Remove in transactions the nodes that are ours."""
        return self._store.withdraw([self._place(info) for info in infos], Deadline(timeout_s))

    @hookimpl
    def resolve(self, service_name: str, timeout_s: float) -> Sequence[Info]:
        """Read the service's folder once, as the ensemble has it now."""
        if self._is_nobody(service_name):
            return []
        folder = self._paths.folder(service_name)
        reader = self._client.reader(Deadline(timeout_s))
        reader.sync(folder)
        paths = [f"{folder}/{name}" for name in sorted(reader.children(folder))]
        unreadable = Unreadable()
        found = dict(unreadable.without(reader.records(paths)))
        unreadable.check(found)
        records = ((f"{folder}/{name}", data) for name, data in found.items() if data is not None)
        return [record.info for record in Decoded(_decode).update(records)]

    @hookimpl
    def watch(self, service_name: str, stop: Stop) -> Iterator[Sequence[Info]]:
        """Read the folder, and what changes in it as ZooKeeper's watches tell."""
        if self._is_nobody(service_name):
            return _nobody(stop)
        return self._watches.follow(self._paths.folder(service_name), _decode, self._session, stop)

    @hookimpl
    def services(self, timeout_s: float) -> Sequence[str]:
        """Look into every folder for a record that can be read."""
        return services_below(self._paths, self._client.reader(Deadline(timeout_s)))

    @hookimpl
    def probe(self, timeout_s: float) -> None:
        """Ask whether the topmost node is there."""
        self._client.probe(Deadline(timeout_s))

    @hookimpl
    def validate(self, info: Info) -> None:
        """Refuse names and addresses that ZooKeeper, or Kitex's reader, cannot carry."""
        check(info, root=self._options.root, kitex_compatible=self._options.kitex_compatible)

    @hookimpl
    def close(self, timeout_s: float) -> None:
        """Close the session, with which its nodes go, and end kazoo's threads."""
        self._session.close(timeout_s)

    def _is_nobody(self, service_name: str) -> bool:
        """Whether nobody can be registered under that name."""
        return fault_in_name(service_name, self._options.root) is not None

    def _item(self, info: Info) -> Item:
        return Item(info, self._paths.of(info), encode(info, self._owner))

    def _place(self, info: Info) -> Item:
        return Item(info, self._paths.of(info))


def _nobody(stop: Stop) -> Iterator[Sequence[Info]]:
    """Follow a service that there cannot be."""
    yield []
    while not stop.wait(_LONG_S):
        continue


def _decode(path: str, data: bytes) -> Record:
    folder, _, segment = path.rpartition("/")
    return decode(folder.rpartition("/")[2], segment, data)
