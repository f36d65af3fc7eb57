"""Who hears of a change, and when: one thread for all watches of one plugin object.

Every 50 ms it asks the database for its version; nothing else is read while nothing is written.
Every 100 ms it looks at the locks of those whose records are watched, since a process that is
killed writes nothing. The thread starts with the first watch and ends with the last one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Final

from enlist.errors import RegistryError, TimedOutError, UnavailableError
from enlist.hookspecs import Stop
from enlist.info import Info
from enlist.local.liveness import Lives
from enlist.local.place import Place
from enlist.local.rows import Row, decoded
from enlist.local.statements import rows_of
from enlist.local.store import Store, Version
from enlist.records import Decoded

__all__ = ["Watching"]

_TICK_S: Final = 0.05
_TICKS_BETWEEN_SIGNS: Final = 2
# Well inside of a tick, so that a stopped watch ends soon; a database that is only busy is asked
# again at the next tick, until it has been busy for longer than any write takes.
_ANSWER_S: Final = 0.02
_PATIENCE_S: Final = 2.0
_SLEEP_S: Final = 3.0
"""A longer pause between two ticks is a sleep of this process (or of the whole machine)."""


class Watching:
    """The watches of one plugin object. Safe for threads."""

    def __init__(self, place: Place) -> None:
        """Take the place; no I/O, no thread."""
        self._place = place
        self._changed = threading.Condition()
        self._feeds: tuple[_Feed, ...] = ()
        self._thread: threading.Thread | None = None

    def watch(self, service_name: str, stop: Stop) -> Iterator[list[Info]]:
        """Yield the list of instances, then each newest one, until stopped.

        Raises:
            RegistryError: the registry cannot be read (any more).
        """
        feed = _Feed(service_name)
        stop.on_stop(feed.end)
        try:
            self._add(feed)
            yield from feed
        finally:
            self._remove(feed)

    def close(self) -> None:
        """End every watch and the thread."""
        for feed in self._feeds:
            feed.end()
            self._remove(feed)

    def _add(self, feed: _Feed) -> None:
        with self._changed:
            self._feeds = (*self._feeds, feed)
            if self._thread is None:
                self._thread = self._started()
            self._changed.notify_all()

    def _started(self) -> threading.Thread:
        thread = threading.Thread(target=self._run, name="enlist-local-watch", daemon=True)
        try:
            thread.start()
        except RuntimeError as exc:
            raise UnavailableError(f"{self._place.file} cannot be watched now: {exc}") from exc
        return thread

    def _remove(self, feed: _Feed) -> None:
        with self._changed:
            self._feeds = tuple(other for other in self._feeds if other is not feed)
            thread = self._thread
            if self._feeds or thread is None:
                return
            self._thread = None
            self._changed.notify_all()
        if thread is not threading.current_thread():  # it is where garbage is collected in it
            thread.join()

    def _run(self) -> None:
        lookout = _Lookout(self._place)
        feeds: tuple[_Feed, ...] = ()
        try:
            while feeds := self._next(feeds):
                lookout.look(feeds)
        finally:
            lookout.close()

    def _next(self, before: tuple[_Feed, ...]) -> tuple[_Feed, ...]:
        """Wait for the next tick, or for other feeds than before; nothing ends the thread."""
        me = threading.current_thread()
        with self._changed:
            self._changed.wait_for(
                lambda: self._feeds is not before or self._thread is not me, _TICK_S
            )
            return self._feeds if self._thread is me else ()


class _Feed:
    """One watch: the thread fills it, the iterator empties it."""

    def __init__(self, service_name: str) -> None:
        self.service_name = service_name
        self._arrived = threading.Condition()
        self._newest: list[Info] | None = None
        self._error: Exception | None = None
        self._has_ended = False
        # What follows belongs to the thread alone.
        self.version: Version | None = None
        self.owners: frozenset[object] = frozenset()
        self._rows: list[Row] = []
        self._living: frozenset[object] | None = None
        self._decoded = Decoded[Row](lambda _, row: decoded(row))
        self._shown: list[Info] | None = None

    def __iter__(self) -> Iterator[list[Info]]:
        while (instances := self._take()) is not None:
            yield instances

    def _take(self) -> list[Info] | None:
        with self._arrived:
            self._arrived.wait_for(
                lambda: self._has_ended or self._newest is not None or self._error is not None
            )
            if self._has_ended:
                return None
            if self._error is not None:
                raise self._error
            instances, self._newest = self._newest, None
            return instances

    def end(self) -> None:
        """End the iteration."""
        with self._arrived:
            self._has_ended = True
            self._arrived.notify_all()

    def fail(self, error: Exception) -> None:
        """Have the iteration raise; it takes no more lists."""
        with self._arrived:
            self._error = error
            self._arrived.notify_all()

    def read(self, rows: list[Row], version: Version) -> None:
        """Take the rows of the service as they are in this version."""
        self._rows, self.version = rows, version
        self.owners = frozenset(row.owner for row in rows)
        self._living = None

    def show(self, living: frozenset[object]) -> None:
        """Put the records of the living into the list, if that makes it another one."""
        living &= self.owners
        if living == self._living:
            return
        self._living = living
        there = ((row.name, row) for row in self._rows if row.owner in living)
        instances = [record.info for record in self._decoded.update(there)]
        if instances == self._shown:
            return
        self._shown = instances
        with self._arrived:
            self._newest = list(instances)
            self._arrived.notify_all()


class _Lookout:
    """What the thread does at each tick. It has a connection and a memory of lives of its own."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._store = Store(place)
        self._lives = Lives(place)
        self._ticks = 0
        self._looked_at = self._answered_at = time.monotonic()

    def look(self, feeds: tuple[_Feed, ...]) -> None:
        """Bring every feed up to date, or tell it why that cannot be."""
        try:
            self._look(feeds)
            self._answered_at = time.monotonic()
        except TimedOutError as exc:
            if time.monotonic() - self._answered_at > _PATIENCE_S:
                _fail(feeds, exc)
        except RegistryError as exc:
            _fail(feeds, exc)
        except Exception as exc:  # noqa: BLE001 - a bug of ours: without this the watches would wait for ever
            _fail(feeds, exc)

    def _look(self, feeds: tuple[_Feed, ...]) -> None:
        self._doubt_memory()
        version = self._store.version(_ANSWER_S)
        # Another file is another registry: to go on with it would show a loss as many departures.
        replaced = [feed for feed in feeds if feed.version and feed.version[0] != version[0]]
        _fail(replaced, UnavailableError(f"{self._place.file} was replaced; it is read anew"))
        feeds = tuple(feed for feed in feeds if feed not in replaced)
        changed = [feed for feed in feeds if feed.version != version]
        for feed in changed:
            query = partial(rows_of, service_name=feed.service_name)
            feed.read(self._store.read(query, _ANSWER_S), version)
        self._ticks += 1
        for_signs = feeds if self._ticks % _TICKS_BETWEEN_SIGNS == 0 else changed
        owners = frozenset[object]().union(*(feed.owners for feed in for_signs))
        living = frozenset(owner for owner in owners if self._lives.is_alive(owner))
        for feed in for_signs:
            feed.show(living)

    def _doubt_memory(self) -> None:
        """Forget the beats after a sleep of our own: the others may have slept with us."""
        slept_s = time.monotonic() - self._looked_at
        self._looked_at += slept_s
        if slept_s > _SLEEP_S:
            self._lives = Lives(self._place)

    def close(self) -> None:
        """Close the connection."""
        self._store.close()


def _fail(feeds: Iterable[_Feed], error: Exception) -> None:
    for feed in feeds:
        feed.fail(error)
