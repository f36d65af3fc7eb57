"""How everything is left at the end, while calls and the keeper are still at work."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from core.tests.keeping_world import HandClock, Kept, World, WorldPlugin, server
from core.tests.local_world import TIMEOUT_S, local_registry
from enlist import open_registry
from enlist.backend import Backend
from enlist.clock import Deadline, SystemClock
from enlist.errors import ClosedError, RejectedError, UnavailableError
from enlist.hookspecs import Lost, hookimpl
from enlist.info import Info
from enlist.local import LocalOptions
from enlist.states import State
from tests.waiting import eventually

ONE, TWO, THREE = server(1), server(2), server(3)
IN_TIME_S = 30.0


class Gate:
    """Holds up whoever comes while it is shut."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()
        self.open.set()

    def pass_through(self) -> None:
        if not self.open.is_set():
            self.reached.set()
            assert self.open.wait(IN_TIME_S)


class Gated(WorldPlugin):
    """A plugin whose writes can be held up; it removes nothing when it is closed."""

    def __init__(self, world: World, gate: Gate) -> None:
        super().__init__(world)
        self.gate = gate

    @hookimpl
    def register(self, info: Info, timeout_s: float) -> None:
        self.gate.pass_through()
        super().register(info, timeout_s)

    @hookimpl
    def restore(self, infos: Sequence[Info], timeout_s: float) -> Sequence[Lost]:
        self.gate.pass_through()
        return super().restore(infos, timeout_s)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def kept(world: World, gate: Gate) -> Kept:
    return Kept(world, plugin=Gated(world, gate))


@pytest.fixture
def threads(gate: Gate) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as executor:
        yield executor
        gate.open.set()


def held_up(threads: ThreadPoolExecutor, gate: Gate, call: Callable[[], object]) -> Future[object]:
    """Begin a call in a thread and return when its write waits at the gate."""
    gate.open.clear()
    running = threads.submit(call)
    assert gate.reached.wait(IN_TIME_S)
    return running


def registers(kept: Kept) -> None:
    kept.register(ONE)


def registers_many(kept: Kept) -> None:
    kept.calls.register_all([ONE, THREE], kept.deadline())


def restores(kept: Kept) -> None:
    kept.keeper.round()


@pytest.mark.parametrize("write", [registers, registers_many, restores])
def test_leaving_removes_what_is_being_written(
    write: Callable[[Kept], None],
    kept: Kept,
    world: World,
    gate: Gate,
    threads: ThreadPoolExecutor,
) -> None:
    """A write that ends in time leaves no record behind, whoever makes it."""
    kept.calls.register_all([ONE, TWO], kept.deadline())
    del world.records[ONE.identity]
    writing = held_up(threads, gate, lambda: write(kept))

    leaving = threads.submit(kept.calls.leave, Deadline(SystemClock(), IN_TIME_S))
    eventually(lambda: kept.states().get(ONE.identity) is State.LEAVING, why="it leaves")
    gate.open.set()

    assert leaving.result(IN_TIME_S) == 0
    writing.result(IN_TIME_S)
    assert world.records == {}


def test_leaving_waits_for_a_write_no_longer_than_its_deadline(
    kept: Kept, world: World, gate: Gate, threads: ThreadPoolExecutor
) -> None:
    """What can be removed is removed before that, and what may remain is counted."""
    kept.register(TWO)
    writing = held_up(threads, gate, lambda: kept.register(ONE))

    assert kept.calls.leave(Deadline(SystemClock(), 0.05)) == 1

    assert world.records == {}
    gate.open.set()
    writing.result(IN_TIME_S)


def test_leaving_tries_each_removal_once(kept: Kept, world: World) -> None:
    """A server that refuses or is away is not asked again and again until time is up."""
    kept.register(ONE)
    kept.register(TWO)
    world.break_down("away")
    world.calls.clear()

    assert kept.calls.leave(Deadline(SystemClock(), IN_TIME_S)) == 2

    assert world.calls == ["deregister"]


def test_no_call_begins_after_leaving(kept: Kept, world: World) -> None:
    """One that had found the registry open just before it was closed writes nothing."""
    kept.calls.leave(kept.deadline())

    calls: list[Callable[[], None]] = [
        lambda: kept.register(ONE),
        lambda: kept.calls.register_all([ONE], kept.deadline()),
        lambda: kept.deregister(ONE),
    ]
    for call in calls:
        with pytest.raises(ClosedError, match="open another"):
            call()

    assert world.calls == []
    assert len(kept.table) == 0


def test_plugin_is_closed_after_a_register_under_way(
    gate: Gate, threads: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    """`close` is the last that a plugin hears, and the record is removed before."""
    heard: list[str] = []

    class Noticeboard:
        """The least that a plugin can be."""

        spec_version = 1
        Options = LocalOptions

        def __init__(self, options: object, owner: str) -> None:
            pass

        @hookimpl
        def register(self, info: Info) -> None:
            heard.append("register")
            gate.pass_through()
            heard.append("registered")

        @hookimpl
        def deregister(self, info: Info) -> None:
            heard.append("deregister")

        @hookimpl
        def close(self) -> None:
            heard.append("close")

    caplog.set_level(logging.INFO)
    registry = open_registry(Noticeboard)
    registering = held_up(threads, gate, lambda: registry.register(ONE))
    closing = threads.submit(registry.close)
    eventually(lambda: "leaving" in caplog.text, why="closing has begun")
    gate.open.set()

    closing.result(IN_TIME_S)
    registering.result(IN_TIME_S)
    assert heard == ["register", "registered", "deregister", "close"]


class Refusing(WorldPlugin):
    """Removes nobody whose weight is 0, and is away for weight 1."""

    @hookimpl
    def deregister(self, info: Info, timeout_s: float) -> None:
        if info.weight == 0:
            raise RejectedError("this one stays")
        if info.weight == 1:
            raise UnavailableError("nobody is there")
        super().deregister(info, timeout_s)


def test_one_refusal_keeps_no_other_from_leaving(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Without `withdraw` each is removed by itself; what is refused is told, and may remain."""
    backend = Backend(Refusing(world), name="world", clock=HandClock())
    infos = [server(1, weight=0), TWO, server(3, weight=0), server(4)]
    for info in infos:
        backend.register(info, 1.0)

    assert backend.withdraw(infos, 1.0) == (infos[0], infos[2])

    assert set(world.records) == {infos[0].identity, infos[2].identity}
    assert caplog.messages == ["world: could not remove echo at 10.0.0.2:80: this one stays"]


def test_silence_ends_the_removals(world: World) -> None:
    """What was refused before, and all from the first that nobody answered, may remain."""
    backend = Backend(Refusing(world), name="world", clock=HandClock())
    infos = [server(1, weight=0), TWO, server(3, weight=1), server(4)]
    for info in infos:
        backend.register(info, 1.0)

    assert backend.withdraw(infos, 1.0) == (infos[0], infos[2], infos[3])


def test_local_registers_nothing_once_its_life_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A late call gets no turn before the store is closed: it would bring the owner to life again.

    Nobody would end that life, and no lock is let go of while the process lives.
    """
    registry = local_registry(tmp_path / "test.registry")
    registry.register(ONE, TIMEOUT_S)
    end = registry._life.end

    def end_with_a_late_call() -> None:
        end()
        with pytest.raises(UnavailableError, match="was closed meanwhile"):
            registry.register(TWO, TIMEOUT_S)

    monkeypatch.setattr(registry._life, "end", end_with_a_late_call)
    registry.close(TIMEOUT_S)

    assert not registry._life.has_begun
