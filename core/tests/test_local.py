"""What the hooks of `local` promise, between registries of one process."""

import datetime as dt
import logging
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pluggy
import pytest

from core.tests.local_world import TIMEOUT_S, Registries, Server, local_registry, watching
from enlist.errors import UnavailableError
from enlist.hookspecs import PROJECT_NAME, Lost, RegistrySpec, Why
from enlist.info import Info
from enlist.local import LocalOptions, LocalRegistry
from enlist.stopping import StopToken

ECHO = Info(service_name="echo", addr="10.0.0.1:8888", tags={"zone": "a"})
OTHER = Info(service_name="echo", addr="10.0.0.2:8888")


@pytest.fixture
def registries(tmp_path: Path) -> Iterator[Registries]:
    opened = Registries(tmp_path / "test.registry")
    yield opened
    opened.close()


def _execute(registries: Registries, statement: str, *values: object) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(registries.path)) as connection, connection:
        return connection.execute(statement, values).fetchall()


HOSTILE = {
    "plain": Info(service_name="echo", addr="10.0.0.1:1"),
    "no traffic": Info(service_name="echo", addr="[::1]:65535", weight=0),
    "most traffic": Info(service_name="echo", addr="[fe80::1%eth0]:1", weight=65_535),
    "unix": Info(service_name="echo", addr="unix:/run/a b'\"%?#.sock"),
    "host": Info(service_name="echo", addr="host_1.example:80", payload_codec="thrift"),
    "quotes": Info(service_name="a'b\"c;--", addr="10.0.0.1:1", tags={"'": '"', "\\": "\0\n"}),
    "scripts": Info(
        service_name="é☃\U0001d4b3 %00", addr="10.0.0.1:1", tags={"\U0001f600": "\u2028"}
    ),
    "longest": Info(service_name="n" * 255, addr="10.0.0.1:1", tags={"k" * 128: "v" * 1024}),
    "largest": Info(
        service_name="echo", addr="10.0.0.1:1", tags={f"{n:028}": "v" * 100 for n in range(64)}
    ),
    "first day": Info(
        service_name="echo",
        addr="10.0.0.1:1",
        start_time=dt.datetime(1, 1, 1, tzinfo=dt.UTC),
        warm_up=dt.timedelta(milliseconds=1),
    ),
    "last day": Info(
        service_name="echo",
        addr="10.0.0.1:1",
        start_time=dt.datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=dt.UTC),
        warm_up=dt.timedelta(days=365),
    ),
}


@pytest.mark.parametrize("info", HOSTILE.values(), ids=HOSTILE)
def test_register_is_seen_whole_by_another(info: Info, registries: Registries) -> None:
    """When register returns, another registry resolves an equal Info [R1, R2]."""
    registries().register(info, TIMEOUT_S)

    assert registries().resolve(info.service_name, TIMEOUT_S) == [info]


def test_register_again_updates_without_a_moment_of_absence(registries: Registries) -> None:
    """Registering again leaves one record, and every reader finds one at every time [R4]."""
    writers, reader = [registries(), registries()], registries()
    writers[0].register(ECHO, TIMEOUT_S)
    found: list[int] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            found.append(len(reader.resolve("echo", TIMEOUT_S)))

    thread = threading.Thread(target=read)
    thread.start()
    for weight in range(100):
        info = Info(service_name="echo", addr=ECHO.addr, weight=weight)
        writers[weight % 2].register(info, TIMEOUT_S)
    done.set()
    thread.join()

    assert set(found) == {1}
    assert [info.weight for info in reader.resolve("echo", TIMEOUT_S)] == [99]


def test_restore_leaves_a_living_owner_alone(registries: Registries) -> None:
    """Register takes an identity over; beat, restore and deregister respect the new owner [R5]."""
    old, new = registries(), registries()
    old.register(ECHO, TIMEOUT_S)
    newer = Info(service_name="echo", addr=ECHO.addr, weight=1)
    new.register(newer, TIMEOUT_S)

    superseded = [Lost(ECHO, Why.SUPERSEDED)]
    assert old.keep_alive([ECHO], TIMEOUT_S).lost == superseded
    assert old.restore([ECHO, OTHER], TIMEOUT_S) == superseded
    old.deregister(ECHO, TIMEOUT_S)
    assert new.resolve("echo", TIMEOUT_S) == [newer, OTHER]

    new.deregister(ECHO, TIMEOUT_S)
    assert old.keep_alive([ECHO, OTHER], TIMEOUT_S).lost == [Lost(ECHO, Why.GONE)]
    assert old.restore([ECHO], TIMEOUT_S) == []
    assert new.resolve("echo", TIMEOUT_S) == [ECHO, OTHER]


def test_restore_of_our_own_writes_what_it_says_now(registries: Registries) -> None:
    """Restore writes over our own record, which may have said something else."""
    registry = registries()
    registry.register(Info(service_name="echo", addr=ECHO.addr, weight=1), TIMEOUT_S)

    registry.restore([ECHO], TIMEOUT_S)

    assert registry.resolve("echo", TIMEOUT_S) == [ECHO]


def test_deregister_removes_at_once_and_needs_nothing_there(registries: Registries) -> None:
    """When deregister returns the instance is gone; without a record it is no error [R6]."""
    registry, reader = registries(), registries()
    registry.deregister(ECHO, TIMEOUT_S)
    registry.register(ECHO, TIMEOUT_S)

    registry.deregister(ECHO, TIMEOUT_S)
    registry.deregister(ECHO, TIMEOUT_S)

    assert reader.resolve("echo", TIMEOUT_S) == []


def test_withdraw_removes_all_of_ours(registries: Registries) -> None:
    """Withdraw removes many at once, and nothing of another owner."""
    registry, other = registries(), registries()
    registry.restore([ECHO, OTHER], TIMEOUT_S)
    other.register(OTHER, TIMEOUT_S)

    assert registry.withdraw([ECHO, OTHER], TIMEOUT_S) == []

    assert other.resolve("echo", TIMEOUT_S) == [OTHER]


def test_keep_alive_tells_the_ttl_and_what_was_deleted_by_hand(registries: Registries) -> None:
    """A beat grants the ttl, and finds that somebody deleted a record [K3]."""
    registry = registries(ttl_s=7.5)
    registry.restore([ECHO, OTHER], TIMEOUT_S)
    _execute(registries, "DELETE FROM records WHERE address = ?", str(ECHO.addr))

    beat = registry.keep_alive([ECHO, OTHER], TIMEOUT_S)

    assert beat.valid_for_s == 7.5
    assert beat.lost == [Lost(ECHO, Why.GONE)]


def test_keep_alive_before_register_finds_nothing(registries: Registries) -> None:
    """A beat for what was never written says that it is gone."""
    assert registries().keep_alive([ECHO], TIMEOUT_S).lost == [Lost(ECHO, Why.GONE)]


@pytest.mark.parametrize("name", ["echo-v2", "Echo", "ech", "echo ", "ECHO", "%", "echo\\", "e_ho"])
def test_resolve_compares_names_exactly(name: str, registries: Registries) -> None:
    """A name finds itself alone, whatever looks like it [V6]."""
    registry = registries()
    registry.register(ECHO, TIMEOUT_S)

    assert registry.resolve(name, TIMEOUT_S) == []


MALFORMED = {
    "no JSON": "{",
    "no object": "[]",
    "nothing": "",
    "a blob": b"\xff\x00",
    "weight": '{"network":"tcp","address":"10.0.0.9:1","weight":"10"}',
    "huge number": '{"network":"tcp","address":"10.0.0.9:1","weight":%s}' % ("9" * 5000),
    "deep": "[" * 100_000,
    "other address": '{"network":"tcp","address":"10.0.0.8:1","weight":10}',
    "tag": '{"network":"tcp","address":"10.0.0.9:1","tags":{"a":1}}',
    "member": '{"network":"tcp","address":"10.0.0.9:1","enlist":7}',
}


@pytest.mark.parametrize("value", MALFORMED.values(), ids=MALFORMED)
def test_resolve_skips_a_malformed_record(
    value: object, registries: Registries, caplog: pytest.LogCaptureFixture
) -> None:
    """A record that somebody wrote by hand is skipped with one warning that names it [V5]."""
    registry = registries()
    registry.register(ECHO, TIMEOUT_S)
    row = "SELECT 'echo', '10.0.0.9:1', owner, ? FROM records"
    _execute(registries, f"INSERT INTO records {row}", value)

    with caplog.at_level(logging.WARNING):
        assert registry.resolve("echo", TIMEOUT_S) == [ECHO]

    (record,) = caplog.records
    assert "echo/10.0.0.9:1" in record.getMessage()


def test_watch_warns_once_of_a_malformed_record(
    registries: Registries, caplog: pytest.LogCaptureFixture
) -> None:
    """A watch goes on over a malformed record, and names it once, not at each change [V5]."""
    registry = registries()
    registry.register(ECHO, TIMEOUT_S)
    _execute(registries, "INSERT INTO records SELECT 'echo', 'x', owner, '' FROM records")

    with watching(registries(), "echo") as watch:
        watch.wait_for(ECHO)
        registry.register(OTHER, TIMEOUT_S)
        watch.wait_for(ECHO, OTHER)

    assert [record.getMessage().count("echo/x") for record in caplog.records] == [1]


@pytest.mark.parametrize("owner", ["", "x", "../../etc/passwd", "a" * 32, b"\xff" * 16])
def test_resolve_leaves_out_a_row_without_an_owner(owner: object, registries: Registries) -> None:
    """A row is there while its owner lives; one that names nobody is no record [R3]."""
    registry = registries()
    registry.register(ECHO, TIMEOUT_S)
    _execute(registries, "UPDATE records SET owner = ?", owner)

    assert registry.resolve("echo", TIMEOUT_S) == []
    assert registry.services(TIMEOUT_S) == []
    assert registry.keep_alive([ECHO], TIMEOUT_S).lost == [Lost(ECHO, Why.GONE)]


def test_services_names_what_can_be_resolved(registries: Registries) -> None:
    """A name is listed while it has a readable record, and once."""
    registry = registries()
    infos = [ECHO, OTHER, Info(service_name="a", addr="10.0.0.1:1")]
    registry.restore(infos, TIMEOUT_S)
    _execute(
        registries, "INSERT INTO records SELECT 'bad', address, owner, '' FROM records LIMIT 1"
    )

    assert registry.services(TIMEOUT_S) == ["a", "echo"]


def test_watch_yields_the_first_list_and_then_changes_alone(registries: Registries) -> None:
    """The first list comes even if empty, then one after each change, and none without [V1, V2]."""
    registry, reader = registries(), registries()
    with watching(reader, "echo") as watch:
        watch.wait_for()
        registry.register(ECHO, TIMEOUT_S)
        watch.wait_for(ECHO)
        registry.register(ECHO, TIMEOUT_S)  # changes the database and nothing in the list
        registry.register(Info(service_name="other", addr="10.0.0.1:1"), TIMEOUT_S)
        registry.keep_alive([ECHO], TIMEOUT_S)
        registry.register(OTHER, TIMEOUT_S)
        watch.wait_for(ECHO, OTHER)
        registry.deregister(ECHO, TIMEOUT_S)
        watch.wait_for(OTHER)

    assert watch.seen == [[], [ECHO], [ECHO, OTHER], [OTHER]]
    assert watch.error is None


def test_watch_of_many_services_needs_one_thread(registries: Registries) -> None:
    """A hundred watches share one thread, which ends with the last of them [V9]."""
    reader = registries()
    stops = [StopToken() for _ in range(100)]
    watches = [reader.watch(f"s{number}", stop) for number, stop in enumerate(stops)]

    assert [next(watch) for watch in watches] == [[]] * 100
    assert _watching_threads() == 1
    for stop, watch in zip(stops[1:], watches[1:], strict=True):
        stop.set()
        assert list(watch) == []
    assert _watching_threads() == 1
    stops[0].set()
    assert list(watches[0]) == []
    assert _watching_threads() == 0


def test_watch_that_is_dropped_leaves_nothing(registries: Registries) -> None:
    """Closing the iterator, or stopping before the first list, ends the watch as well [V9]."""
    reader = registries()
    watch = reader.watch("echo", StopToken())
    assert next(watch) == []

    watch.close()  # type: ignore[attr-defined]  # what the core does to a generator

    assert _watching_threads() == 0
    stop = StopToken()
    stop.set()
    assert list(reader.watch("echo", stop)) == []
    assert _watching_threads() == 0


def test_close_ends_watches_and_removes_only_our_records(registries: Registries) -> None:
    """Closing removes this owner's records at once and ends what still watches."""
    registry, other = registries(), registries()
    registry.register(ECHO, TIMEOUT_S)
    other.register(OTHER, TIMEOUT_S)
    with watching(registry, "echo") as watch:
        watch.wait_for(ECHO, OTHER)
        registry.close(TIMEOUT_S)

    assert other.resolve("echo", TIMEOUT_S) == [OTHER]
    assert [row[0] for row in _execute(registries, "SELECT address FROM records")] == [
        str(OTHER.addr)
    ]


def test_call_that_comes_after_close_opens_nothing(tmp_path: Path) -> None:
    """A beat that waited for a locked file through the close leaves no file open behind."""
    registry = local_registry(tmp_path / "test.registry")
    registry.register(ECHO, TIMEOUT_S)
    registry.close(TIMEOUT_S)

    with pytest.raises(UnavailableError, match="was closed meanwhile"):
        registry.keep_alive([ECHO], TIMEOUT_S)


def test_close_of_an_unused_registry_touches_nothing(tmp_path: Path) -> None:
    """Making and closing a registry does no I/O."""
    registry = LocalRegistry(LocalOptions(path=tmp_path / "x"), secrets.token_hex(16))
    registry.close(TIMEOUT_S)

    assert list(tmp_path.iterdir()) == []


def test_close_leaves_the_locks_of_other_registries(registries: Registries) -> None:
    """Reading, closing and starting beside it does not make a registry look dead to others."""
    registry = registries()
    registry.register(ECHO, TIMEOUT_S)
    with Server(registries.path) as elsewhere:
        for _ in range(3):
            neighbour = registries()
            neighbour.register(OTHER, TIMEOUT_S)
            assert neighbour.resolve("echo", TIMEOUT_S) == [ECHO, OTHER]
            assert neighbour.keep_alive([ECHO], TIMEOUT_S).lost == [Lost(ECHO, Why.SUPERSEDED)]
            neighbour.close(TIMEOUT_S)
            assert elsewhere.ask("resolve", "echo") == [str(ECHO.addr)]


def test_hooks_fit_the_spec(registries: Registries) -> None:
    """Every hook is one of the spec's, and every hook of a backend that can be had is there."""
    manager = pluggy.PluginManager(PROJECT_NAME)
    manager.add_hookspecs(RegistrySpec)
    registry = registries()
    manager.register(registry)
    manager.check_pending()

    hooks = {caller.name for caller in manager.get_hookcallers(registry) or ()}

    spec = {name for name in vars(RegistrySpec) if not name.startswith("_")}
    assert hooks == spec - {"validate"}, "local can carry every valid Info"


def _watching_threads() -> int:
    return sum(thread.name == "enlist-local-watch" for thread in threading.enumerate())
