"""This owner's records at ZooKeeper: written, looked at and removed, singly and in batches.

A node is ours if it hangs on our session, or carries our owner: then a session of ours that has
ended, or is about to, has left it. Every other node is live, since a dead owner's has gone with
its session. Whether a node may be touched is read first, and decided once more in the step that
touches it, by the node's version (see ``Client.begin``).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from enlist.errors import RegistryError, UnavailableError
from enlist.hookspecs import Lost, Why
from enlist.info import Info
from enlist_zookeeper.bulk import Bulk, Item, Verdict
from enlist_zookeeper.client import Change, Client
from enlist_zookeeper.deadline import Deadline
from enlist_zookeeper.failures import NodeExistsError
from enlist_zookeeper.records import owner_of

if TYPE_CHECKING:
    from enlist_zookeeper.reading import Found, Reader

__all__ = ["Store"]

_logger = logging.getLogger(__name__)
_FEW: Final = 8
"""Up to so many nodes of a folder are read without a look at which of them are there."""


class Store:
    """Reads and writes records for one owner."""

    def __init__(self, client: Client, owner: str) -> None:
        """Take what makes the requests, and what our records carry."""
        self._client = client
        self._owner = owner
        self._bulk = Bulk(client)
        # Nodes of ours that replaced others, so that they may have any version.
        self._replacing: set[str] = set()

    def put(self, item: Item, deadline: Deadline) -> None:
        """Write one record, whatever stands there."""
        try:
            self._client.create(item.path, item.data, deadline)
        except NodeExistsError:
            self._bulk.settle(item, self._write, deadline)
        else:
            self._replacing.discard(item.path)

    def remove(self, item: Item, deadline: Deadline) -> None:
        """Remove one record if it is ours."""
        self._bulk.settle(item, self._remove_ours, deadline)
        self._replacing.discard(item.path)

    def lost(self, items: Sequence[Item], deadline: Deadline) -> list[Lost]:
        """Return those of these that do not hang on our session, and say why."""
        own = self._client.own_paths([item.path for item in items], deadline)
        missing = [item for item in items if item.path not in own]
        return self._look(missing, deadline) if missing else []

    def restore(self, items: Sequence[Item], deadline: Deadline) -> list[Lost]:
        """Write each that is absent or ours; return those that are still not alive.

        Raises:
            RegistryError: nothing was written, because of this.
        """
        try:
            self._client.make_folders(dict.fromkeys(map(_folder, items)), deadline)
        except UnavailableError:
            raise
        except RegistryError as exc:
            # The records that this is about are refused below; the others must not wait for it.
            _logger.debug("zookeeper: not all folders could be made: %s", exc)

        def create(item: Item) -> Change:
            return Change(item.path, item.data)

        return self._bulk.run(items, create, self._write_where_ours, deadline)

    def withdraw(self, items: Sequence[Item], deadline: Deadline) -> list[Info]:
        """Remove those that are ours; return those that may still be there.

        Raises:
            RegistryError: nothing was removed, because of this.
        """
        own = self._client.own_paths([item.path for item in items], deadline)
        new = own - self._replacing

        def remove(item: Item) -> Change:
            # Whoever took it over from us has left it with another version than a new one has.
            return Change(item.path, None, 0)

        made = [item for item in items if item.path in new]
        others = [item for item in items if item.path not in new]
        left = self._bulk.run(made, remove, self._remove_ours, deadline)
        left += self._bulk.run(others, None, self._remove_ours, deadline)
        return [lost.info for lost in left]

    def _look(self, items: Sequence[Item], deadline: Deadline) -> list[Lost]:
        """Say of items that do not hang on our session, why that is so."""
        founds: dict[str, Found | RegistryError | None] = {}
        unknown: RegistryError | None = None
        try:
            reader = self._client.reader(deadline)
            founds.update(dict.fromkeys(_surely_missing(items, reader)))
            paths = [item.path for item in items if item.path not in founds]
            founds.update(reader.outcomes(paths))  # as far as it comes
        except RegistryError as exc:
            unknown = exc
        return [self._lost(item, founds.get(item.path, unknown)) for item in items]

    def _lost(self, item: Item, found: Found | RegistryError | None) -> Lost:
        if isinstance(found, RegistryError):
            return Lost(item.info, Why.FAILED, found)
        is_foreign = found is not None and not self._is_ours(found)
        return Lost(item.info, Why.SUPERSEDED if is_foreign else Why.GONE)

    def _write_where_ours(self, item: Item, found: Found | None) -> Verdict:
        if found is not None and not self._is_ours(found):
            return Lost(item.info, Why.SUPERSEDED)
        return self._write(item, found)

    def _write(self, item: Item, found: Found | None) -> Change:
        if found is None:
            return Change(item.path, item.data)
        self._replacing.add(item.path)
        return Change(item.path, item.data, found.version)

    def _remove_ours(self, item: Item, found: Found | None) -> Verdict:
        if found is None or not self._is_ours(found):
            return None
        return Change(item.path, None, found.version)

    def _is_ours(self, found: Found) -> bool:
        return self._client.is_own(found.session) or owner_of(found.data) == self._owner


def _surely_missing(items: Sequence[Item], reader: Reader) -> list[str]:
    """Return the paths of those that are not listed in their folders, where a list pays.

    After a session has expired thousands may be gone from one folder.
    """
    folders = Counter(map(_folder, items))
    crowded = [folder for folder, number in folders.items() if number > _FEW]
    listed = {folder: set(names) for folder, names in reader.listings(crowded)}

    def is_missing(item: Item) -> bool:
        folder, _, name = item.path.rpartition("/")
        return folder in listed and name not in listed[folder]

    return [item.path for item in items if is_missing(item)]


def _folder(item: Item) -> str:
    return item.path.rpartition("/")[0]
