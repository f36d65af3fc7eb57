"""All watches of one plugin object: kazoo's events are sorted into them, each reads for itself.

ZooKeeper's watches fire once, and are left by reading. One function is given to kazoo for all of
them, so that a node which is read again and again still has one watch; and it only notes what
has changed, since it runs in kazoo's thread. Whoever iterates over a watch wakes by that, and
reads what was noted until then, all at once: so bursts of changes become few lists.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from enlist.errors import RegistryError, UnavailableError
from enlist.hookspecs import Stop
from enlist.info import Info
from enlist.records import Decoded, Record
from enlist_zookeeper.deadline import Deadline
from enlist_zookeeper.failures import failure_of
from enlist_zookeeper.session import Session
from enlist_zookeeper.unreadable import Unreadable

if TYPE_CHECKING:
    from enlist_zookeeper.link import Link
    from enlist_zookeeper.reading import Reader, Wait

__all__ = ["Watches"]

_CLOSED: Final = "ZooKeeper: the connection was lost."


class _StoppedError(Exception):
    """The watch was told to end while it waited for an answer."""


class Watches:
    """Follows folders, any number of them."""

    def __init__(self, root: str) -> None:
        """Follow none.

        Args:
            root: what all folders lie in.
        """
        self._root = root
        self._lock = threading.Lock()
        self._watches: dict[str, set[_Watch]] = {}

    def follow(
        self, folder: str, decode: Callable[[str, bytes], Record], session: Session, stop: Stop
    ) -> Iterator[Sequence[Info]]:
        """Yield the list of a folder's records, and the newest after every change, until stopped.

        Args:
            folder: need not be there yet.
            decode: reads a record, given its path and its data.
            session: connects.
            stop: ends it.

        Raises:
            RegistryError: the connection was lost.
        """
        watch = _Watch(folder, decode, session, stop, self._reader)
        self._add(watch)
        try:
            stop.on_stop(watch.wake)
            yield from watch.lists()
        except (_StoppedError, RegistryError):
            if not stop.is_set():
                raise
        finally:
            self._remove(watch)

    def lose(self) -> None:
        """Hear that the connection is lost, and with it everything that kazoo was to tell."""
        with self._lock:
            watches = [watch for group in self._watches.values() for watch in group]
        for watch in watches:
            watch.look()

    def _on_event(self, event: Any) -> None:  # noqa: ANN401 - kazoo has no types
        if event.path is None:  # the connection's state, of which lose() hears
            return
        folder, _, name = event.path.rpartition("/")
        with self._lock:
            own = tuple(self._watches.get(event.path, ()))
            above = tuple(self._watches.get(folder, ()))
        for watch in own:
            watch.note(None)
        for watch in above:
            watch.note(name)

    def _reader(self, link: Link, wait: Wait) -> Reader:
        from enlist_zookeeper.reading import Reader  # noqa: PLC0415 - it loads kazoo

        return Reader(link, self._root, wait, self._on_event)

    def _add(self, watch: _Watch) -> None:
        with self._lock:
            self._watches.setdefault(watch.folder, set()).add(watch)

    def _remove(self, watch: _Watch) -> None:
        with self._lock:
            group = self._watches[watch.folder]
            group.discard(watch)
            if not group:
                del self._watches[watch.folder]


class _Watch:
    """One followed folder: what is known of it, and what has changed since."""

    def __init__(
        self,
        folder: str,
        decode: Callable[[str, bytes], Record],
        session: Session,
        stop: Stop,
        make_reader: Callable[[Link, Wait], Reader],
    ) -> None:
        self.folder = folder
        self._decoded = Decoded(decode)
        self._session = session
        self._stop = stop
        self._make_reader = make_reader
        self._known: dict[str, bytes | None] = {}
        # They have no watch of their own, so that each list has them read again.
        self._unreadable = Unreadable()
        self._changed = threading.Condition()
        self._list_changed = False
        self._nodes_changed: set[str] = set()
        self._link: Link | None = None
        self._losses = 0
        self._awaited: Any = None

    # --- from other threads -------------------------------------------------------------------

    def note(self, name: str | None) -> None:
        """Hear that a node has changed, or with None the list of them."""
        with self._changed:
            if name is None:
                self._list_changed = True
            else:
                self._nodes_changed.add(name)
            self._changed.notify_all()

    def look(self) -> None:
        """Look whether the connection is still the one that the watches were left on."""
        with self._changed:
            self._changed.notify_all()

    def wake(self) -> None:
        """Hear that the watch is to end, whatever it waits for."""
        with self._changed:
            awaited = self._awaited
            self._changed.notify_all()
        if awaited is not None:
            awaited.set_exception(_StoppedError())
        self._session.wake()

    # --- in the thread that iterates ----------------------------------------------------------

    def lists(self) -> Iterator[Sequence[Info]]:
        """Yield lists until told to end."""
        reader = self._make_reader(self._connect(), self._wait)
        reader.sync(self.folder)
        self._read_list(reader, frozenset())
        before = self._infos()
        yield before
        while self._wait_for_change():
            self._read_changes(reader)
            now = self._infos()
            if now != before:
                yield now
            before = now

    def _connect(self) -> Link:
        """Return a connected client; from now on it counts if that connection is lost."""
        deadline = Deadline(self._session.timeout_s)
        while True:
            link = self._session.connected(deadline, self._stop)
            losses = link.losses
            if link.kazoo.connected:
                self._link, self._losses = link, losses
                return link

    def _is_lost(self) -> bool:
        return self._link is not None and self._link.losses != self._losses

    def _wait_for_change(self) -> bool:
        """Wait until something has changed; False when told to end."""
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._list_changed
                    or self._nodes_changed
                    or self._is_lost()
                    or self._stop.is_set()
                )
            )
            if self._is_lost() and not self._stop.is_set():
                raise UnavailableError(_CLOSED)
        return not self._stop.is_set()

    def _read_changes(self, reader: Reader) -> None:
        with self._changed:
            list_changed, self._list_changed = self._list_changed, False
            changed, self._nodes_changed = self._nodes_changed, set()
        if list_changed:
            self._read_list(reader, changed)
        else:
            self._read_nodes(reader, changed & self._known.keys())

    def _read_list(self, reader: Reader, changed: set[str] | frozenset[str]) -> None:
        """Read which nodes there are, and those that are new or were noted as changed."""
        names = set(reader.children(self.folder))
        for gone in self._known.keys() - names:
            del self._known[gone]
        self._unreadable.keep(names)
        self._read_nodes(reader, names - (self._known.keys() - changed))

    def _read_nodes(self, reader: Reader, names: set[str]) -> None:
        for name in names:
            # What is gone when it is read is new when it is listed again.
            self._known.pop(name, None)
        paths = [f"{self.folder}/{name}" for name in sorted(names)]
        self._known.update(self._unreadable.without(reader.records(paths)))
        self._unreadable.check(self._known)

    def _infos(self) -> list[Info]:
        records = (
            (f"{self.folder}/{name}", data)
            for name, data in sorted(self._known.items())
            if data is not None
        )
        return [record.info for record in self._decoded.update(records)]

    def _wait(self, result: Any, what: str) -> Any:  # noqa: ANN401 - kazoo has no types
        """Wait for one of kazoo's results, and no longer than until told to end."""
        with self._changed:
            if self._stop.is_set():
                raise _StoppedError
            self._awaited = result
        try:
            return result.get(timeout=self._session.timeout_s)
        except _StoppedError:
            raise
        except Exception as exc:
            raise failure_of(exc, what) from exc
        finally:
            with self._changed:
                self._awaited = None
