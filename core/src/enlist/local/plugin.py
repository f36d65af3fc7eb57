"""The hooks of ``local``: what a backend plugin looks like when its server is a file.

Each hook is a few lines, since the parts stand beside it: rows translate, statements ask, the
store waits and tells errors, lives know who is there, and a watching thread looks for changes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from enlist.hookspecs import Beat, Lost, Stop, Why, hookimpl
from enlist.info import Info
from enlist.local import statements
from enlist.local.liveness import Life, Lives
from enlist.local.options import LocalOptions
from enlist.local.place import Place
from enlist.local.rows import Row, decoded, encoded, key_of, readable
from enlist.local.store import Store
from enlist.local.watching import Watching
from enlist.records import Decoded

__all__ = ["LocalRegistry"]


class LocalRegistry:
    """Keeps the servers of one machine in a file that their processes share."""

    spec_version = 1
    one_machine = True
    Options = LocalOptions

    def __init__(self, options: LocalOptions, owner: str) -> None:
        """Take the options; no I/O."""
        place = Place(options.path)
        self._owner = owner
        self._ttl_s = options.ttl.total_seconds()
        self._store = Store(place)
        self._life = Life(place, owner, self._ttl_s)
        self._lives = Lives(place)
        self._watching = Watching(place)

    # --- writing: each hook is one transaction, there whole or not at all --------------------

    @hookimpl
    def register(self, info: Info, timeout_s: float) -> None:
        """Write the record over whatever stands there."""
        row = encoded(info, self._owner)

        def work(connection: sqlite3.Connection) -> None:
            self._show_life(connection)
            statements.put(connection, [row])

        self._store.write(work, timeout_s)

    @hookimpl
    def restore(self, infos: Sequence[Info], timeout_s: float) -> list[Lost]:
        """Write the records, but those that a living owner holds."""
        rows = [encoded(info, self._owner) for info in infos]

        def work(connection: sqlite3.Connection) -> list[Lost]:
            self._show_life(connection)
            lost = self._lost(connection, infos)
            taken = [one for one in lost if one.why is Why.SUPERSEDED]
            taken_keys = {key_of(one.info) for one in taken}
            statements.put(connection, [row for row in rows if row[:2] not in taken_keys])
            return taken

        return self._store.write(work, timeout_s)

    @hookimpl
    def deregister(self, info: Info, timeout_s: float) -> None:
        """Remove the record if it is ours."""
        self.withdraw([info], timeout_s)

    @hookimpl
    def withdraw(self, infos: Sequence[Info], timeout_s: float) -> list[Info]:
        """Remove the records that are ours; nothing may remain."""
        keys = [key_of(info) for info in infos]
        self._store.write(
            lambda connection: statements.remove(connection, keys, self._owner), timeout_s
        )
        return []

    # --- living ------------------------------------------------------------------------------

    @hookimpl
    def keep_alive(self, infos: Sequence[Info], timeout_s: float) -> Beat:
        """Beat, and look which records are still ours: one read for all."""
        if not self._life.is_in_place():
            self._store.write(self._show_life, timeout_s)

        def work(connection: sqlite3.Connection) -> list[Lost]:
            self._life.beat()
            return self._lost(connection, infos)

        return Beat(self._store.read(work, timeout_s), self._ttl_s)

    def _show_life(self, connection: sqlite3.Connection) -> None:
        """Beat, after beginning to live where that is needed; in a write transaction."""
        if self._life.is_in_place():
            self._life.beat()
        else:
            self._life.begin()
            self._bury_the_dead(connection)

    def _bury_the_dead(self, connection: sqlite3.Connection) -> None:
        """Remove what the dead have left: whoever comes or goes does so, a reader never."""
        for owner in statements.owners(connection):
            if self._lives.is_dead(owner):
                statements.remove_all_of(connection, owner)
        self._lives.remove_files_of_the_dead()

    def _lost(self, connection: sqlite3.Connection, infos: Iterable[Info]) -> list[Lost]:
        """Return those whose record is not ours, and whether a living owner holds it."""
        ours = statements.keys_of(connection, self._owner)
        missing = [(info, key) for info in infos if (key := key_of(info)) not in ours]
        return [
            Lost(info, Why.SUPERSEDED if self._lives.is_alive(owner) else Why.GONE)
            for info, key in missing
            for owner in [statements.owner_at(connection, key)]
        ]

    # --- reading -----------------------------------------------------------------------------

    @hookimpl
    def resolve(self, service_name: str, timeout_s: float) -> list[Info]:
        """Return the instances whose owners are alive."""
        rows = self._store.read(
            lambda connection: statements.rows_of(connection, service_name), timeout_s
        )
        records = Decoded[Row](lambda _, row: decoded(row)).update(
            (row.name, row) for row in self._living(rows)
        )
        return [record.info for record in records]

    @hookimpl
    def watch(self, service_name: str, stop: Stop) -> Iterator[list[Info]]:
        """Yield the instances now and after every change."""
        return self._watching.watch(service_name, stop)

    @hookimpl
    def services(self, timeout_s: float) -> list[str]:
        """Return the names that have a readable record of a living owner."""
        rows = self._store.read(statements.all_rows, timeout_s)
        services = groupby(self._living(rows), key=lambda row: row.service_name)
        firsts = (next(filter(None, map(readable, group)), None) for _, group in services)
        return [record.info.service_name for record in firsts if record is not None]

    @hookimpl
    def probe(self, timeout_s: float) -> None:
        """Read something."""
        self._store.read(statements.touch, timeout_s)

    def _living(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield the rows whose owners are alive, looking at each owner once."""
        alive: dict[object, bool] = {}
        for row in rows:
            if row.owner not in alive:
                alive[row.owner] = self._lives.is_alive(row.owner)
            if alive[row.owner]:
                yield row

    # --- the end -----------------------------------------------------------------------------

    @hookimpl
    def close(self, timeout_s: float) -> None:
        """Remove our records, and our lock in any case: without it they are dead to everybody."""
        self._watching.close()
        try:
            if self._life.has_begun:
                self._store.write(self._leave, timeout_s)
        finally:
            self._store.close(last=self._life.end)

    def _leave(self, connection: sqlite3.Connection) -> None:
        statements.remove_all_of(connection, self._owner.encode())
        self._bury_the_dead(connection)
