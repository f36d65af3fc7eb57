"""``local`` keeps every rule of the Registry spec that it claims."""

import datetime as dt
import os
import secrets
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from enlist.info import Info
from enlist.registry import Registry
from enlist.testing import Abilities, BackendUnderTest, ConformanceSuite

TTL = dt.timedelta(seconds=2)


class LocalUnderTest(BackendUnderTest):
    """A registry without a server: there are no events to forget and no password to refuse.

    A record without an owner is one of a dead process to ``local``: foreign_records is not
    claimed. Nobody else writes into its file, so that no names nest either.
    """

    abilities = Abilities(
        ttl=TTL,
        granularity=dt.timedelta(milliseconds=200),
        validate=False,  # it carries every Info
        kill=True,
        restart=True,
        keeps_data=True,
        freeze=True,
        wipe=True,
        delete_record=True,
        expire=True,
        malformed_records=True,
        atomic_compare_and_delete=True,
    )

    def __init__(self, folder: Path) -> None:
        self._file = folder / "here" / "registry.db"
        self._file.parent.mkdir()
        self._away = folder / "away"
        self._holder: sqlite3.Connection | None = None
        self.url = f"local:{self._file}?ttl={TTL.total_seconds():g}s"

    def kill(self) -> None:
        """The disk with the file is away."""
        self._file.parent.rename(self._away)

    def start(self) -> None:
        self._away.rename(self._file.parent)

    def restart(self, *, wipe: bool = False) -> None:
        self.kill()
        if wipe:
            shutil.rmtree(self._away)
            self._away.mkdir()
        self.start()

    def freeze(self) -> None:
        """Somebody keeps the file locked: it can be opened, and never answers."""
        self._holder = sqlite3.connect(self._file, timeout=5, isolation_level=None)
        self._holder.execute("BEGIN EXCLUSIVE")

    def thaw(self) -> None:
        if self._holder is not None:
            self._holder.close()
            self._holder = None

    def wipe(self) -> None:
        self._run("DELETE FROM records")

    def delete_record(self, info: Info) -> None:
        key = info.service_name, str(info.addr)
        self._run("DELETE FROM records WHERE service_name = ? AND address = ?", *key)

    def expire(self, registry: Registry) -> None:
        """The file whose lock shows that the owner lives is removed."""
        name = registry.status()[0].info.service_name
        ((owner,),) = self._run("SELECT DISTINCT owner FROM records WHERE service_name = ?", name)
        (self._file.with_name("registry.db-owners") / owner).unlink(missing_ok=True)

    def put_malformed(self, service_name: str) -> str:
        address = f"10.99.0.1:{secrets.randbelow(60_000) + 1}"
        owners = self._run("SELECT owner FROM records ORDER BY service_name = ? DESC", service_name)
        owner = owners[0][0] if owners else secrets.token_hex(16)
        row = (service_name, address, owner, '{"address": 7}')
        self._run("INSERT INTO records VALUES (?, ?, ?, ?)", *row)
        return f"{service_name}/{address}"

    def _run(self, statement: str, *values: str) -> list[tuple[str, ...]]:
        with closing(sqlite3.connect(self._file, timeout=5)) as connection, connection:
            return connection.execute(statement, values).fetchall()


@pytest.fixture(scope="module")
def under_test(tmp_path_factory: pytest.TempPathFactory) -> LocalUnderTest:
    folder = tmp_path_factory.mktemp("conformance")
    os.chmod(folder, 0o700)  # noqa: PTH101 - local refuses a folder that others can change
    return LocalUnderTest(folder)


class TestLocal(ConformanceSuite):
    """Every rule, tried on ``local``."""
