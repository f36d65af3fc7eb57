"""Who counts as alive in `local`: real processes that are killed, frozen and forked."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from core.tests.local_world import TIMEOUT_S, Registries, Server, watching
from enlist.hookspecs import Lost, Why
from enlist.info import Info
from enlist.local.place import Place
from enlist.local.watching import _Lookout
from tests.waiting import eventually

ECHO = Info(service_name="echo", addr="10.0.0.1:8888")
OTHER = Info(service_name="echo", addr="10.0.0.2:8888")
SHORT_TTL_S = 0.6


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "test.registry"


@pytest.fixture
def registries(path: Path) -> Iterator[Registries]:
    opened = Registries(path)
    yield opened
    opened.close()


def _addresses(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {address for (address,) in connection.execute("SELECT address FROM records")}


def test_killed_process_is_gone_at_once(path: Path, registries: Registries) -> None:
    """After kill -9 no resolver finds the process and every watch hears of it, with no ttl [R3]."""
    reader = registries()
    reader.register(OTHER, TIMEOUT_S)
    with Server(path, ttl_s=3600) as server, watching(reader, "echo") as watch:
        server.ask("register", "echo", str(ECHO.addr))
        watch.wait_for(ECHO, OTHER)

        server.kill()

        assert reader.resolve("echo", TIMEOUT_S) == [OTHER]
        assert reader.services(TIMEOUT_S) == ["echo"]
        watch.wait_for(OTHER)


def test_record_of_a_killed_process_is_gone_for_a_beat_and_restored_over(
    path: Path, registries: Registries
) -> None:
    """A dead owner's record counts as none: a beat says gone, and restore writes over it."""
    registry = registries()
    registry.register(ECHO, TIMEOUT_S)
    with Server(path) as server:
        server.ask("register", "echo", str(ECHO.addr))
        assert registry.keep_alive([ECHO], TIMEOUT_S).lost == [Lost(ECHO, Why.SUPERSEDED)]
        server.kill()

    assert registry.keep_alive([ECHO], TIMEOUT_S).lost == [Lost(ECHO, Why.GONE)]
    assert registry.restore([ECHO], TIMEOUT_S) == []
    assert registries().resolve("echo", TIMEOUT_S) == [ECHO]


def test_newcomer_buries_the_dead_and_a_reader_does_not(path: Path, registries: Registries) -> None:
    """What a killed process left is removed by the next one that registers, not by readers."""
    with Server(path) as server:
        server.ask("register", "echo", str(ECHO.addr))
        server.kill()
    newcomer = registries()

    assert newcomer.resolve("echo", TIMEOUT_S) == []
    assert _addresses(path) == {str(ECHO.addr)}
    newcomer.register(OTHER, TIMEOUT_S)

    assert _addresses(path) == {str(OTHER.addr)}
    assert len(list(Place(path).owners.iterdir())) == 1


def test_frozen_process_is_left_out_after_its_ttl_and_comes_back(
    path: Path, registries: Registries
) -> None:
    """A process that hangs is left out when its ttl has passed, kept, and back at its next beat."""
    reader = registries()
    with Server(path, ttl_s=SHORT_TTL_S) as server, watching(reader, "echo") as watch:
        server.ask("register", "echo", str(ECHO.addr))
        server.ask("keep")
        watch.wait_for(ECHO)
        eventually(lambda: reader.resolve("echo", TIMEOUT_S) == [ECHO], why="resolve has it")

        server.freeze()
        watch.wait_for()
        eventually(lambda: not reader.resolve("echo", TIMEOUT_S), why="resolve leaves it out too")
        registries().register(OTHER, TIMEOUT_S)  # buries the dead
        watch.wait_for(OTHER)
        assert _addresses(path) == {str(ECHO.addr), str(OTHER.addr)}

        server.thaw()
        watch.wait_for(ECHO, OTHER)
        eventually(
            lambda: reader.resolve("echo", TIMEOUT_S) == [ECHO, OTHER], why="resolve has it again"
        )


def test_beating_process_stays_with_a_ttl_longer_than_the_readers(
    path: Path, registries: Registries
) -> None:
    """The ttl that counts is the owner's: a reader with a short one does not drop a slow beat."""
    reader = registries(ttl_s=0.1)
    with Server(path, ttl_s=60) as server, watching(reader, "echo") as watch:
        server.ask("register", "echo", str(ECHO.addr))
        watch.wait_for(ECHO)
        with Server(path, ttl_s=SHORT_TTL_S) as frozen:
            frozen.ask("register", "echo", str(OTHER.addr))
            watch.wait_for(ECHO, OTHER)
            frozen.freeze()
            watch.wait_for(ECHO)  # so much longer than 0.1 s has passed

        assert watch.seen[-1] == [ECHO]


def test_restore_takes_the_record_of_a_frozen_process(path: Path, registries: Registries) -> None:
    """When its ttl has passed a frozen owner holds nothing, and learns that when it wakes [R5]."""
    registry = registries()
    with Server(path, ttl_s=SHORT_TTL_S) as server:
        server.ask("register", "echo", str(ECHO.addr))
        server.freeze()
        assert registry.restore([ECHO], TIMEOUT_S) == [Lost(ECHO, Why.SUPERSEDED)]
        eventually(
            lambda: registry.keep_alive([ECHO], TIMEOUT_S).lost == [Lost(ECHO, Why.GONE)],
            why="the frozen owner's ttl has passed",
        )

        assert registry.restore([ECHO], TIMEOUT_S) == []
        server.thaw()
        assert server.ask("beat") == ["superseded"]


def test_forked_child_does_not_keep_its_parent_alive(path: Path, registries: Registries) -> None:
    """A parent that is killed is gone, also for its own child, however long that lives [K7]."""
    reader = registries()
    with Server(path) as server, watching(reader, "echo") as watch:
        server.ask("register", "echo", str(ECHO.addr))
        watch.wait_for(ECHO)
        server.ask("fork")  # from here on the child answers
        server.ask("fresh")
        assert server.ask("resolve", "echo") == [str(ECHO.addr)]

        server.kill()

        watch.wait_for()
        assert reader.resolve("echo", TIMEOUT_S) == []
        assert server.ask("resolve", "echo") == []
        server.ask("register", "echo", str(OTHER.addr))
        watch.wait_for(OTHER)


def test_fork_in_the_middle_of_writes_leaves_the_child_able(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that is forked while other threads write can register, resolve and close [K7]."""
    # A lock of coverage's own, if a thread has it during the fork, would stop the child for ever.
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    with Server(path) as server:
        assert server.ask("fork_while_busy", 30) == [0] * 30


def test_lost_lock_is_taken_again_at_the_next_beat(path: Path, registries: Registries) -> None:
    """Whoever opens and closes our file in this process drops our lock; the next beat mends it."""
    registry = registries()
    registry.register(ECHO, TIMEOUT_S)
    (file,) = Place(path).owners.iterdir()
    with Server(path) as server:
        file.read_bytes()
        assert server.ask("resolve", "echo") == []

        assert registry.keep_alive([ECHO], TIMEOUT_S).lost == []

        assert server.ask("resolve", "echo") == [str(ECHO.addr)]


def test_file_cut_short_is_mended_by_the_next_beat(path: Path, registries: Registries) -> None:
    """A beat that somebody overwrote says nothing until the owner beats again."""
    reader = registries()
    with Server(path) as server:
        server.ask("register", "echo", str(ECHO.addr))
        (file,) = Place(path).owners.iterdir()
        os.truncate(file, 3)
        assert reader.resolve("echo", TIMEOUT_S) == []

        server.ask("beat")

        assert reader.resolve("echo", TIMEOUT_S) == [ECHO]


def test_watch_that_slept_forgets_what_it_knew_of_beats(path: Path) -> None:
    """A reader that slept itself gives everybody a new ttl: they may have slept with it [K5]."""
    lookout = _Lookout(Place(path))
    lookout._doubt_memory()
    before = lookout._lives
    lookout._doubt_memory()
    assert lookout._lives is before

    lookout._looked_at -= 60
    lookout._doubt_memory()

    assert lookout._lives is not before
