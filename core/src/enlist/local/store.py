"""The database: opening it, waiting for it, and telling what is wrong with it.

The rollback journal, not WAL: WAL keeps an index in memory that a forked child would share
without the locks that guard it. ``synchronous = OFF``: a process that is killed in the middle of
a write loses nothing, since the system has the pages; only a power cut could spoil the file, and
no process whose record it holds outlives that. Nothing here needs SQLite newer than 3.24.

SQLite keeps its table of locks once for each process, and a child that is forked in the middle of
a transaction would inherit an entry that is never cleared. So there is one turn for each process
too: whoever uses a database takes it for some milliseconds, and a fork waits for it.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

from enlist.errors import TimedOutError, UnavailableError
from enlist.local import statements
from enlist.local.faults import (
    APPLICATION_ID,
    FORMAT,
    HEADER_BYTES,
    meaning,
    os_errors_told,
    primary,
    refuse_foreign,
    refuse_strangers,
)
from enlist.local.place import Place

__all__ = ["Store", "Version"]

# SQLite's own wait, short so that nobody else's turn is kept; between turns anybody may go first.
_WAIT_S: Final = 0.05
_PAUSE_S: Final = 0.002
_turn: Final = threading.RLock()
os.register_at_fork(
    before=_turn.acquire, after_in_parent=_turn.release, after_in_child=_turn.release
)

_T = TypeVar("_T")
Work: TypeAlias = Callable[[sqlite3.Connection], _T]
Version: TypeAlias = tuple[int, int]
"""Equal to an earlier one of the same store if nobody else has written meanwhile."""


class Store:
    """One connection to the database, opened at first use, and anew when the file was replaced.

    Safe for threads: one at a time has its turn.
    """

    def __init__(self, place: Place) -> None:
        """Take the place; no I/O."""
        self._place = place
        self._connection: sqlite3.Connection | None = None
        self._file_id: tuple[int, int] | None = None
        self._openings = 0
        self._is_closed = False

    def read(self, work: Work[_T], timeout_s: float) -> _T:
        """Return what ``work`` reads; it may be called again when the database was busy.

        Raises:
            TimedOutError: another process kept it locked for all of ``timeout_s``.
            RegistryError: the file cannot be used; see :mod:`enlist.local.faults`.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            with self._turn_until(deadline):
                try:
                    return work(self._opened())
                except sqlite3.Error as exc:
                    self._give_up_unless_passing(exc, deadline, timeout_s)
            time.sleep(_PAUSE_S)

    def write(self, work: Work[_T], timeout_s: float) -> _T:
        """Run ``work`` in one transaction that is there whole or not at all; else as ``read``."""
        return self.read(lambda connection: _in_transaction(connection, work), timeout_s)

    def version(self, timeout_s: float) -> Version:
        """Return a value that differs after every change by somebody else; raises as ``read``."""
        number = self.read(
            lambda connection: _integer(connection, "PRAGMA data_version"), timeout_s
        )
        return self._openings, number

    def close(self, last: Callable[[], object] = lambda: None) -> None:
        """Close the connection for good: a call that is late finds it closed, and opens none.

        Args:
            last: what is to be done in the same turn, so that no late call comes in between.
        """
        with _turn:
            self._is_closed = True
            try:
                self._disconnect()
            finally:
                last()

    @contextmanager
    def _turn_until(self, deadline: float) -> Iterator[None]:
        if not _turn.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise TimedOutError(
                f"{self._place.file}: other threads of this process kept the registry busy"
            )
        try:
            with os_errors_told(self._place.file):
                yield
        finally:
            _turn.release()

    def _give_up_unless_passing(
        self, exc: sqlite3.Error, deadline: float, timeout_s: float
    ) -> None:
        """Raise what the error means, unless it passes by itself and there is time to wait."""
        code = getattr(exc, "sqlite_errorcode", None)
        if code is None:  # not SQLite's but Python's own complaint about how it is used: a bug
            raise exc
        if primary(code) == sqlite3.SQLITE_BUSY:
            if time.monotonic() + _PAUSE_S + _WAIT_S < deadline:
                return
            raise TimedOutError(
                f"{self._place.file}: another process kept the registry locked "
                f"for {timeout_s:g} s; `fuser {self._place.file}` tells which"
            ) from exc
        self._disconnect()
        if code == sqlite3.SQLITE_READONLY_DBMOVED and time.monotonic() < deadline:
            return  # the file was replaced a moment ago: the next try opens the new one
        raise meaning(code, exc, self._place.file) from exc

    def _opened(self) -> sqlite3.Connection:
        """Return a connection to the file that is at its place now."""
        if self._is_closed:
            raise UnavailableError(f"{self._place.file}: the registry was closed meanwhile")
        connection = self._connection
        is_current = connection is not None and self._file_id == _file_id(self._place.file)
        # Still in a transaction: a signal interrupted this thread, and perhaps runs this very call.
        if connection is None or not is_current or connection.in_transaction:
            self._disconnect()
            connection = self._connection = self._open()
            self._openings += 1
        return connection

    def _open(self) -> sqlite3.Connection:
        self._place.prepare()
        file = self._place.file
        # By hand first: SQLite would make it readable for all, and repair a stranger's database.
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o600)
        try:
            found = os.fstat(descriptor)
            refuse_strangers(file, found, stat.S_ISREG)
            refuse_foreign(file, os.pread(descriptor, HEADER_BYTES, 0))
        finally:
            # Drops this process's locks on the file; in our turn no connection holds one.
            os.close(descriptor)
        self._place.make_owners()
        connection = sqlite3.connect(
            file, timeout=_WAIT_S, isolation_level=None, check_same_thread=False
        )
        try:
            _set_up(connection)
        except BaseException:
            connection.close()
            raise
        self._file_id = (found.st_dev, found.st_ino)
        return connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def _file_id(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _in_transaction(connection: sqlite3.Connection, work: Work[_T]) -> _T:
    try:
        connection.execute("BEGIN IMMEDIATE")
        result = work(connection)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    return result


def _set_up(connection: sqlite3.Connection) -> None:
    connection.text_factory = bytes  # a text that is no UTF-8 is one malformed record, not an error
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA journal_mode = DELETE")
    if _integer(connection, "PRAGMA user_version") == FORMAT:
        return
    _in_transaction(connection, _create)


def _create(connection: sqlite3.Connection) -> None:
    if _integer(connection, "PRAGMA user_version") == FORMAT:
        return  # another process was quicker
    statements.create(connection)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {FORMAT}")


def _integer(connection: sqlite3.Connection, statement: str) -> int:
    (value,) = connection.execute(statement).fetchone()
    return int(value)
