"""The few requests to ZooKeeper that the plugin needs, each within its time."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from enlist.errors import RegistryError, RejectedError, UnavailableError, UnsupportedError
from enlist_zookeeper.deadline import Deadline
from enlist_zookeeper.failures import NodeExistsError, NodeMissingError, failure_of
from enlist_zookeeper.session import Session

if TYPE_CHECKING:
    from enlist_zookeeper.reading import Found, Reader

__all__ = ["Change", "Client"]

_NOT_THE_CAUSE: Final = frozenset({"RolledBackError", "RuntimeInconsistency"})
_logger = logging.getLogger(__name__)


class Change(NamedTuple):
    """What is to become of one node.

    Attributes:
        path: the node's.
        data: what it is to hold; None to remove it.
        version: of the node that is to be replaced or removed; None to create one.
    """

    path: str
    data: bytes | None
    version: int | None = None


class Client:
    """Makes requests for any number of threads, over one session."""

    def __init__(self, session: Session, base: str, root: str) -> None:
        """Take the session.

        Args:
            session: connects.
            base: the folder that is not ours to make; empty for the top of the tree.
            root: what all services lie in.
        """
        self._session = session
        self._base = base
        self._root = root
        self._sees_own = True

    def probe(self, deadline: Deadline) -> None:
        """Make the cheapest request."""
        kazoo = self._session.connected(deadline).kazoo
        self.wait(kazoo.exists_async(self._base or "/"), deadline, "probing")

    def reader(self, deadline: Deadline) -> Reader:
        """Return what reads until the deadline."""
        from enlist_zookeeper.reading import Reader  # noqa: PLC0415 - it loads kazoo

        def wait(result: Any, what: str) -> Any:  # noqa: ANN401 - kazoo has no types
            return self.wait(result, deadline, what)

        return Reader(self._session.connected(deadline), self._root, wait)

    def read(self, path: str, deadline: Deadline) -> Found | None:
        """Read one node, as the ensemble has it now."""
        reader = self.reader(deadline)
        reader.sync(path)
        ((_, found),) = reader.nodes([path])
        return found

    def create(self, path: str, data: bytes, deadline: Deadline) -> None:
        """Create a node of our session, and the folder that it lies in if that is missing.

        Raises:
            NodeExistsError: there is one.
        """
        try:
            self._create(path, data, deadline)
        except NodeMissingError:
            self._make_folder(path.rpartition("/")[0], deadline)
            self._create(path, data, deadline)

    def make_folders(self, folders: Iterable[str], deadline: Deadline) -> None:
        """Make those of these folders that are missing, as many as can be made.

        Raises:
            RegistryError: the first that could not be made, after all have been tried; or nobody
                answers.
        """
        link = self._session.connected(deadline)
        refused: list[RegistryError] = []
        missing = []
        for folder, looked in [(folder, link.kazoo.exists_async(folder)) for folder in folders]:
            with _collecting(refused):
                if self.wait(looked, deadline, f"looking for {folder}") is None:
                    missing.append(folder)
        for folder in missing[:1]:  # and what they all lie in
            with _collecting(refused):
                self._make_folder(folder, deadline)
        others = [(folder, link.create(folder, b"", ephemeral=False)) for folder in missing[1:]]
        for folder, made in others:
            with _collecting(refused), suppress(NodeExistsError):
                try:
                    self.wait(made, deadline, f"creating {folder}")
                except NodeMissingError:
                    self._make_folder(folder, deadline)
        if refused:
            raise refused[0]

    def begin(self, changes: Iterable[Change], deadline: Deadline) -> Any:  # noqa: ANN401 - kazoo has no types
        """Have all of these changes made, or none; ``end`` tells which.

        A node that is replaced has another version afterwards. Since a new one has version 0,
        whoever compares versions would otherwise take the second owner's node for the first's.
        """
        link = self._session.connected(deadline)
        transaction = link.kazoo.transaction()
        for path, data, version in changes:
            if version is not None:
                transaction.delete(path, version)
            if data is not None:
                transaction.create(path, data, acl=link.acl, ephemeral=True)
                if version == 0:
                    transaction.set_data(path, data, 0)
        return transaction.commit_async()

    def end(self, result: Any, deadline: Deadline, what: str) -> None:  # noqa: ANN401 - kazoo has no types
        """Wait for the outcome of a transaction.

        Raises:
            RaceError: nothing was changed, since a node was not as expected.
            RegistryError: nothing was changed, or nobody knows.
        """
        for outcome in self.wait(result, deadline, what):
            if isinstance(outcome, Exception) and type(outcome).__name__ not in _NOT_THE_CAUSE:
                raise failure_of(outcome, what) from outcome

    def change(self, change: Change, deadline: Deadline) -> None:
        """Make one change; raises as ``end``."""
        self.end(self.begin([change], deadline), deadline, f"writing {change.path}")

    def is_own(self, session_id: int) -> bool:
        """Return whether that is the session that there is now."""
        return session_id != 0 and session_id == self._session.current_id

    def own_paths(self, among: Sequence[str], deadline: Deadline) -> set[str]:
        """Return the paths of our session's nodes: all of them, or at least all those of these."""
        link = self._session.connected(deadline)
        if not self._sees_own:
            session_id = link.session_id
            asked = [(path, link.kazoo.exists_async(path)) for path in among]
            stats = [(path, self.wait(it, deadline, "looking for records")) for path, it in asked]
            return {path for path, stat in stats if stat and stat.ephemeralOwner == session_id}
        try:
            return set(self.wait(link.own_paths(), deadline, "listing the session's nodes"))
        except UnsupportedError as exc:
            self._sees_own = False
            _logger.info("zookeeper: a server before 3.6; every record is looked at in each beat")
            # Such a server ends the connection after a request that it does not know.
            raise UnavailableError(str(exc)) from exc

    def wait(self, result: Any, deadline: Deadline, what: str) -> Any:  # noqa: ANN401 - kazoo has no types
        """Wait for one of kazoo's results.

        Raises:
            RegistryError: what it failed with.
        """
        left_s = 0.0 if result.ready() else deadline.left_s()
        try:
            return result.get(timeout=left_s)
        except Exception as exc:
            raise failure_of(exc, what) from exc

    def _create(self, path: str, data: bytes, deadline: Deadline) -> None:
        link = self._session.connected(deadline)
        made = link.create(path, data, ephemeral=True)
        self.wait(made, deadline, f"creating {path}")

    def _make_folder(self, folder: str, deadline: Deadline) -> None:
        """Make a folder, and first those that it lies in as far as they are missing."""
        missing = [folder]
        while missing:
            link = self._session.connected(deadline)
            made = link.create(missing[-1], b"", ephemeral=False)
            try:
                self.wait(made, deadline, f"creating {missing[-1]}")
            except NodeMissingError as exc:
                parent = missing[-1].rpartition("/")[0]
                if parent == self._base:
                    raise RejectedError(
                        f"ZooKeeper: the chroot {parent} does not exist. Create it, or change it."
                    ) from exc
                missing.append(parent)
            except NodeExistsError:
                missing.pop()
            else:
                missing.pop()


@contextmanager
def _collecting(refused: list[RegistryError]) -> Iterator[None]:
    """Go on after a refusal, which is about one node alone."""
    try:
        yield
    except UnavailableError:
        raise
    except RegistryError as exc:
        refused.append(exc)
