"""The files of `local`: where they lie, what is refused, and what is survived."""

import errno
import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from core.tests.local_world import TIMEOUT_S, Registries, Server, local_registry, watching
from enlist.errors import (
    InvalidOptionError,
    RegistryError,
    RejectedError,
    TimedOutError,
    UnauthorisedError,
    UnavailableError,
)
from enlist.hookspecs import Lost, Why
from enlist.info import Info
from enlist.local import LocalOptions
from enlist.local.faults import os_errors_told, refuse_strangers
from enlist.local.place import Place, default_folder, network_file_system
from enlist.stopping import StopToken

ECHO = Info(service_name="echo", addr="10.0.0.1:8888")
OTHER = Info(service_name="echo", addr="10.0.0.2:8888")
STRANGER = 65_534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "test.registry"


@pytest.fixture
def registries(path: Path) -> Iterator[Registries]:
    opened = Registries(path)
    yield opened
    opened.close()


@pytest.fixture
def plain_folder() -> Iterator[Path]:
    """A folder, and a user whom its permissions bind: not root."""
    folder = Path(tempfile.mkdtemp())
    is_root = os.geteuid() == 0
    if is_root:
        os.chown(folder, STRANGER, -1)
        os.seteuid(STRANGER)
    try:
        yield folder
    finally:
        if is_root:
            os.seteuid(0)
        folder.chmod(0o700)
        shutil.rmtree(folder)


# --- where they lie ------------------------------------------------------------------------------


def test_default_folder_is_in_the_runtime_folder_of_the_user(tmp_path: Path) -> None:
    """XDG_RUNTIME_DIR is used if it is a folder of ours."""
    assert default_folder({"XDG_RUNTIME_DIR": str(tmp_path)}) == tmp_path / "enlist"


@pytest.mark.parametrize("value", ["", "relative", "/nowhere/at/all", "/etc/passwd"])
def test_default_folder_without_a_usable_runtime_folder_is_temporary(value: str) -> None:
    """A runtime folder that is no folder of ours is passed over for one named with the uid."""
    expected = Path(tempfile.gettempdir()) / f"enlist-{os.geteuid()}"

    assert default_folder({"XDG_RUNTIME_DIR": value}) == expected


def test_default_folder_passes_over_a_runtime_folder_that_is_read_only(plain_folder: Path) -> None:
    """A runtime folder that we may not write to is not usable."""
    plain_folder.chmod(0o500)

    assert default_folder({"XDG_RUNTIME_DIR": str(plain_folder)}).parent != plain_folder


def test_default_registry_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a path the folder and every file are made for the user alone, whatever the umask."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    registry = local_registry(None)
    before = os.umask(0)
    try:
        registry.register(ECHO, TIMEOUT_S)
    finally:
        os.umask(before)
    modes = {
        str(found.relative_to(tmp_path)): stat.S_IMODE(found.stat().st_mode)
        for found in [tmp_path / "enlist", *(tmp_path / "enlist").iterdir()]
    }
    registry.close(TIMEOUT_S)

    assert modes == {
        "enlist": 0o700,
        "enlist/registry.db": 0o600,
        "enlist/registry.db-owners": 0o700,
    }


# --- what is refused -----------------------------------------------------------------------------


def test_options_refuse_a_relative_path() -> None:
    """A relative path would be another file for each process."""
    with pytest.raises(InvalidOptionError, match=r"path='demo\.registry': must be absolute"):
        LocalOptions(path=Path("demo.registry"))


@pytest.mark.parametrize("seconds", [0, -1, 0.099, 86_401])
def test_options_refuse_a_ttl_out_of_bounds(seconds: float) -> None:
    """A ttl is from 100 ms to a day."""
    with pytest.raises(InvalidOptionError, match=r"ttl=.*must be from 100 ms to one day"):
        LocalOptions(ttl=timedelta(seconds=seconds))


@pytest.mark.parametrize("shared", ["", "enlist"], ids=["path", "default"])
def test_folder_that_others_may_write_to_is_refused(
    shared: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of enlist's own that others may write to is refused with what to do."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    registry = local_registry(None if shared else tmp_path / "x")
    folder = tmp_path / (shared or "x-owners")
    folder.mkdir()
    folder.chmod(0o770)

    with pytest.raises(RejectedError, match=f"{folder} can be written by other.*chmod go-w"):
        registry.register(ECHO, TIMEOUT_S)
    registry.close(TIMEOUT_S)


def test_file_that_others_may_write_to_is_refused(path: Path, registries: Registries) -> None:
    """A registry that others may write to could name servers that are none."""
    path.touch()
    path.chmod(0o666)

    with pytest.raises(RejectedError, match=f"{path} can be written by other users"):
        registries().resolve("echo", TIMEOUT_S)


def test_file_of_another_user_is_refused() -> None:
    """A registry that somebody else made is refused: they could make up servers."""
    somebody = os.geteuid() + 1
    found = os.stat_result((stat.S_IFREG | 0o600, 1, 1, 1, somebody, 0, 0, 0, 0, 0))

    with pytest.raises(RejectedError, match=f"/x belongs to user {somebody}, not to you.*local:"):
        refuse_strangers(Path("/x"), found, stat.S_ISREG)


def test_owners_folder_that_is_a_link_is_refused(path: Path, registries: Registries) -> None:
    """A link in the place of the owners' folder leads to somebody's choice."""
    Place(path).owners.symlink_to(path.parent)

    with pytest.raises(RejectedError, match="is something else than the registry needs"):
        registries().register(ECHO, TIMEOUT_S)


def _foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA user_version = 1")
        connection.execute("CREATE TABLE records (a)")


def _newer(path: Path) -> None:
    registry = Registries(path)
    registry().register(ECHO, TIMEOUT_S)
    registry.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 2")


def _damaged(path: Path) -> None:
    registry = Registries(path)
    registry().register(ECHO, TIMEOUT_S)
    registry.close()
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:1024] + b"\xa5" * (size - 1024))


def _emptied(path: Path) -> None:
    registry = Registries(path)
    registry().register(ECHO, TIMEOUT_S)
    registry.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE records")


REFUSED = {
    "foreign": (_foreign, "is a database of another program"),
    "newer": (_newer, "has format 2, and this version of enlist knows format 1"),
    "text": (lambda path: path.write_text("dear diary"), "is no registry but some other file"),
    "long text": (lambda path: path.write_text("x" * 9_999), "is no registry but some other"),
    "damaged": (_damaged, "is damaged .* remove it"),
    "emptied": (_emptied, "is damaged .* remove it"),
}


@pytest.mark.parametrize("spoil, message", REFUSED.values(), ids=REFUSED)
def test_file_that_is_no_registry_is_left_as_it_is(
    spoil: object, message: str, path: Path, registries: Registries
) -> None:
    """A file that is not ours, or is damaged, is refused by name and not changed by a byte."""
    assert callable(spoil)
    spoil(path)
    before = path.read_bytes()
    registry = registries()

    for attempt in (
        lambda: registry.register(ECHO, TIMEOUT_S),
        lambda: registry.resolve("echo", TIMEOUT_S),
        lambda: registry.keep_alive([ECHO], TIMEOUT_S),
        lambda: next(iter(registry.watch("echo", StopToken()))),
    ):
        with pytest.raises(RejectedError, match=f"{path} {message}"):
            attempt()

    assert path.read_bytes() == before
    path.unlink()  # what the error says to do: closing meets a new file


def test_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    """A path in no folder is refused with what to do, and works when the folder is there."""
    registry = Registries(tmp_path / "run" / "x")
    with pytest.raises(UnavailableError, match=f"{tmp_path}/run is no folder; make it"):
        registry().register(ECHO, TIMEOUT_S)
    (tmp_path / "run").mkdir()

    registry().register(ECHO, TIMEOUT_S)
    registry.close()


def test_path_of_a_folder_is_refused(tmp_path: Path) -> None:
    """A folder in the place of the file gives an error that names it."""
    with pytest.raises(UnavailableError, match=f"{tmp_path}: Is a directory"):
        Registries(tmp_path)().probe(TIMEOUT_S)


def test_folder_without_permission_is_unauthorised(plain_folder: Path) -> None:
    """A folder that we may not write to gives an error that names the file."""
    plain_folder.chmod(0o500)

    with pytest.raises(UnauthorisedError, match=f"{plain_folder}/x: Permission denied"):
        Registries(plain_folder / "x")().register(ECHO, TIMEOUT_S)


@pytest.mark.parametrize(
    "number, expected",
    [
        (errno.EROFS, UnavailableError),
        (errno.ENOSPC, UnavailableError),
        (errno.EMFILE, UnavailableError),
        (errno.EACCES, UnauthorisedError),
    ],
)
def test_errors_of_the_system_name_the_file(number: int, expected: type[RegistryError]) -> None:
    """What the operating system refuses becomes an error of enlist that names the file."""
    with pytest.raises(expected, match=f"/x: {os.strerror(number)}"), os_errors_told(Path("/y")):
        raise OSError(number, os.strerror(number), "/x")


MOUNTS = """\
21 28 0:20 / /sys rw,nosuid - sysfs sysfs rw
28 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 28 0:33 / /mnt/a\\040b rw,relatime - nfs4 host:/export rw,vers=4.2
41 28 0:34 / /mnt/ssh rw shared:7 master:1 - fuse.sshfs me@host: rw
42 28 0:35 / /mnt/tmp rw - tmpfs nfs rw
"""


@pytest.mark.parametrize(
    "device, kind",
    [((254, 0), None), ((0, 33), "nfs4"), ((0, 34), "fuse.sshfs"), ((0, 35), None), ((9, 9), None)],
)
def test_network_file_system_is_told_by_its_device(
    device: tuple[int, int], kind: str | None
) -> None:
    """The mount of a device tells whether it is reached over a network."""
    assert network_file_system(os.makedev(*device), MOUNTS) == kind


def test_network_file_system_is_refused(
    path: Path, registries: Registries, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where locks do not tell of a death nothing is registered, and the error says why."""
    device = path.parent.stat().st_dev
    mounts = path.with_name("mounts")
    mounts.write_text(f"1 1 {os.major(device)}:{os.minor(device)} / / rw - nfs4 host:/ rw\n")
    monkeypatch.setattr("enlist.local.place._MOUNTS", mounts)

    with pytest.raises(RejectedError, match=r"network file system \(nfs4\).*a process has ended"):
        registries().register(ECHO, TIMEOUT_S)
    assert not path.exists()


# --- what is survived ----------------------------------------------------------------------------


def test_locked_database_times_out_and_a_watch_lives_on(path: Path, registries: Registries) -> None:
    """While another process holds a lock every call times out; afterwards all goes on [R7]."""
    kept = f"{path}: (another process|other threads of this process) kept the registry"
    registry, reader = registries(), registries()
    registry.register(ECHO, TIMEOUT_S)
    with watching(reader, "echo") as watch:
        watch.wait_for(ECHO)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            for attempt in (
                lambda: registry.register(OTHER, 0.2),
                lambda: registry.keep_alive([ECHO], 0.2),
                lambda: registry.resolve("echo", 0.2),
                lambda: registry.probe(0.01),
            ):
                with pytest.raises(TimedOutError, match=kept):
                    attempt()
            other.execute("ROLLBACK")
        registry.register(OTHER, TIMEOUT_S)
        watch.wait_for(ECHO, OTHER)

    assert watch.error is None


def test_database_locked_for_long_ends_a_watch(path: Path, registries: Registries) -> None:
    """A watch that can read nothing for seconds raises, so that the view is marked stale [V4]."""
    registry, reader = registries(), registries()
    registry.register(ECHO, TIMEOUT_S)
    with watching(reader, "echo") as watch:
        watch.wait_for(ECHO)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            assert isinstance(watch.wait_for_error(), TimedOutError)
            other.execute("ROLLBACK")


@pytest.mark.parametrize("wiped", ["all", "file", "owners"])
def test_wiped_registry_is_written_again(wiped: str, path: Path, registries: Registries) -> None:
    """Files that are removed under a process are found gone by its beat, and restored [K2, K3].

    A watch of a file that was removed fails: an empty list would be one of departures [V8].
    """
    registry, reader = registries(), registries()
    registry.register(ECHO, TIMEOUT_S)
    with watching(reader, "echo") as watch, Server(path) as server:
        watch.wait_for(ECHO)
        assert server.ask("resolve", "echo") == [str(ECHO.addr)]  # nobody opens it anew after this
        if wiped != "owners":
            path.unlink()
            assert isinstance(watch.wait_for_error(), UnavailableError)
        if wiped != "file":
            shutil.rmtree(Place(path).owners)
        assert server.ask("resolve", "echo") == []

        lost = registry.keep_alive([ECHO], TIMEOUT_S).lost
        assert lost == ([] if wiped == "owners" else [Lost(ECHO, Why.GONE)])
        assert registry.restore([ECHO], TIMEOUT_S) == []

        assert server.ask("resolve", "echo") == [str(ECHO.addr)]
    with watching(reader, "echo") as watch:
        watch.wait_for(ECHO)


def test_close_without_the_owners_folder_removes_the_records(
    path: Path, registries: Registries
) -> None:
    """Whoever clears it away keeps no record in the file by that [R6]."""
    registry = registries()
    registry.register(ECHO, TIMEOUT_S)
    shutil.rmtree(Place(path).owners)

    registry.close(TIMEOUT_S)

    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT * FROM records").fetchall() == []


def test_replaced_file_is_followed(path: Path, registries: Registries) -> None:
    """A registry that is moved away is left alone from then on [K3]."""
    registry = registries()
    registry.register(ECHO, TIMEOUT_S)
    moved = path.rename(path.with_name("moved"))
    before = moved.read_bytes()

    registry.register(OTHER, TIMEOUT_S)

    assert registry.resolve("echo", TIMEOUT_S) == [OTHER]
    assert moved.read_bytes() == before


def test_full_disk_is_unavailable_and_leaves_what_was_there(path: Path) -> None:
    """A write that finds no room changes nothing, and works when there is room again [R7]."""
    with Server(path) as server, Server(path) as reader:
        server.ask("register", "echo", "10.0.0.1:1")
        server.ask("limit", path.stat().st_size + 8_192)

        refused = server.ask("restore", "echo", 2_000)

        assert isinstance(refused, dict)
        assert refused["error"] == "UnavailableError"
        assert str(path) in refused["message"]
        assert reader.ask("resolve", "echo") == ["10.0.0.1:1"]
        server.ask("limit", -1)
        assert server.ask("restore", "echo", 2_000) == []
        assert len(reader.ask("resolve", "echo")) == 2_000  # type: ignore[arg-type]  # a list


def test_kill_in_the_middle_of_writes_leaves_a_sound_database(
    path: Path, registries: Registries
) -> None:
    """However often a process is killed while it writes, the others read and write on."""
    registry = registries()
    registry.register(ECHO, TIMEOUT_S)
    for _ in range(8):
        with Server(path) as server:
            server.ask("restore", "churn", 300)
            server.ask("churn")
            server.ask("resolve", "churn")  # it is in the middle of it now
            server.kill()

        assert registry.resolve("churn", TIMEOUT_S) == []
        assert registry.keep_alive([ECHO], TIMEOUT_S).lost == []
        registry.register(OTHER, TIMEOUT_S)
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
