"""Shared watches: one thread each, retries, re-openings, supervision [V3, V4, V7 to V9]."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import math
import os
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator, Sequence

import pytest

from core.tests.scripted_source import HOLD_S, A, B, Chance, ScriptedSource, Watching
from enlist.errors import (
    ClosedError,
    PluginBugError,
    RegistryError,
    RejectedError,
    UnauthorisedError,
    UnavailableError,
    UnsupportedError,
)
from enlist.finding.view import Snapshot
from enlist.finding.watch import Conditions, Watch
from enlist.finding.watching import Watches, _abandon
from enlist.hookspecs import Stop
from enlist.info import Info
from tests.waiting import eventually

AWAY = UnavailableError("connection refused")


@pytest.fixture
def world() -> Iterator[Watching]:
    watching = Watching()
    yield watching
    watching.watches.close()


def shows(watch: Watch, *infos: Info, stale: bool = False) -> Snapshot:
    """Wait until the watch shows just these."""

    def look() -> Snapshot | None:
        current = watch.current
        right = current is not None and set(current.instances) == set(infos)
        return current if right and current is not None and current.stale == stale else None

    found = eventually(look, why=f"the view is {[str(info.addr) for info in infos]}, {stale=}")
    assert found is not None
    return found


def of_this_module(records: Sequence[logging.LogRecord]) -> list[tuple[int, str]]:
    return [
        (record.levelno, record.getMessage())
        for record in records
        if record.name.startswith("enlist")
    ]


# --- sharing ------------------------------------------------------------------------------


def test_open_twice_shares_one_watch_and_one_thread(world: Watching) -> None:
    """However many follow a service, it has one stream and one thread, named after it."""
    first, second = world.watches.open("echo"), world.watches.open("echo")
    assert first is second
    world.source.opened(1)
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("enlist-watch-echo") == 1


def test_open_of_two_services_makes_two_watches(world: Watching) -> None:
    """Each service has a stream of its own."""
    world.watches.open("echo")
    world.watches.open("other")
    world.source.opened(2)
    assert {stream.service_name for stream in world.source.streams} == {"echo", "other"}
    assert set(world.watches.active()) == {"echo", "other"}


def test_close_of_one_share_leaves_the_watch_to_the_others(world: Watching) -> None:
    """The watch ends when the last of those who share it closes it, and not before."""
    watch = world.watches.open("echo")
    world.watches.open("echo")
    stream = world.source.opened(1)
    watch.close()
    stream.list(A)
    shows(watch, A)
    watch.close()
    assert stream.ended.is_set()
    assert world.watches.active() == ()
    assert watch.current is None


def test_close_once_too_often_does_not_end_another_watch(world: Watching) -> None:
    """A share given back twice takes nothing from those who opened the service later."""
    old = world.watches.open("echo")
    old.close()
    new = world.watches.open("echo")
    old.close()
    assert new is not old
    assert world.watches.active() == ("echo",)


def test_open_after_close_is_refused(world: Watching) -> None:
    """Closed watches open nothing any more."""
    world.watches.close()
    with pytest.raises(ClosedError, match="scripted: 'echo' cannot be watched"):
        world.watches.open("echo")


def test_open_at_a_backend_that_only_publishes_is_unsupported(world: Watching) -> None:
    """A backend that cannot be read says so by name, at once."""
    world.source.can_resolve = False
    with pytest.raises(UnsupportedError, match=r"'scripted' only publishes.*'echo'"):
        world.watches.open("echo")


# --- failures and retries -----------------------------------------------------------------


def test_watch_that_fails_keeps_the_list_stale_and_is_opened_anew(world: Watching) -> None:
    """An error never empties the view; the watch is opened again, in the same thread [V4]."""
    watch = world.watches.open("echo")
    world.source.opened(1).list(A)
    shows(watch, A)
    thread = next(each for each in threading.enumerate() if each.name == "enlist-watch-echo")
    world.source.opened(1).fail(AWAY)
    again = world.source.opened(2)
    assert shows(watch, A, stale=True).listed
    assert watch.last_error is AWAY
    again.list(A, B)
    shows(watch, A, B)
    assert watch.last_error is None
    assert thread.is_alive()


def test_watch_that_fails_at_once_again_and_again_is_opened_ever_more_slowly() -> None:
    """The first retry comes at once; later ones wait a random part of 1 s, growing to 5 s."""
    world = Watching()
    pauses: list[float] = []

    class Counting(ScriptedSource):
        def watch(self, service_name: str, stop: Stop) -> Iterator[Sequence[Info]]:
            wait = stop.wait

            def noted(seconds: float) -> bool:
                pauses.append(seconds)
                return wait(0.0) if len(pauses) < 7 else wait(60.0)

            stop.wait = noted  # type: ignore[method-assign]  # the token's own wait is what is observed
            raise AWAY

    watches = Watches(Counting(), clock=world.clock, random=Chance(0.5), hold_s=lambda: HOLD_S)
    watches.open("echo")
    eventually(lambda: len(pauses) >= 7, why="seven rounds have failed")
    watches.close()
    assert pauses[:7] == [0.0, 0.5, 1.0, 2.0, 2.5, 2.5, 2.5]


def test_watch_that_lists_and_fails_at_once_is_not_opened_in_a_tight_circle(
    world: Watching,
) -> None:
    """Only a watch that lasted for a while has its next retry at once."""
    world.chance.point = 0.0
    watch = world.watches.open("echo")
    for number in (1, 2, 3):
        stream = world.source.opened(number)
        stream.list(A)
        shows(watch, A)
        stream.fail(AWAY)
    last = world.source.opened(4)
    last.list(A)
    shows(watch, A)
    assert watch._failures == 3
    world.clock.advance(5.0)
    last.fail(AWAY)
    world.source.opened(5)
    assert watch._failures == 1


@pytest.mark.parametrize(
    "error",
    [
        ValueError("not foreseen"),
        SystemExit(1),
        asyncio.CancelledError(),
        PluginBugError("a bug"),
    ],
    ids=repr,
)
def test_watch_that_raises_what_it_must_not_goes_on(
    world: Watching, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing that a plugin raises ends the thread, and a bug is logged with its traceback."""
    watch = world.watches.open("echo")
    world.source.opened(1).fail(error)
    world.source.opened(2).list(A)
    shows(watch, A)
    logged = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.exc_info is not None and record.exc_info[1] for record in logged] == [error]


def test_watch_that_returns_unasked_counts_as_failed(
    world: Watching, caplog: pytest.LogCaptureFixture
) -> None:
    """An iterator that ends by itself is a plugin's bug; the view goes on, stale meanwhile."""
    watch = world.watches.open("echo")
    world.source.opened(1).end()
    world.source.opened(2)
    shows(watch, stale=True)
    assert isinstance(watch.last_error, PluginBugError)
    assert "'scripted' ended a watch without being told to" in str(watch.last_error)
    assert "the watch of 'echo' failed" in caplog.text


def test_watch_that_fails_the_same_way_is_logged_once(
    world: Watching, caplog: pytest.LogCaptureFixture
) -> None:
    """One line tells of each change of the kind of error, and one of the recovery."""
    world.chance.point = 0.0
    watch = world.watches.open("echo")
    errors: list[RegistryError] = [
        AWAY,
        AWAY,
        UnauthorisedError("bad token"),
        RejectedError("no"),
        AWAY,
    ]
    for number, error in enumerate(errors, start=1):
        world.source.opened(number).fail(error)
    world.source.opened(len(errors) + 1).list(A)
    shows(watch, A)
    world.source.opened(len(errors) + 1).list(A, B)
    shows(watch, A, B)
    logged = of_this_module(caplog.records)
    assert [level for level, _ in logged] == [
        logging.WARNING,
        logging.ERROR,
        logging.ERROR,
        logging.WARNING,
        logging.INFO,
    ]
    assert "scripted: the watch of 'echo' failed" in logged[0][1]
    assert "connection refused" in logged[0][1]
    assert "works again" in logged[-1][1]


def test_open_with_an_iterator_that_is_no_generator_works(world: Watching) -> None:
    """A plugin may return any iterator."""

    class Plain(ScriptedSource):
        def watch(self, service_name: str, stop: Stop) -> Iterator[Sequence[Info]]:
            return itertools.chain([[A]], super().watch(service_name, stop))

    source = Plain()
    watches = Watches(source, clock=world.clock, random=Chance(), hold_s=lambda: HOLD_S)
    shows(watches.open("echo"), A)
    watches.close()
    assert source.streams[0].ended.is_set()


# --- holding ------------------------------------------------------------------------------


def test_tick_drops_what_was_held_for_long_enough(
    world: Watching, caplog: pytest.LogCaptureFixture
) -> None:
    """An emptied backend empties its clients only after the hold, and both are logged [V8]."""
    watch = world.watches.open("echo")
    world.source.opened(1).list(A, B)
    shows(watch, A, B)
    world.source.opened(1).fail(AWAY)
    world.source.opened(2).list()
    assert set(shows(watch, A, B).held) == {A, B}
    assert world.watches.next_due_s() == HOLD_S
    world.pass_time(HOLD_S - 1.0)
    shows(watch, A, B)
    world.pass_time(1.0)
    shows(watch)
    assert "2 instances of 'echo' are missing since an outage" in caplog.text
    assert "2 instances of 'echo' did not come back" in caplog.text


def test_reopening_by_schedule_holds_nothing(world: Watching) -> None:
    """What is missing after a scheduled re-opening is gone at once [V7, V8]."""
    watch = world.watches.open("echo")
    world.source.opened(1).list(A, B)
    shows(watch, A, B)
    world.pass_time(60.0)
    world.source.opened(2).list(B)
    assert shows(watch, B).held == ()


# --- re-opening ---------------------------------------------------------------------------


@pytest.mark.parametrize("point,after_s", [(0.0, 48.0), (0.5, 60.0), (1.0, 72.0)])
def test_tick_opens_each_watch_anew_every_minute_or_so(
    world: Watching, point: float, after_s: float
) -> None:
    """Every 60 s, a fifth more or less by chance, a watch is opened anew and never stale [V7]."""
    world.chance.point = point
    watch = world.watches.open("echo")
    world.source.opened(1).list(A)
    shows(watch, A)
    assert world.watches.next_due_s() == pytest.approx(after_s)
    world.pass_time(after_s - 0.5)
    assert len(world.source.streams) == 1
    world.pass_time(0.5)
    second = world.source.opened(2)
    assert world.source.streams[0].ended.is_set()
    shows(watch, A)
    second.list(A)
    assert eventually(world.watches.next_due_s, why="the next re-opening is due") == pytest.approx(
        after_s
    )


def test_tick_for_hours_opens_each_watch_anew_each_time(world: Watching) -> None:
    """Hours of re-openings keep one stream open at a time, in one thread."""
    watch = world.watches.open("echo")
    for hour_part in range(1, 121):
        world.source.opened(hour_part).list(A)
        shows(watch, A)
        world.pass_time(60.0)
    world.source.opened(121)
    assert sum(not stream.ended.is_set() for stream in world.source.streams) == 1


def test_next_due_with_nothing_watched_is_never(world: Watching) -> None:
    """The keeper's thread may sleep while nothing is watched."""
    assert world.watches.next_due_s() == math.inf
    world.watches.tick()


def test_next_due_after_a_reopening_was_asked_for_waits_for_it(world: Watching) -> None:
    """A plugin that is slow to stop does not keep the keeper's thread spinning."""
    world.source.heeds_stop = False
    world.watches.open("echo")
    stream = world.source.opened(1)
    world.pass_time(60.0)
    assert world.watches.next_due_s() == math.inf
    world.source.heeds_stop = True
    stream.list(A)
    world.source.opened(2)
    assert stream.ended.is_set()
    assert world.watches.next_due_s() == 60.0


def test_list_of_a_round_that_was_replaced_is_dropped(world: Watching) -> None:
    """Nothing that an ended stream still says reaches the view [V3]."""
    world.source.heeds_stop = False
    watch = world.watches.open("echo")
    old = world.source.opened(1)
    old.list(A)
    shows(watch, A)
    world.pass_time(60.0)
    world.source.heeds_stop = True
    old.list(B)
    new = world.source.opened(2)
    assert old.ended.is_set()
    shows(watch, A)
    new.list(A, B)
    shows(watch, A, B)


def test_error_of_a_round_that_was_replaced_is_no_failure(
    world: Watching, caplog: pytest.LogCaptureFixture
) -> None:
    """A stream that raises because it was cut off does not make the view stale."""
    caplog.set_level(logging.DEBUG, logger="enlist")
    world.source.heeds_stop = False
    watch = world.watches.open("echo")
    old = world.source.opened(1)
    old.list(A)
    shows(watch, A)
    old.stop.on_stop(lambda: old.fail(AWAY))
    world.source.heeds_stop = True
    world.pass_time(60.0)
    world.source.opened(2)
    shows(watch, A)
    assert watch.last_error is None
    assert [level for level, _ in of_this_module(caplog.records)] == [logging.DEBUG]


# --- the keeper's signs of life -----------------------------------------------------------


def test_backend_failed_marks_every_view_stale_and_cuts_no_stream(world: Watching) -> None:
    """A frozen backend, before which a watch stays silent, is noticed by the keeper [V4]."""
    watch = world.watches.open("echo")
    stream = world.source.opened(1)
    stream.list(A)
    shows(watch, A)
    world.watches.backend_failed(AWAY)
    shows(watch, A, stale=True)
    assert watch.last_error is AWAY
    assert not stream.ended.is_set()


def test_list_while_the_backend_is_away_adds_and_stays_stale(world: Watching) -> None:
    """What a stream says while beats fail is shown, but nothing is dropped on its word."""
    watch = world.watches.open("echo")
    stream = world.source.opened(1)
    stream.list(A)
    shows(watch, A)
    world.watches.backend_failed(AWAY)
    stream.list(B)
    shows(watch, A, B, stale=True)
    assert watch.last_error is AWAY


def test_backend_answered_after_a_failure_opens_every_watch_anew_as_failed(
    world: Watching,
) -> None:
    """A stream that was silent through an outage is not trusted, and what it lost is held."""
    watch = world.watches.open("echo")
    first = world.source.opened(1)
    first.list(A, B)
    shows(watch, A, B)
    world.watches.backend_failed(AWAY)
    world.watches.backend_answered()
    second = world.source.opened(2)
    assert first.ended.is_set()
    shows(watch, A, B, stale=True)
    second.list(B)
    assert shows(watch, A, B).held == (A,)


def test_backend_answered_without_a_failure_opens_nothing_anew(world: Watching) -> None:
    """The beats of a healthy backend leave the streams alone; so does a second answer."""
    watch = world.watches.open("echo")
    world.source.opened(1).list(A)
    shows(watch, A)
    world.watches.backend_answered()
    world.watches.backend_failed(AWAY)
    world.watches.backend_answered()
    world.source.opened(2).list(A)
    shows(watch, A)
    world.watches.backend_answered()
    assert len(world.source.streams) == 2


def test_backend_answered_wakes_a_watch_that_waits_to_retry(world: Watching) -> None:
    """Once the keeper knows that the backend is back, no watch waits for its own retry."""
    world.watches.open("echo")
    world.source.opened(1).fail(AWAY)
    world.chance.point = 1e9  # so long that only a wake-up can end it
    world.source.opened(2).fail(AWAY)
    eventually(world.source.streams[1].ended.is_set, why="the second round has failed")
    world.watches.backend_failed(AWAY)
    world.chance.point = 0.5
    world.watches.backend_answered()
    world.source.opened(3)


def test_open_after_all_was_closed_forgets_an_old_failure(world: Watching) -> None:
    """What was heard of the backend before anything was watched says nothing now."""
    watch = world.watches.open("echo")
    world.source.opened(1)
    world.watches.backend_failed(AWAY)
    watch.close()
    fresh = world.watches.open("echo")
    world.source.opened(2).list(A)
    shows(fresh, A)


# --- telling ------------------------------------------------------------------------------


def test_changes_are_told_in_order_with_name_instances_and_staleness() -> None:
    """Whoever asked hears of each change: lists, failures and what the keeper finds."""
    told: list[tuple[str, tuple[Info, ...], bool]] = []
    world = Watching(lambda name, infos, stale: told.append((name, tuple(infos), stale)))
    world.watches.open("echo")
    stream = world.source.opened(1)
    stream.list(A)
    eventually(lambda: len(told) == 1, why="the first list is told")
    world.watches.backend_failed(AWAY)
    eventually(lambda: len(told) == 2, why="the outage is told")
    stream.list(A, B)
    eventually(lambda: len(told) == 3, why="the second list is told")
    world.watches.close()
    assert told == [
        ("echo", (A,), False),
        ("echo", (A,), True),
        ("echo", (A, B), True),
    ]


def test_unchanged_lists_are_not_told(world: Watching) -> None:
    """Nobody is woken for a list that says nothing new."""
    told: list[Snapshot] = []
    watch = world.watches.open("echo")
    watch.subscribe(told.append)
    stream = world.source.opened(1)
    stream.list(A)
    stream.list(A)
    stream.list(A, B)
    shows(watch, A, B)
    eventually(lambda: len(told) == 2, why="both changes are told")
    assert [len(snapshot.instances) for snapshot in told] == [1, 2]


def test_callback_that_raises_stops_nobody(
    world: Watching, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception in one callback is logged; the others and the watch go on."""

    def broken(_: Snapshot) -> None:
        raise SystemExit(3)

    told: list[Snapshot] = []
    watch = world.watches.open("echo")
    watch.subscribe(broken)
    watch.subscribe(told.append)
    stream = world.source.opened(1)
    stream.list(A)
    stream.list(A, B)
    eventually(lambda: bool(told) and len(told[-1].instances) == 2, why="the newest is told")
    assert "a callback for changes of 'echo' failed" in caplog.text


def test_callback_that_is_slow_does_not_hold_up_the_keeper(world: Watching) -> None:
    """A sign of life is never delayed by a callback; the newest state is told in the end."""
    inside, go_on = threading.Event(), threading.Event()
    told: list[bool] = []

    def slow(snapshot: Snapshot) -> None:
        told.append(snapshot.stale)
        inside.set()
        assert go_on.wait(10.0)

    watch = world.watches.open("echo")
    watch.subscribe(slow)
    watch.subscribe(lambda _: None)
    stream = world.source.opened(1)
    stream.list(A)
    assert inside.wait(10.0)
    world.watches.backend_failed(AWAY)
    world.watches.backend_answered()
    world.watches.backend_failed(AWAY)
    go_on.set()
    eventually(lambda: told == [False, True], why="only the newest of the skipped is told")


def test_list_while_an_outage_is_being_told_is_left_to_the_thread_that_tells(
    world: Watching,
) -> None:
    """No callback is called twice at a time, and the watch does not wait for a slow one."""
    inside, go_on = threading.Event(), threading.Event()
    told: list[tuple[int, str]] = []

    def slow(snapshot: Snapshot) -> None:
        told.append((len(snapshot.instances), threading.current_thread().name))
        inside.set()
        assert go_on.wait(10.0)

    watch = world.watches.open("echo")
    stream = world.source.opened(1)
    stream.list(A)
    shows(watch, A)
    watch.subscribe(slow)
    world.watches.backend_failed(AWAY)
    assert inside.wait(10.0)
    stream.list(A, B)
    shows(watch, A, B, stale=True)
    stream.end()
    assert stream.ended.wait(10.0)
    assert len(told) == 1
    go_on.set()
    eventually(lambda: len(told) == 2, why="the list is told")
    assert told == [(1, "enlist-watch-callbacks"), (2, "enlist-watch-callbacks")]


def test_callbacks_of_two_services_are_told_of_one_outage(world: Watching) -> None:
    """One thread tells the callbacks of all services, and ends when it is done."""
    told: list[str] = []
    for name in ("echo", "other", "silent"):
        watch = world.watches.open(name)
        if name != "silent":
            watch.subscribe(lambda _, name=name: told.append(name))  # type: ignore[misc]  # the default binds the loop's name
    world.source.opened(3)
    for stream in world.source.streams:
        stream.list(Info(service_name=stream.service_name, addr="10.0.0.1:80"))
    eventually(lambda: sorted(told) == ["echo", "other"], why="both first lists are told")
    world.watches.backend_failed(AWAY)
    eventually(lambda: sorted(told) == ["echo", "echo", "other", "other"], why="the outage is told")
    eventually(
        lambda: "enlist-watch-callbacks" not in [each.name for each in threading.enumerate()],
        why="the telling thread has ended",
    )


def test_subscribe_while_others_are_being_told_does_not_tell_what_was_there(
    world: Watching,
) -> None:
    """Whoever has seen a snapshot and subscribes then is not told of it again."""
    inside, go_on = threading.Event(), threading.Event()

    def slow(_: Snapshot) -> None:
        inside.set()
        assert go_on.wait(10.0)

    told: list[Snapshot] = []
    watch = world.watches.open("echo")
    watch.subscribe(slow)
    stream = world.source.opened(1)
    stream.list(A)
    assert inside.wait(10.0)
    world.watches.backend_failed(AWAY)
    shows(watch, A, stale=True)
    watch.subscribe(told.append)
    go_on.set()
    stream.list(A, B)
    eventually(lambda: bool(told), why="the next change is told")
    assert [len(snapshot.instances) for snapshot in told] == [2]


def test_subscribe_ended_twice_is_told_no_more(world: Watching) -> None:
    """Ending a subscription a second time does nothing."""
    told: list[Snapshot] = []
    watch = world.watches.open("echo")
    end = watch.subscribe(told.append)
    end()
    end()
    world.source.opened(1).list(A)
    shows(watch, A)
    assert told == []


# --- the end ------------------------------------------------------------------------------


def test_close_ends_all_threads_soon_and_wakes_who_waits(world: Watching) -> None:
    """Also a blocked watch ends with its stop token, and nobody waits for it in vain [V9]."""
    watches = [world.watches.open(f"echo-{number}") for number in range(20)]
    world.source.opened(20)
    waiting = threading.Thread(target=lambda: watches[0].wait_until(lambda _: False, 60.0))
    waiting.start()
    began = time.monotonic()
    world.watches.close()
    assert time.monotonic() - began < 2.0
    assert not [each for each in threading.enumerate() if each.name.startswith("enlist-watch")]
    waiting.join(10.0)
    assert not waiting.is_alive()


def test_close_before_the_thread_has_opened_anything_opens_nothing() -> None:
    """A watch that is stopped before its first round has none."""
    world = Watching()
    watch = world.watches.open("echo")
    world.watches.close()
    assert watch.current is None
    assert all(stream.ended.is_set() for stream in world.source.streams)


def test_close_with_a_plugin_that_ignores_stop_is_bounded_and_names_it(
    world: Watching, caplog: pytest.LogCaptureFixture
) -> None:
    """A plugin that does not heed its token cannot hang the caller."""
    world.source.heeds_stop = False
    world.watches.open("echo")
    stream = world.source.opened(1)
    world.watches.close(timeout_s=0.05)
    assert "scripted: the watch of 'echo' did not end within 0.05 s" in caplog.text
    stream.end()
    assert stream.ended.wait(10.0)


def test_close_from_a_callback_does_not_wait_for_itself(world: Watching) -> None:
    """Whoever closes the last share from its own callback is not blocked by that."""
    watch = world.watches.open("echo")
    closed = threading.Event()

    def close(_: Snapshot) -> None:
        watch.close()
        closed.set()

    watch.subscribe(close)
    world.source.opened(1).list(A)
    assert closed.wait(10.0)
    assert world.watches.active() == ()


def test_close_from_a_callback_of_an_outage_does_not_wait_for_itself(world: Watching) -> None:
    """The thread that tells of outages may close everything, too."""
    watch = world.watches.open("echo")
    world.source.opened(1).list(A)
    shows(watch, A)
    closed = threading.Event()

    def close(snapshot: Snapshot) -> None:
        if snapshot.stale:
            world.watches.close()
            closed.set()

    watch.subscribe(close)
    world.watches.backend_failed(AWAY)
    assert closed.wait(10.0)


def test_close_waits_for_a_callback_of_an_outage(world: Watching) -> None:
    """Closing waits, within its time, for a callback that is being called."""
    watch = world.watches.open("echo")
    world.source.opened(1).list(A)
    shows(watch, A)
    inside, go_on = threading.Event(), threading.Event()

    def slow(_: Snapshot) -> None:
        inside.set()
        assert go_on.wait(10.0)

    watch.subscribe(slow)
    world.watches.backend_failed(AWAY)
    assert inside.wait(10.0)
    threading.Timer(0.05, go_on.set).start()
    world.watches.close(timeout_s=10.0)
    assert go_on.is_set()


def test_change_after_the_end_is_not_shown(world: Watching) -> None:
    """What the keeper hears after a watch was closed does not bring it back."""
    watch = world.watches.open("echo")
    world.source.opened(1).list(A)
    shows(watch, A)
    watch.stop()
    assert not watch.doubt(AWAY)
    assert watch.current is None


def test_stop_before_the_first_round_leaves_nothing_to_do(world: Watching) -> None:
    """A watch that is stopped before its thread came to anything opens no stream."""
    conditions = Conditions(world.clock, world.chance, lambda: HOLD_S, lambda: False)
    watch = Watch("echo", world.source, conditions, lambda _: None)
    assert watch.due_at == math.inf
    watch.stop()
    watch.start()
    assert watch.join(10.0)
    assert world.source.streams == []


# --- forks --------------------------------------------------------------------------------


def in_child(check: Callable[[], bool]) -> bool:
    """Return what the check says in a forked child, which ends without any clean-up."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if check() else 2
        except BaseException:  # noqa: BLE001 - a child must not go on with its parent's tests
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_abandon_lets_go_of_everything_and_stops_nothing(world: Watching) -> None:
    """What is called in a forked child ends no stream: that would be the parent's."""
    watch = world.watches.open("echo")
    stream = world.source.opened(1)
    stream.list(A)
    shows(watch, A)
    _abandon(weakref.ref(world.watches))
    watch.close()
    assert (watch.abandoned, watch.current, world.watches.active()) == (True, None, ())
    assert not stream.stop.is_set()
    with pytest.raises(ClosedError):
        world.watches.open("echo")
    watch.stop()
    assert watch.join(10.0)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_fork_abandons_the_watches_in_the_child_alone(world: Watching) -> None:
    """A child touches no stream and no lock of its parent, whose watches go on [K7]."""
    watch = world.watches.open("echo")
    stream = world.source.opened(1)
    stream.list(A)
    shows(watch, A)

    def untouched() -> bool:
        watch.wait_until(lambda _: False, 60.0)
        watch.close()
        world.watches.close()
        return watch.abandoned and watch.current is None and not stream.stop.is_set()

    # Locks that another thread held at the fork stay held in the child.
    with world.watches._lock, watch._changed:
        assert in_child(untouched)
    assert not watch.abandoned
    stream.list(A, B)
    shows(watch, A, B)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_fork_after_the_watches_were_collected_is_harmless() -> None:
    """What stays registered for forks neither keeps watches alive nor misses them."""
    world = Watching()
    world.watches.close()
    collected = weakref.ref(world.watches)
    del world
    gc.collect()
    assert collected() is None
    _abandon(collected)
    assert in_child(lambda: True)
