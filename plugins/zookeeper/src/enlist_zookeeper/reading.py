"""Reads folders and the records in them, many at a time, with or without leaving watches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

from enlist.errors import RegistryError, UnauthorisedError, UnavailableError
from enlist_zookeeper.failures import NodeMissingError
from enlist_zookeeper.link import Link
from enlist_zookeeper.records import is_address

__all__ = ["Found", "OnEvent", "Reader", "Wait"]

_AT_ONCE: Final = 1_000
"""How many requests are under way together; each is kept in memory until it is answered."""

OnEvent: TypeAlias = Callable[[Any], object]
"""Is given kazoo's event when a watch fires."""

Wait: TypeAlias = Callable[[Any, str], Any]
"""Waits for one of kazoo's results, given a name for the request; raises RegistryError."""


class Found(NamedTuple):
    """What ZooKeeper holds under one path.

    Attributes:
        data: the node's.
        version: how many times the data were set since the node was created.
        session: the session that it hangs on; 0 where it hangs on none.
    """

    data: bytes
    version: int
    session: int


class Reader:
    """Reads over one connection."""

    def __init__(self, link: Link, root: str, wait: Wait, on_event: OnEvent | None = None) -> None:
        """Take what answers are waited with.

        Args:
            link: connected.
            root: what all folders lie in; empty for the top of the tree.
            wait: waits for an answer.
            on_event: leaves a watch on each folder and node that is read, and is told of its
                event, once.
        """
        self._kazoo = link.kazoo
        self._root = root or "/"
        self._wait_for = wait
        self._on_event = on_event
        self._syncing: tuple[str, Any] | None = None

    def sync(self, folder: str) -> None:
        """Have the server catch up with what others have written, before what is read from now on.

        It is not waited for here: a server answers the requests of a session in their order.
        """
        self._syncing = folder, self._kazoo.sync_async(folder)

    def children(self, folder: str) -> list[str]:
        """Return the names of the nodes in a folder; none where there is no folder.

        Raises:
            UnauthorisedError: the folder may not be read, or it is missing and its root may not.
        """
        while True:
            try:
                listed = self._kazoo.get_children_async(folder, watch=self._on_event)
                return list(self._wait(listed, f"listing {folder}"))
            except NodeMissingError:
                if self._is_missing(folder):
                    return []

    def _is_missing(self, folder: str) -> bool:
        """Make sure that a folder is missing, and leave a watch, which a failed listing does not.

        Whoever may read nothing is told that a node is missing all the same: an empty list would
        hide a wrong password.
        """
        readable = self._kazoo.get_async(self._root)
        looked = self._kazoo.exists_async(folder, watch=self._on_event)
        self._found(readable, self._root)
        return self._wait(looked, f"looking for {folder}") is None

    def listings(self, folders: Sequence[str]) -> Iterator[tuple[str, Sequence[str]]]:
        """List many folders and yield each with the names in it, but for those not to be read.

        There is nothing in a folder that is missing.
        """
        for folder, listed in self._asked(self._kazoo.get_children_async, folders):
            try:
                names: Sequence[str] = self._wait(listed, f"listing {folder}")
            except NodeMissingError:
                names = ()
            except UnauthorisedError:
                continue
            yield folder, names

    def nodes(self, paths: Sequence[str]) -> Iterator[tuple[str, Found | None]]:
        """Read nodes and yield each with its path, in their order; None for one that is missing.

        Raises:
            RegistryError: the first error, where one cannot be read.
        """
        for path, found in self.outcomes(paths):
            if isinstance(found, RegistryError):
                raise found
            yield path, found

    def outcomes(self, paths: Sequence[str]) -> Iterator[tuple[str, Found | RegistryError | None]]:
        """Read nodes as ``nodes`` does, and yield the error of one that cannot be read.

        Raises:
            UnavailableError: nobody answers, about this one and those that follow.
        """
        get = partial(self._kazoo.get_async, watch=self._on_event)
        for path, result in self._asked(get, paths):
            try:
                found: Found | RegistryError | None = self._found(result, path)
            except UnavailableError:
                raise
            except RegistryError as exc:
                found = exc
            yield path, found

    def records(
        self, paths: Sequence[str]
    ) -> Iterator[tuple[str, bytes | UnauthorisedError | None]]:
        """Read those nodes that are there; yield each with its path, and its data if it has any.

        With the error instead, if it may not be read.

        A service of another registry may have a name with a slash, which makes a folder where
        records are: without data, bound to no session, not called like an address.
        """
        for path, found in self.outcomes(paths):
            if isinstance(found, UnauthorisedError):
                yield path, found
            elif isinstance(found, RegistryError):
                raise found
            elif found is not None:
                name = path.rpartition("/")[2]
                is_folder = not found.data and not found.session and not is_address(name)
                yield path, None if is_folder else found.data

    @staticmethod
    def _asked(ask: Callable[[str], Any], paths: Sequence[str]) -> Iterator[tuple[str, Any]]:
        """Ask about each path, about many before the first answer; yield kazoo's results."""
        for start in range(0, len(paths), _AT_ONCE):
            chunk = paths[start : start + _AT_ONCE]
            yield from [(path, ask(path)) for path in chunk]

    def _wait(self, result: Any, what: str) -> Any:  # noqa: ANN401 - kazoo has no types
        """Wait for an answer, and first for that to a sync, without which it may be too old."""
        if self._syncing is not None:
            (folder, synced), self._syncing = self._syncing, None
            self._wait_for(synced, f"syncing {folder}")
        return self._wait_for(result, what)

    def _found(self, result: Any, path: str) -> Found | None:  # noqa: ANN401 - kazoo has no types
        try:
            data, stat = self._wait(result, f"reading {path}")
        except NodeMissingError:
            return None
        return Found(data or b"", stat.version, stat.ephemeralOwner)
