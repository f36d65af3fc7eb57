"""Every statement of SQL over the table ``records``, each a function with a name.

They take an open connection; those that change something run in a write transaction. Text comes
back as bytes (see the store) and goes in as ``str``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from enlist.local.rows import Key, Row

__all__ = [
    "all_rows",
    "create",
    "keys_of",
    "owner_at",
    "owners",
    "put",
    "remove",
    "remove_all_of",
    "rows_of",
    "touch",
]


def create(connection: sqlite3.Connection) -> None:
    """Make the table, and the index that finds the records of one owner."""
    connection.execute(
        "CREATE TABLE records (service_name TEXT NOT NULL, address TEXT NOT NULL,"
        " owner TEXT NOT NULL, value TEXT NOT NULL,"
        " PRIMARY KEY (service_name, address)) WITHOUT ROWID"
    )
    connection.execute("CREATE INDEX records_by_owner ON records (owner)")


def touch(connection: sqlite3.Connection) -> None:
    """Read as little as shows that the table can be read."""
    connection.execute("SELECT 1 FROM records LIMIT 1").fetchall()


def rows_of(connection: sqlite3.Connection, service_name: str) -> list[Row]:
    """Return the rows of one service, in the order of their addresses."""
    statement = (
        "SELECT service_name, address, owner, value FROM records"
        " WHERE service_name = ? ORDER BY address"
    )
    return [Row(*row) for row in connection.execute(statement, (service_name,))]


def all_rows(connection: sqlite3.Connection) -> list[Row]:
    """Return every row, those of one service after one another."""
    statement = "SELECT service_name, address, owner, value FROM records ORDER BY service_name"
    return [Row(*row) for row in connection.execute(statement)]


def keys_of(connection: sqlite3.Connection, owner: str) -> set[Key]:
    """Return the keys of all records of one owner."""
    statement = "SELECT service_name, address FROM records WHERE owner = ?"
    found = connection.execute(statement, (owner,))
    return {
        (name.decode(errors="replace"), address.decode(errors="replace")) for name, address in found
    }


def owner_at(connection: sqlite3.Connection, key: Key) -> object:
    """Return the owner of the record with a key; None when there is no record."""
    statement = "SELECT owner FROM records WHERE service_name = ? AND address = ?"
    row = connection.execute(statement, key).fetchone()
    return None if row is None else row[0]


def owners(connection: sqlite3.Connection) -> list[object]:
    """Return every owner that has records."""
    return [owner for (owner,) in connection.execute("SELECT DISTINCT owner FROM records")]


def put(connection: sqlite3.Connection, rows: Iterable[tuple[str, str, str, str]]) -> None:
    """Write each row, over whatever has its key."""
    connection.executemany("INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?)", rows)


def remove(connection: sqlite3.Connection, keys: Iterable[Key], owner: str) -> None:
    """Remove the record with each key if it is this owner's."""
    statement = "DELETE FROM records WHERE service_name = ? AND address = ? AND owner = ?"
    connection.executemany(statement, ((*key, owner) for key in keys))


def remove_all_of(connection: sqlite3.Connection, owner: object) -> None:
    """Remove every record of an owner as ``owners`` gave it, which may be a text or a blob."""
    statement = "DELETE FROM records WHERE owner IN (CAST(? AS TEXT), ?)"
    connection.execute(statement, (owner, owner))
