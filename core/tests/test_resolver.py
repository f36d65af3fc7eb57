"""Resolver: one service as a client sees it."""

from __future__ import annotations

import datetime as dt
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import enlist
from core.tests.scripted_source import A, B, C, Watching
from core.tests.test_watching import AWAY, in_child, shows
from enlist.clock import Clock, SystemClock
from enlist.errors import (
    ClosedError,
    InvalidInfoError,
    InvalidOptionError,
    NoInstanceError,
    TimedOutError,
    UnavailableError,
)
from enlist.finding.balance import Table
from enlist.finding.resolver import Resolver
from enlist.finding.view import Snapshot
from enlist.info import Info
from tests.waiting import eventually

SOON = dt.timedelta(milliseconds=20)
LONG = dt.timedelta(seconds=30)
IN_A = Info(service_name="echo", addr="10.0.0.11:80", tags={"zone": "a", "rack": "1"})
IN_B = Info(service_name="echo", addr="10.0.0.12:80", tags={"zone": "b", "rack": "1"})
forks = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture
def world() -> Iterator[Watching]:
    watching = Watching()
    yield watching
    watching.watches.close()


def resolver_of(
    world: Watching,
    *,
    tags: dict[str, str] | None = None,
    timeout_s: float = 30.0,
    clock: Clock | None = None,
) -> Resolver:
    return Resolver(
        lambda: world.watches.open("echo"),
        clock=clock or SystemClock(),
        timeout_s=timeout_s,
        tags=tags,
    )


def listing(world: Watching, *infos: Info, tags: dict[str, str] | None = None) -> Resolver:
    """Return a resolver that has had one list."""
    resolver = resolver_of(world, tags=tags)
    world.source.opened(1).list(*infos)
    shows(world.watches.open("echo"), *infos)
    return resolver


# --- looking ------------------------------------------------------------------------------


def test_resolver_before_the_first_list_is_empty_and_stale_and_does_not_wait(
    world: Watching,
) -> None:
    """Opening and looking never wait; that nothing is known yet is said."""
    resolver = resolver_of(world)
    assert resolver.snapshot() == Snapshot((), stale=True, held=(), listed=False)
    assert (resolver.instances, resolver.stale, resolver.last_error) == ((), True, None)
    assert resolver.service_name == "echo"


def test_resolver_shows_what_the_watch_lists(world: Watching) -> None:
    """The view follows each list."""
    resolver = listing(world, A)
    assert (resolver.instances, resolver.stale) == ((A,), False)
    world.source.streams[0].list(A, B)
    assert set(resolver.wait_for(2, LONG)) == {A, B}


def test_resolver_in_an_outage_keeps_the_list_and_may_be_picked_from(world: Watching) -> None:
    """While the backend is away the last list stays, marked stale, with the reason."""
    resolver = listing(world, A)
    world.watches.backend_failed(AWAY)
    assert resolver.snapshot() == Snapshot((A,), stale=True, held=(), listed=True)
    assert resolver.last_error is AWAY
    assert resolver.pick() == A


def test_resolver_holds_what_an_emptied_backend_lacks(world: Watching) -> None:
    """What is held is shown, named as held, and may be picked."""
    resolver = listing(world, A)
    world.source.streams[0].fail(AWAY)
    world.source.opened(2).list()
    eventually(lambda: resolver.snapshot().held == (A,), why="the missing instance is held")
    assert resolver.pick() == A


@pytest.mark.parametrize(
    "tags,expected",
    [
        ({}, {IN_A, IN_B, C}),
        ({"zone": "a"}, {IN_A}),
        ({"rack": "1"}, {IN_A, IN_B}),
        ({"rack": "1", "zone": "b"}, {IN_B}),
        ({"zone": "c"}, set()),
        ({"zone": ""}, set()),
    ],
)
def test_resolver_with_tags_shows_only_those_that_have_all(
    world: Watching, tags: dict[str, str], expected: set[Info]
) -> None:
    """An instance is shown if it has every tag that was asked for, with that value."""
    resolver = listing(world, IN_A, IN_B, C, tags=tags)
    assert set(resolver.instances) == expected
    assert resolver.snapshot() is resolver.snapshot()


def test_resolver_with_tags_filters_the_held_too(world: Watching) -> None:
    """What is held belongs to the view only if its tags fit."""
    resolver = listing(world, IN_A, IN_B, tags={"zone": "a"})
    world.source.streams[0].fail(AWAY)
    world.source.opened(2).list()
    eventually(lambda: resolver.snapshot().held == (IN_A,), why="the one that fits is held")


def test_resolver_with_impossible_tags_is_refused_before_anything_is_watched(
    world: Watching,
) -> None:
    """A tag that no server can have is a mistake, and nothing is left of the attempt."""
    with pytest.raises(InvalidInfoError, match="tags"):
        resolver_of(world, tags={"": "a"})
    assert world.watches.active() == ()


def test_repr_names_service_backend_and_state(world: Watching) -> None:
    """A resolver in a log says what it is."""
    resolver = listing(world, IN_A, tags={"zone": "a"})
    assert repr(resolver) == "<Resolver of 'echo' with tags {'zone': 'a'} at scripted: 1 instances>"
    resolver.close()
    assert repr(resolver) == "<Resolver of 'echo' with tags {'zone': 'a'} at scripted: closed>"


# --- waiting ------------------------------------------------------------------------------


def test_wait_for_nothing_waits_for_the_first_list(world: Watching) -> None:
    """With 0, an empty first list is enough, and no list is not."""
    resolver = resolver_of(world)
    with pytest.raises(
        TimedOutError,
        match=r"scripted: waited 0.02 s for the first list of 'echo'; there are 0; "
        r"the view is stale, and no list has come",
    ):
        resolver.wait_for(0, SOON)
    world.source.opened(1).list()
    assert resolver.wait_for(0, LONG) == ()


def test_wait_for_more_than_there_are_says_how_many_and_why(world: Watching) -> None:
    """The error tells how many there are, whether that is stale, and the last error."""
    resolver = listing(world, A)
    with pytest.raises(TimedOutError, match=r"waited 0.02 s for 2 of 'echo'; there are 1$"):
        resolver.wait_for(2, SOON)
    world.watches.backend_failed(AWAY)
    with pytest.raises(
        TimedOutError, match=r"there are 1; the view is stale; last error: connection refused"
    ) as caught:
        resolver.wait_for(2, SOON)
    assert caught.value.__cause__ is AWAY


def test_wait_for_without_a_timeout_uses_the_one_of_the_registry(world: Watching) -> None:
    """The registry's own timeout is the default."""
    resolver = resolver_of(world, timeout_s=0.01)
    with pytest.raises(TimedOutError, match=r"waited 0.01 s"):
        resolver.wait_for()


def test_wait_for_a_practically_endless_time_is_possible(world: Watching) -> None:
    """The longest timedelta is longer than any lock can wait, and is no error."""
    assert listing(world, A).wait_for(1, dt.timedelta.max) == (A,)


@pytest.mark.parametrize("n", [-1, 1.5, True, None])
def test_wait_for_an_impossible_number_is_refused(world: Watching, n: object) -> None:
    """The number is a whole one and not negative."""
    with pytest.raises(InvalidOptionError, match="n="):
        resolver_of(world).wait_for(n)  # type: ignore[arg-type]  # what is wrong is the test


@pytest.mark.parametrize("timeout", [dt.timedelta(seconds=-1), 3.0])
def test_wait_for_an_impossible_time_is_refused(world: Watching, timeout: object) -> None:
    """The timeout is a timedelta and not negative."""
    with pytest.raises(InvalidOptionError, match="timeout="):
        resolver_of(world).wait_for(1, timeout)  # type: ignore[arg-type]  # what is wrong is the test


def test_calling_back_what_cannot_be_called_is_refused(world: Watching) -> None:
    """A callback that is none would be found out in a log, at the first change."""
    with pytest.raises(InvalidOptionError, match="callback=5: must be a function"):
        resolver_of(world).on_change(5)  # type: ignore[arg-type]  # what is wrong is the test


# --- picking ------------------------------------------------------------------------------


def test_pick_before_the_first_list_waits_for_it(world: Watching) -> None:
    """A client that starts does not fail because its first list is still on its way."""
    resolver = resolver_of(world)
    stream = world.source.opened(1)
    threading.Timer(0.05, lambda: stream.list(A)).start()
    assert resolver.pick() == A


def test_pick_with_the_backend_down_from_the_start_waits_once_in_all(world: Watching) -> None:
    """Only the first pick waits out the timeout; the next ones fail at once, with the reason."""
    world.chance.point = 1e9
    resolver = resolver_of(world, timeout_s=0.2)
    world.source.opened(1).fail(AWAY)
    world.source.opened(2).fail(AWAY)
    with pytest.raises(
        UnavailableError, match=r"nothing is known of 'echo' yet.*connection refused"
    ):
        resolver.pick()
    resolver._timeout_s = 60.0
    began = time.monotonic()
    with pytest.raises(UnavailableError, match="nothing is known of 'echo' yet"):
        resolver.pick()
    assert time.monotonic() - began < 10.0
    assert not isinstance(resolver.last_error, NoInstanceError)


def test_pick_of_nobody_says_how_many_are_known_and_why(world: Watching) -> None:
    """The error is a LookupError that tells what stands in the way."""
    resolver = listing(world)
    with pytest.raises(NoInstanceError, match=r"no instance of 'echo' can be picked: 0 known$"):
        resolver.pick()
    idle = Info(service_name="echo", addr="10.0.0.9:80", weight=0)
    world.source.streams[0].list(idle, A)
    resolver.wait_for(2, LONG)
    with pytest.raises(LookupError, match=r"2 known, 1 of them of weight 0, 1 excluded$"):
        resolver.pick(exclude=[A])


def test_pick_of_nobody_with_tags_tells_of_those_without(world: Watching) -> None:
    """Whoever asked for the wrong tags learns that others are there."""
    resolver = listing(world, IN_A, IN_B, tags={"zone": "c"})
    with pytest.raises(
        NoInstanceError,
        match=r"'echo' with tags \{'zone': 'c'\} can be picked: 0 known, 2 without regard to tags$",
    ):
        resolver.pick()


def test_pick_with_exclude_chooses_another(world: Watching) -> None:
    """A call that failed on one instance is tried on another."""
    resolver = listing(world, A, B)
    assert {resolver.pick(exclude=[A]) for _ in range(50)} == {B}


def test_pick_follows_a_new_list_at_once(world: Watching) -> None:
    """What is no longer there is never picked."""
    resolver = listing(world, A)
    assert resolver.pick() == A
    world.source.streams[0].list(B)
    eventually(lambda: resolver.instances == (B,), why="the new list is shown")
    assert {resolver.pick() for _ in range(50)} == {B}


def test_pick_spreads_over_tags_by_weight(world: Watching) -> None:
    """Only instances with the tags are picked, each by its weight."""
    light = Info(service_name="echo", addr="10.0.0.21:80", weight=1, tags={"zone": "a"})
    heavy = Info(service_name="echo", addr="10.0.0.22:80", weight=9, tags={"zone": "a"})
    resolver = listing(world, light, heavy, IN_B, tags={"zone": "a"})
    counts = Counter(resolver.pick().addr for _ in range(5_000))
    assert set(counts) == {light.addr, heavy.addr}
    assert 0.85 < counts[heavy.addr] / 5_000 < 0.95


def test_pick_while_one_warms_up_follows_its_ramp(world: Watching) -> None:
    """The shares are computed anew as time passes, also without a new list."""
    warm = dt.timedelta(seconds=100)
    cold = Info(
        service_name="echo",
        addr="10.0.0.31:80",
        weight=1_000,
        start_time=world.clock.now(),
        warm_up=warm,
    )
    full = Info(service_name="echo", addr="10.0.0.32:80", weight=1_000)
    resolver = resolver_of(world, clock=world.clock)
    world.source.opened(1).list(cold, full)
    resolver.wait_for(2, LONG)
    assert Counter(resolver.pick() for _ in range(2_000))[cold] < 40
    world.clock.advance(100.0)
    assert 800 < Counter(resolver.pick() for _ in range(2_000))[cold] < 1_200


def test_pick_from_many_threads_while_lists_change_gives_only_what_was_listed(
    world: Watching,
) -> None:
    """Picking needs no lock: every thread gets an instance of some list, and none an error."""
    resolver = listing(world, A)
    done = threading.Event()
    picked: set[Info] = set()
    failed: list[BaseException] = []

    def pick() -> None:
        try:
            while not done.is_set():
                picked.add(resolver.pick())
        except Exception as exc:  # noqa: BLE001 - whatever it is, the test shows it
            failed.append(exc)

    threads = [threading.Thread(target=pick) for _ in range(4)]
    for thread in threads:
        thread.start()
    pairs = itertools.cycle([(A, B), (B, C), (C, A)])

    def all_picked_from_ever_new_lists() -> bool:
        world.source.streams[0].list(*next(pairs))
        return picked == {A, B, C}

    eventually(all_picked_from_ever_new_lists, why="all three were picked")
    done.set()
    for thread in threads:
        thread.join(10.0)
    assert failed == []


def test_pick_by_many_threads_after_a_change_makes_one_table(world: Watching) -> None:
    """A new list of thousands is prepared once, and not by each thread that picks."""
    resolver = listing(world, A)
    tables: list[Table] = []
    threads = [threading.Thread(target=lambda: tables.append(resolver._prepare())) for _ in "123"]
    with resolver._lock():
        for thread in threads:
            thread.start()
    for thread in threads:
        thread.join(10.0)
    assert len(tables) == 3
    assert len(set(map(id, tables))) == 1


# --- following ----------------------------------------------------------------------------


def test_on_change_is_called_with_each_new_snapshot(world: Watching) -> None:
    """Lists and outages are told, in order."""
    resolver = listing(world, A)
    told: list[Snapshot] = []
    resolver.on_change(told.append)
    assert told == []
    world.source.streams[0].list(A, B)
    eventually(lambda: len(told) == 1, why="the list is told")
    world.watches.backend_failed(AWAY)
    eventually(lambda: len(told) == 2, why="the outage is told")
    assert [(len(each.instances), each.stale) for each in told] == [(2, False), (2, True)]


def test_on_change_with_tags_is_silent_about_others(world: Watching) -> None:
    """A change among instances without the tags is none."""
    resolver = listing(world, IN_A, tags={"zone": "a"})
    told: list[Snapshot] = []
    resolver.on_change(told.append)
    world.source.streams[0].list(IN_A, IN_B)
    eventually(lambda: len(told) == 1, why="the first change is told, whatever it is")
    world.source.streams[0].list(IN_A, IN_B, C)
    shows(world.watches.open("echo"), IN_A, IN_B, C)
    world.source.streams[0].list(IN_B, C)
    eventually(lambda: len(told) == 2, why="that it left is told")
    assert [each.instances for each in told] == [(IN_A,), ()]


def test_on_change_after_unsubscribing_is_silent(world: Watching) -> None:
    """Unsubscribing ends it, once or again."""
    resolver = listing(world, A)
    told: list[Snapshot] = []
    unsubscribe = resolver.on_change(told.append)
    unsubscribe()
    unsubscribe()
    world.source.streams[0].list(A, B)
    resolver.wait_for(2, LONG)
    resolver.close()
    assert told == []


def test_on_change_with_a_callback_that_raises_stops_nobody(
    world: Watching, caplog: pytest.LogCaptureFixture
) -> None:
    """What a callback raises is logged, and the others are told."""
    resolver = listing(world, A)
    told: list[Snapshot] = []
    resolver.on_change(lambda _: 1 / 0)
    resolver.on_change(told.append)
    world.source.streams[0].list(A, B)
    eventually(lambda: len(told) == 1, why="the other one is told")
    assert "a callback for changes of 'echo' failed" in caplog.text


@pytest.mark.parametrize("closed", ["resolver", "registry"])
def test_on_change_tells_of_the_end(closed: str, world: Watching) -> None:
    """Whoever waits for changes hears that none will come, but not after unsubscribing."""
    resolver = listing(world, A)
    told: list[str] = []
    resolver.on_change(lambda _: told.append("change"), ended=lambda: told.append("end"))
    resolver.on_change(lambda _: None, ended=lambda: told.append("never"))()

    (resolver if closed == "resolver" else world.watches).close()
    resolver.close()

    assert told == ["end"]


def test_on_change_with_an_end_that_raises_closes_all_the_same(
    world: Watching, caplog: pytest.LogCaptureFixture
) -> None:
    """What the callback raises is logged, and the others are told."""
    resolver = listing(world, A)
    told: list[str] = []
    for ended in (lambda: told.append("one"), lambda: 1 / 0, lambda: told.append("other")):
        resolver.on_change(lambda _: None, ended=ended)

    world.watches.close()

    assert sorted(told) == ["one", "other"]
    assert "a callback for changes of 'echo' failed" in caplog.text


def test_on_change_after_close_is_silent_although_others_follow(world: Watching) -> None:
    """Closing one resolver ends its callbacks, and leaves the others of the service alone."""
    one, other = listing(world, A), resolver_of(world)
    told: list[Snapshot] = []
    one.on_change(told.append)
    one.close()
    world.source.streams[0].list(A, B)
    other.wait_for(2, LONG)
    assert told == []


# --- the end ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "use",
    [
        lambda resolver: resolver.instances,
        lambda resolver: resolver.stale,
        lambda resolver: resolver.snapshot(),
        lambda resolver: resolver.wait_for(0),
        lambda resolver: resolver.pick(),
        lambda resolver: resolver.on_change(print),
    ],
    ids=["instances", "stale", "snapshot", "wait_for", "pick", "on_change"],
)
@pytest.mark.parametrize("what", ["resolver", "registry"])
def test_use_after_close_is_refused(
    world: Watching, use: Callable[[Resolver], object], what: str
) -> None:
    """A closed resolver, or one of a closed registry, says so; a second close is no error."""
    resolver, other = listing(world, A), resolver_of(world)
    resolver.pick()
    if what == "resolver":
        resolver.close()
        resolver.close()
        assert other.pick() == A
    else:
        world.watches.close()
    with pytest.raises(ClosedError, match=f"the {what}.*was closed"):
        use(resolver)


@pytest.mark.parametrize("what", ["resolver", "registry"])
def test_close_while_somebody_waits_wakes_them_with_an_error(world: Watching, what: str) -> None:
    """Nobody waits for a closed resolver until the timeout."""
    resolver, other = listing(world, A), resolver_of(world)
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            resolver.wait_for(2, LONG)
        except ClosedError as exc:
            errors.append(exc)

    waiting = threading.Thread(target=wait)
    waiting.start()
    watch = world.watches._watches["echo"]
    eventually(lambda: watch._changed._waiters, why="the thread waits")  # type: ignore[attr-defined]  # CPython's own list of waiters
    if what == "resolver":
        resolver.close()
        assert other.instances == (A,)
    else:
        world.watches.close()
    waiting.join(10.0)
    assert len(errors) == 1


def test_resolver_as_a_context_manager_ends_its_watch(world: Watching) -> None:
    """The last resolver of a service ends the watch with its block."""
    with resolver_of(world) as resolver:
        world.source.opened(1).list(A)
        assert resolver.wait_for() == (A,)
    assert world.source.streams[0].ended.is_set()
    assert world.watches.active() == ()


# --- forks --------------------------------------------------------------------------------


def test_use_of_an_abandoned_watch_opens_another_and_keeps_the_subscriptions(
    world: Watching,
) -> None:
    """What happens in a forked child: a new watch, once, and callbacks for it."""
    second = Watching()
    worlds = [world, second]
    resolver = Resolver(
        lambda: worlds.pop(0).watches.open("echo"), clock=SystemClock(), timeout_s=30.0
    )
    told: list[Snapshot] = []
    resolver.on_change(told.append)
    unsubscribe = resolver.on_change(print)
    inherited = world.watches._watches["echo"]
    world.watches.abandon()
    unsubscribe()
    shown: list[tuple[Info, ...]] = []
    threads = [threading.Thread(target=lambda: shown.append(resolver.instances)) for _ in "123"]
    with resolver._lock():
        for thread in threads:
            thread.start()
    for thread in threads:
        thread.join(10.0)
    assert shown == [(), (), ()]
    second.source.opened(1).list(B)
    assert resolver.wait_for(1, LONG) == (B,)
    eventually(lambda: [each.instances for each in told] == [(B,)], why="the callback is told")
    resolver.close()
    assert second.watches.active() == ()
    inherited.stop()
    assert inherited.join(10.0)


def test_first_list_is_waited_for_anew_with_an_abandoned_watch(world: Watching) -> None:
    """In a forked child no list has come yet, whatever the parent had."""
    second = Watching()
    worlds = [world, second]
    resolver = Resolver(
        lambda: worlds.pop(0).watches.open("echo"), clock=SystemClock(), timeout_s=30.0
    )
    inherited = world.watches._watches["echo"]
    world.source.opened(1).list(A)
    assert resolver.wait_for(1, LONG) == (A,)
    assert resolver.waiting_for_first_list().is_over()
    world.watches.abandon()

    waiting = resolver.waiting_for_first_list()

    assert not waiting.is_over()
    second.source.opened(1).list(B)
    assert resolver.wait_for(1, LONG) == (B,)
    assert waiting.is_over()
    resolver.close()
    inherited.stop()
    assert inherited.join(10.0)


def test_use_of_an_abandoned_watch_tells_what_another_has_found_already(world: Watching) -> None:
    """In a child, a callback hears of a list that came before the resolver was used there."""
    second = Watching()
    worlds = [world, second]
    resolver = Resolver(
        lambda: worlds.pop(0).watches.open("echo"), clock=SystemClock(), timeout_s=30.0
    )
    told: list[Snapshot] = []
    resolver.on_change(told.append)
    inherited = world.watches._watches["echo"]
    world.watches.abandon()
    shared = second.watches.open("echo")
    second.source.opened(1).list(B)
    shows(shared, B)
    assert resolver.instances == (B,)
    assert [each.instances for each in told] == [(B,)]
    second.watches.close()
    inherited.stop()
    assert inherited.join(10.0)


def test_close_with_an_abandoned_watch_leaves_it_alone(world: Watching) -> None:
    """Closing what a parent process opened ends nothing of the parent."""
    resolver = listing(world, A)
    resolver.on_change(print)
    inherited = world.watches._watches["echo"]
    world.watches.abandon()
    resolver.close()
    assert not world.source.streams[0].stop.is_set()
    inherited.stop()
    assert inherited.join(10.0)


@forks
def test_use_in_a_forked_child_opens_a_watch_of_its_own(world: Watching) -> None:
    """A resolver made before a fork works in the child, on the child's own connections [K7]."""
    inner = Watching()
    worlds = {os.getpid(): world}
    resolver = Resolver(
        lambda: worlds.get(os.getpid(), inner).watches.open("echo"),
        clock=SystemClock(),
        timeout_s=30.0,
    )
    world.source.opened(1).list(A)
    assert resolver.pick() == A
    told: list[Snapshot] = []
    resolver.on_change(told.append)
    unsubscribe = resolver.on_change(told.append)

    def works() -> bool:
        inner.__init__()  # type: ignore[misc]  # made before the fork, and so abandoned like the other
        picks: list[Info] = []
        threads = [threading.Thread(target=lambda: picks.append(resolver.pick())) for _ in range(4)]
        for thread in threads:
            thread.start()
        inner.source.opened(1).list(B)
        for thread in threads:
            thread.join(10.0)
        eventually(lambda: len(told) == 2, why="the subscriptions follow the child's own watch")
        unsubscribe()
        resolver.close()
        return picks == [B] * 4 and inner.watches.active() == ()

    # The parent's locks are held at the moment of the fork.
    with resolver._lock(), world.watches._lock:
        assert in_child(works)
    assert resolver.pick() == A


@forks
def test_close_in_a_forked_child_leaves_the_parent_alone(world: Watching) -> None:
    """Closing an inherited resolver, or ending a subscription, touches nothing of the parent."""
    resolver = listing(world, A)
    unsubscribe = resolver.on_change(print)
    resolver.on_change(print)

    def closes() -> bool:
        unsubscribe()
        resolver.close()
        return not world.source.streams[0].stop.is_set()

    with world.watches._watches["echo"].listeners._lock:
        assert in_child(closes)
    assert resolver.pick() == A


# --- the real thing -----------------------------------------------------------------------

SERVER = """
import sys
import enlist
with enlist.open_registry(sys.argv[1]) as registry:
    registry.register(enlist.Info(service_name="echo", addr=sys.argv[2]))
    print("registered", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def place(tmp_path: Path) -> str:
    return f"local:{tmp_path / 'registry.db'}"


def start_server(place: str, addr: str) -> subprocess.Popen[str]:
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, place, addr],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    assert server.stdout.readline() == "registered\n"
    return server


def test_local_resolver_follows_servers_that_come_leave_and_are_killed(place: str) -> None:
    """A server of another process is seen when it comes, and gone when it is killed with -9."""
    with enlist.open_registry(place) as registry, registry.resolver("echo") as resolver:
        assert resolver.wait_for(0, LONG) == ()
        with start_server(place, "127.0.0.1:8801") as leaving:
            assert [str(info.addr) for info in resolver.wait_for(1, LONG)] == ["127.0.0.1:8801"]
            with start_server(place, "127.0.0.1:8802") as killed:
                assert len(resolver.wait_for(2, LONG)) == 2
                killed.send_signal(signal.SIGKILL)
                killed.wait(30.0)
                began = time.monotonic()
                eventually(lambda: len(resolver.instances) == 1, why="the killed one is gone")
                # 0.2 s on a quiet machine; far below any time to live on a busy one.
                assert time.monotonic() - began < 5.0
            assert str(resolver.pick().addr) == "127.0.0.1:8801"
            leaving.communicate(timeout=30.0)
        eventually(lambda: resolver.instances == (), why="the one that left is gone")
        assert not resolver.stale


def test_local_resolver_with_tags_and_weights_sees_updates(place: str) -> None:
    """An update of a weight or a tag changes the view in place."""
    with enlist.open_registry(place) as registry:
        info = Info(service_name="echo", addr="127.0.0.1:8801", tags={"zone": "a"})
        registry.register(info)
        with registry.resolver("echo", tags={"zone": "a"}) as resolver:
            assert resolver.pick() == info
            registry.update(info, weight=0)
            eventually(lambda: resolver.instances[0].weight == 0, why="the weight is seen")
            with pytest.raises(NoInstanceError, match="1 known, 1 of them of weight 0"):
                resolver.pick()
            registry.update(info, tags={"zone": "b"})
            eventually(lambda: resolver.instances == (), why="the tag is seen")


@forks
def test_local_resolver_in_a_forked_child_sees_what_the_parent_registered(place: str) -> None:
    """A resolver made before the fork, as under gunicorn --preload, works in the child."""
    with enlist.open_registry(place) as registry, registry.resolver("echo") as resolver:
        info = Info(service_name="echo", addr="127.0.0.1:8801")
        registry.register(info)
        assert resolver.wait_for(1, LONG) == (info,)
        assert in_child(lambda: resolver.pick() == info)
        assert resolver.pick() == info
