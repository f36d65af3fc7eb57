"""The one thread of a registry: it sleeps, wakes when something is due, and survives."""

import asyncio
import logging
import math
import threading
from collections.abc import Callable

import pytest

from core.tests.keeping_world import Kept, World, server
from enlist.clock import SystemClock
from enlist.keeping.supervisor import Supervisor
from tests.waiting import eventually

ONE = server(1)


class Timers:
    """What the watches are due, as a test says."""

    def __init__(self) -> None:
        self.due_s = math.inf
        self.ticks = 0
        self.on_tick: Callable[[], None] = lambda: None

    def next_due_s(self) -> float:
        return self.due_s

    def tick(self) -> None:
        self.ticks += 1
        self.on_tick()


class RealTime(World):
    """A world whose clock is the machine's."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = SystemClock()  # type: ignore[assignment]  # nothing here turns it by hand


@pytest.fixture
def world() -> World:
    return RealTime()


@pytest.fixture
def kept(world: World) -> Kept:
    return Kept(world)


def test_beats_in_a_thread_of_its_own(kept: Kept, world: World) -> None:
    """The first registration is followed by a beat, without anybody waiting for it."""
    supervisor = Supervisor(kept.keeper, Timers(), name="world")
    kept.register(ONE)
    supervisor.ensure_running()

    eventually(lambda: "keep_alive" in world.calls, within_s=10, why="the first beat")

    supervisor.stop(5.0)


def test_starts_no_second_thread(kept: Kept) -> None:
    """However often it is asked."""
    supervisor = Supervisor(kept.keeper, Timers(), name="world")
    before = threading.active_count()

    for _ in range(10):
        supervisor.ensure_running()

    assert threading.active_count() == before + 1
    supervisor.stop(5.0)
    assert threading.active_count() == before
    supervisor.ensure_running()
    assert threading.active_count() == before


def test_serves_the_timers_of_the_watches(kept: Kept) -> None:
    """What the watches are due is done, although nothing is registered."""
    timers = Timers()
    supervisor = Supervisor(kept.keeper, timers, name="world")
    supervisor.ensure_running()
    assert timers.ticks == 0

    timers.due_s = 0.01
    supervisor.ensure_running()
    eventually(lambda: timers.ticks > 3, within_s=10, why="timers that are due")

    supervisor.stop(5.0)


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit, asyncio.CancelledError])
def test_survives_timers_that_raise(
    kept: Kept, caplog: pytest.LogCaptureFixture, error: type[BaseException]
) -> None:
    """K9: logged with its traceback, and the thread goes on."""
    timers = Timers()

    def explode() -> None:
        raise error

    timers.on_tick = explode
    timers.due_s = 0.01
    supervisor = Supervisor(kept.keeper, timers, name="world")
    with caplog.at_level(logging.ERROR):
        supervisor.ensure_running()
        eventually(lambda: timers.ticks > 2, within_s=10, why="it goes on")
    supervisor.stop(5.0)

    assert error.__name__ in caplog.text


def test_survives_what_leaves_a_round(
    kept: Kept, world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K9: an extension that exits when it hears of a change does not end the keeper's thread."""
    supervisor = Supervisor(kept.keeper, Timers(), name="world")
    kept.register(ONE)
    heard = threading.Event()

    def leave() -> None:
        heard.set()
        raise SystemExit

    with monkeypatch.context() as patched, caplog.at_level(logging.ERROR):
        patched.setattr(kept.table, "announce", leave)
        supervisor.ensure_running()
        assert heard.wait(10)
    due_s = kept.keeper.seconds_to_round()
    assert due_s is not None
    assert due_s > 0, "the next round is not due at once, over and over"
    kept.keeper.hurry()
    supervisor.ensure_running()

    eventually(lambda: world.calls.count("keep_alive") > 1, within_s=10, why="the next beat")
    supervisor.stop(5.0)


def test_starts_again_a_thread_that_died_and_says_so(
    kept: Kept, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K9: the next public call finds the thread dead, starts another, and logs it."""
    monkeypatch.setattr(threading, "excepthook", lambda _: None)  # the death is the test's own
    timers = Timers()

    supervisor = Supervisor(kept.keeper, timers, name="world")
    before = threading.active_count()
    supervisor.revive()
    assert threading.active_count() == before, "a thread that never ran need not"
    with monkeypatch.context() as patched:
        patched.setattr(timers, "next_due_s", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            supervisor.ensure_running()
        eventually(lambda: threading.active_count() == before, within_s=10, why="it died")

    timers.due_s = 0.01
    with caplog.at_level(logging.ERROR):
        supervisor.revive()

    eventually(lambda: timers.ticks >= 2, within_s=10, why="it looks again")
    supervisor.stop(5.0)
    assert "world: the keeper's thread had died; it was started again" in caplog.text


def test_does_not_wait_for_a_hanging_call_longer_than_told(
    kept: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    """Closing is bounded although a plugin hangs; the thread ends with that call."""
    timers = Timers()
    entered, released = threading.Event(), threading.Event()

    def hang() -> None:
        entered.set()
        released.wait(30)

    timers.on_tick = hang
    timers.due_s = 0.0
    supervisor = Supervisor(kept.keeper, timers, name="world")
    before = threading.active_count()
    supervisor.ensure_running()
    entered.wait(10)

    supervisor.stop(0.05)

    assert "still waiting for the backend" in caplog.text
    released.set()
    eventually(lambda: threading.active_count() == before, within_s=10, why="it ended")


def test_can_be_stopped_before_it_ran_and_from_inside(kept: Kept) -> None:
    """Closing a registry that nobody used, or in a callback, does not wait for itself."""
    Supervisor(kept.keeper, Timers(), name="world").stop(1.0)

    timers = Timers()
    timers.due_s = 0.0
    supervisor = Supervisor(kept.keeper, timers, name="world")
    timers.on_tick = lambda: supervisor.stop(60.0)
    before = threading.active_count()
    supervisor.ensure_running()

    eventually(lambda: timers.ticks == 1, within_s=10, why="it was stopped from inside")
    eventually(lambda: threading.active_count() == before, within_s=10, why="it ended")
