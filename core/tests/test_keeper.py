"""What the keeper does, round by round; the rules themselves are the conformance kit's."""

import asyncio
import logging
from collections.abc import Callable, Sequence

import pytest

from core.tests.keeping_world import OURS, THEIRS, TTL_S, Kept, World, WorldPlugin, server
from enlist.errors import (
    PluginBugError,
    RegistryError,
    RejectedError,
    TimedOutError,
    UnauthorisedError,
    UnavailableError,
)
from enlist.hookspecs import Beat, Lost, Why, hookimpl
from enlist.info import Identity, Info
from enlist.states import State

INTERVAL_S = TTL_S / 3
ONE = server(1)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def kept(world: World) -> Kept:
    return Kept(world)


def is_ours(world: World, info: Info = ONE) -> bool:
    return world.records.get(info.identity) == (OURS, info)


def test_has_nothing_to_do_without_registrations(kept: Kept) -> None:
    """A registry that nobody uses costs nothing."""
    assert kept.keeper.seconds_to_round() is None


def test_beats_at_once_after_the_first_registration(kept: Kept, world: World) -> None:
    """Only a beat tells how long the server lets a record live."""
    kept.register(ONE)
    assert kept.keeper.seconds_to_round() == 0.0

    kept.keeper.round()

    assert world.calls == ["register", "keep_alive"]
    assert kept.backoff.granted


def test_beats_once_an_interval_for_any_number(kept: Kept, world: World) -> None:
    """Ten thousand registrations are one call."""
    infos = [server(number) for number in range(10_000)]
    kept.calls.register_all(infos, kept.deadline())
    kept.keeper.round()
    world.calls.clear()

    kept.run(10 * INTERVAL_S)

    assert set(world.calls) == {"keep_alive"}
    assert 10 <= len(world.calls) <= 12
    assert set(kept.states().values()) == {State.ENLISTED}


def test_restores_what_was_deleted_within_an_interval(kept: Kept, world: World) -> None:
    """K3: the next beat sees it, and the same round mends it."""
    kept.register(ONE)
    kept.run(INTERVAL_S)
    world.records.clear()

    assert kept.run_until(lambda: is_ours(world), INTERVAL_S) <= INTERVAL_S


@pytest.mark.parametrize("outage_s", [1.0, 100.0, 100_000.0])
def test_is_back_within_two_intervals_of_the_first_answer(
    kept: Kept, world: World, outage_s: float
) -> None:
    """K2: an outage of any length, and an empty server after it."""
    kept.register(ONE)
    kept.run(INTERVAL_S)
    world.fault = "away"
    kept.run(outage_s)
    world.records.clear()
    world.heal()

    kept.run_until(lambda: is_ours(world), 2 * INTERVAL_S)

    assert kept.states() == {ONE.identity: State.ENLISTED}


def test_is_back_after_it_was_frozen_itself(kept: Kept, world: World) -> None:
    """K5: the first thing that a process does that slept past its ttl is a round."""
    kept.register(ONE)
    kept.run(INTERVAL_S)
    world.records.clear()
    kept.clock.advance(1_000)

    assert kept.keeper.seconds_to_round() == 0.0
    kept.keeper.round()
    assert is_ours(world)


def test_does_not_bring_back_what_was_deregistered_during_an_outage(
    kept: Kept, world: World
) -> None:
    """K6: the call raises and says that it goes on, and so it does."""
    kept.register(ONE)
    kept.run(INTERVAL_S)
    world.fault = "away"
    with pytest.raises(UnavailableError, match="the removal goes on in the background"):
        kept.deregister(ONE)
    assert kept.states() == {ONE.identity: State.LEAVING}
    world.heal()

    kept.run_until(lambda: not world.records, 2 * INTERVAL_S)

    assert kept.states() == {}


def test_removals_alone_are_answers_and_keep_the_pace(kept: Kept, world: World) -> None:
    """A process that only has a removal left to see to asks for it once an interval."""
    world.fault = "frozen"
    with pytest.raises(TimedOutError):
        kept.register(ONE)
    kept.keeper.round()
    world.heal()
    world.calls.clear()

    kept.run(TTL_S)

    assert 3 <= len(world.calls) <= 6
    assert set(world.calls) == {"deregister"}


def test_writes_anew_what_a_late_write_put_over_a_rival(kept: Kept, world: World) -> None:
    """An update that raised, and came late over a rival's record, is taken back."""
    kept.register(server(1, weight=1))
    kept.run(INTERVAL_S)
    world.fault = "frozen"
    with pytest.raises(TimedOutError):
        kept.register(server(1, weight=2))
    world.rushing.append(server(1, weight=99))
    world.heal(late_s=1.0)

    kept.run(3 * TTL_S)

    assert is_ours(world, server(1, weight=1))
    assert kept.states() == {ONE.identity: State.ENLISTED}


def test_removes_a_write_that_came_late(kept: Kept, world: World) -> None:
    """K6: a frozen server carries out a timed-out registration after it was removed."""
    world.fault = "frozen"
    with pytest.raises(TimedOutError):
        kept.register(ONE)
    with pytest.raises(TimedOutError):
        kept.deregister(ONE)
    world.late.reverse()  # the removal first: connections are not served in order
    world.heal(late_s=TTL_S / 2)
    kept.run(TTL_S / 2)
    world.catch_up()
    kept.run(100 * INTERVAL_S)

    assert world.records == {}
    assert kept.states() == {}


def test_leaves_a_rivals_record_alone_and_returns_when_it_is_gone(kept: Kept, world: World) -> None:
    """R5: superseded means writing nothing, until a beat finds no record there."""
    kept.register(ONE)
    kept.run(INTERVAL_S)
    world.put(THEIRS, ONE)
    kept.run(INTERVAL_S)
    world.calls.clear()

    kept.run(10 * INTERVAL_S)

    assert kept.states() == {ONE.identity: State.SUPERSEDED}
    assert set(world.calls) == {"keep_alive"}
    world.remove(THEIRS, ONE.identity)
    kept.run_until(lambda: is_ours(world), INTERVAL_S)


def test_a_registration_that_failed_is_not_wanted(kept: Kept, world: World) -> None:
    """What raised does not come true later."""
    world.fault = "away"
    with pytest.raises(UnavailableError):
        kept.register(ONE)
    world.heal()

    kept.run(10 * INTERVAL_S)

    assert world.records == {}
    assert kept.states() == {}


def test_an_update_that_failed_leaves_what_was_registered(kept: Kept, world: World) -> None:
    """A server must not lose its registration because its weight could not be changed."""
    kept.register(ONE)
    kept.run(INTERVAL_S)
    world.fault = "frozen"
    with pytest.raises(TimedOutError):
        kept.register(server(1, weight=99))
    world.heal()

    kept.run(20 * INTERVAL_S)

    assert is_ours(world)
    assert kept.states() == {ONE.identity: State.ENLISTED}


def test_goes_on_trying_where_it_was_told_to_retry(world: World) -> None:
    """S5: the server starts without its registry, and is enlisted when that is there."""
    kept = Kept(world, on_unavailable="retry")
    world.fault = "away"
    kept.register(ONE)
    kept.run(1_000)
    assert kept.states() == {ONE.identity: State.PENDING}
    world.heal()

    kept.run_until(lambda: is_ours(world), 2 * INTERVAL_S)


def test_takes_over_what_was_asked_for_while_the_backend_was_away(world: World) -> None:
    """R5: it was an explicit call, and stays one when it is carried out later."""
    kept = Kept(world, on_unavailable="retry")
    world.put(THEIRS, ONE)
    world.fault = "away"
    kept.register(ONE)
    world.heal()

    kept.run_until(lambda: is_ours(world), 2 * INTERVAL_S)


def test_registers_many_or_none(kept: Kept, world: World) -> None:
    """One that the server refuses takes the others back."""

    class Picky(WorldPlugin):
        @hookimpl
        def restore(self, infos: Sequence[Info], timeout_s: float) -> Sequence[Lost]:
            good = [info for info in infos if info.weight < 99]
            super().restore(good, timeout_s)
            refusal = RejectedError("no such weight")
            return [Lost(info, Why.FAILED, refusal) for info in infos if info.weight >= 99]

    kept = Kept(world, plugin=Picky(world))
    with pytest.raises(RejectedError, match=r"1 of 2 could not be registered.*no such weight"):
        kept.calls.register_all([ONE, server(2, weight=99)], kept.deadline())

    kept.run(10 * INTERVAL_S)

    assert world.records == {}


def test_takes_over_in_bulk(kept: Kept, world: World) -> None:
    """register_all is as explicit as register."""
    world.put(THEIRS, ONE)

    kept.calls.register_all([ONE, server(2)], kept.deadline())

    assert is_ours(world)
    assert is_ours(world, server(2))


def test_keeps_many_pending_where_it_was_told_to_retry(world: World) -> None:
    """The bulk path retries as the single one does."""
    kept = Kept(world, on_unavailable="retry")
    world.fault = "away"
    kept.calls.register_all([ONE, server(2)], kept.deadline())
    world.heal()

    kept.run_until(lambda: len(world.records) == 2, 2 * INTERVAL_S)


def test_goes_on_at_once_with_a_repair_that_ran_out_of_time(world: World) -> None:
    """A slow backend restores part by part without waiting an interval for each."""

    class Slow(WorldPlugin):
        @hookimpl
        def restore(self, infos: Sequence[Info], timeout_s: float) -> Sequence[Lost]:
            super().restore(infos[:10], timeout_s)
            return [Lost(info, Why.GONE) for info in infos[10:]]

    kept = Kept(world, plugin=Slow(world), on_unavailable="retry")
    kept.calls.register_all([server(number) for number in range(35)], kept.deadline())

    kept.run_until(lambda: len(world.records) == 35, INTERVAL_S)

    kept.keeper.round()
    assert set(kept.states().values()) == {State.ENLISTED}


def test_registers_anew_each_interval_without_keep_alive(world: World) -> None:
    """The seed of a plugin, register and deregister, is kept alive by registering again."""

    class Seed:
        @hookimpl
        def register(self, info: Info, timeout_s: float) -> None:
            world.reach("register", timeout_s)
            world.put(OURS, info)

        @hookimpl
        def deregister(self, info: Info) -> None:
            world.remove(OURS, info.identity)

    kept = Kept(world, plugin=Seed())
    kept.register(ONE)
    kept.run(INTERVAL_S)
    world.records.clear()

    kept.run_until(lambda: is_ours(world), INTERVAL_S)

    world.fault = "away"
    kept.run(INTERVAL_S)
    assert kept.states() == {ONE.identity: State.UNCONFIRMED}


def test_probes_while_something_is_watched_and_nothing_registered(world: World) -> None:
    """V4: whether a backend answers is known to a client too."""
    kept = Kept(world, watched=["echo"], plugin=Probed(world))
    kept.run(3 * INTERVAL_S)
    assert set(world.calls) == {"probe"}
    assert set(kept.follower.signs) == {"answered"}
    world.fault = "frozen"

    kept.run(2 * INTERVAL_S)

    assert "TimedOutError" in kept.follower.signs


class Probed(WorldPlugin):
    """The plugin of a server that has a cheap call."""

    @hookimpl
    def probe(self, timeout_s: float) -> None:
        self.world.reach("probe", timeout_s)


def test_tells_watchers_of_every_sign_of_life(kept: Kept, world: World) -> None:
    """A beat proves as much as a probe."""
    kept.register(ONE)
    kept.run(INTERVAL_S)
    world.fault = "away"
    kept.run(INTERVAL_S)

    assert kept.follower.signs[0] == "answered"
    assert kept.follower.signs[-1] == "UnavailableError"


def test_shows_an_outage_as_unconfirmed_with_its_error(kept: Kept, world: World) -> None:
    """K8: the state, the error and the last success are there to see."""
    kept.register(ONE)
    kept.run(INTERVAL_S)
    world.fault = "away"
    kept.run(INTERVAL_S)

    (status,) = kept.table.statuses("world")

    assert status.state is State.UNCONFIRMED
    assert isinstance(status.last_error, UnavailableError)
    assert status.last_success is not None
    assert status.since > status.last_success
    assert [change.state for change in kept.changes] == [State.ENLISTED, State.UNCONFIRMED]


def test_counts_an_error_for_one_alone_for_that_one(world: World) -> None:
    """The others are alive, and say so."""

    class HalfBlind(WorldPlugin):
        @hookimpl
        def keep_alive(self, infos: Sequence[Info], timeout_s: float) -> Beat:
            error = UnavailableError("this one did not answer")
            return Beat([Lost(info, Why.FAILED, error) for info in infos if info == ONE], TTL_S)

    kept = Kept(world, plugin=HalfBlind(world))
    kept.register(ONE)
    kept.register(server(2))
    kept.keeper.round()

    assert kept.states() == {
        ONE.identity: State.UNCONFIRMED,
        server(2).identity: State.ENLISTED,
    }


def test_survives_an_exception_that_nobody_foresaw(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """K9: logged with its traceback, counted as a failed beat, and the loop goes on."""

    class Buggy(WorldPlugin):
        broken = False

        @hookimpl
        def keep_alive(self, infos: Sequence[Info], timeout_s: float) -> Beat:
            if self.broken:
                return Beat([None], TTL_S)  # type: ignore[list-item]  # the bug
            return super().keep_alive(infos, timeout_s)

    plugin = Buggy(world)
    kept = Kept(world, plugin=plugin)
    kept.register(ONE)
    kept.run(INTERVAL_S)
    plugin.broken = True
    with caplog.at_level(logging.ERROR, "enlist"):
        kept.run(INTERVAL_S)
    assert kept.backoff.failures > 0
    assert "AttributeError" in caplog.text
    plugin.broken = False
    world.records.clear()

    kept.run_until(lambda: is_ours(world), INTERVAL_S)


def test_shows_a_bug_of_the_plugin_as_one(world: World) -> None:
    """What a hook must not raise is named as a bug, without the text of the exception."""

    class Buggy(WorldPlugin):
        @hookimpl
        def keep_alive(self, infos: Sequence[Info], timeout_s: float) -> Beat:
            raise KeyError("pa55word")

    kept = Kept(world, plugin=Buggy(world))
    kept.register(ONE)
    kept.keeper.round()

    (status,) = kept.table.statuses("world")
    assert isinstance(status.last_error, PluginBugError)
    assert "KeyError" in str(status.last_error)
    assert "pa55word" not in str(status.last_error)


def test_removes_the_others_when_one_removal_is_refused(world: World) -> None:
    """One that the server refuses must not hold the others up."""

    class Stubborn(WorldPlugin):
        @hookimpl
        def deregister(self, info: Info, timeout_s: float) -> None:
            if info == ONE:
                raise RejectedError("not this one")
            super().deregister(info, timeout_s)

    kept = Kept(world, plugin=Stubborn(world))
    kept.register(ONE)
    kept.register(server(2))
    world.fault = "away"
    for info in (server(2), ONE):
        with pytest.raises((UnavailableError, RejectedError)):
            kept.deregister(info)
    world.heal()

    kept.run_until(lambda: list(world.records) == [ONE.identity], 2 * INTERVAL_S)

    (status,) = kept.table.statuses("world")
    assert isinstance(status.last_error, RejectedError)


def test_leaves_everything_at_once(kept: Kept, world: World) -> None:
    """Closing removes all that is held and says what may remain."""
    kept.register(ONE)
    kept.register(server(2))
    world.put(THEIRS, server(2))

    assert kept.calls.leave(kept.deadline()) == 0

    assert world.records == {server(2).identity: (THEIRS, server(2))}


def test_says_what_it_could_not_remove_on_leaving(
    kept: Kept, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """A backend that is away costs one attempt, not one for each."""
    for number in range(5):
        kept.register(server(number))
    world.fault = "frozen"
    world.calls.clear()

    assert kept.calls.leave(kept.deadline()) == 5

    assert world.calls == ["deregister"]


def test_the_newest_call_wins_over_one_that_waits(kept: Kept) -> None:
    """A deregistration overtaken by a registration does nothing."""
    kept.register(ONE)
    stale = kept.table.unwant(ONE)
    kept.register(ONE)

    with kept.table.held([stale], kept.deadline()) as claims:
        assert claims == []


def test_waits_for_a_write_under_way_no_longer_than_its_deadline(kept: Kept) -> None:
    """R7: waiting for another call of ours counts too."""
    kept.register(ONE)
    (ticket,) = kept.table.want([ONE])
    with kept.table.held([ticket], kept.deadline()):
        (later,) = kept.table.want([server(1, weight=5)])
        deadline = kept.deadline()
        kept.clock.advance(10)
        with (
            pytest.raises(TimedOutError, match="still under way"),
            kept.table.held([later], deadline),
        ):
            pass


class WriteProtected(WorldPlugin):
    """The plugin of a server that answers signs of life and carries out no write."""

    refuses: RegistryError | None = None

    @hookimpl
    def restore(self, infos: Sequence[Info], timeout_s: float) -> Sequence[Lost]:
        self.world.reach("restore", timeout_s)
        if self.refuses is not None:
            raise self.refuses
        return super().restore(infos, timeout_s)

    @hookimpl
    def deregister(self, info: Info, timeout_s: float) -> None:
        if self.refuses is not None:
            self.world.calls.append("deregister")
            self.world.clock.advance(timeout_s)
            raise self.refuses
        super().deregister(info, timeout_s)


def test_does_not_repeat_a_refused_repair_without_a_pause(world: World) -> None:
    """Where beats are answered and writes are refused the pace is that of any other failure."""
    plugin = WriteProtected(world)
    kept = Kept(world, plugin=plugin)
    kept.register(ONE)
    kept.run(INTERVAL_S)
    world.records.clear()
    plugin.refuses = RejectedError("no space")

    begun = kept.clock.seconds
    rounds = 200
    for _ in range(rounds):
        kept.clock.advance(kept.keeper.seconds_to_round() or 0.0)
        kept.keeper.round()
    assert kept.clock.seconds - begun > rounds * INTERVAL_S / 16
    plugin.refuses = None
    kept.run_until(lambda: is_ours(world), INTERVAL_S)


def test_beats_although_a_removal_is_not_answered(world: World) -> None:
    """K1: a server that carries out no removal must not cost the others their lives."""
    plugin = WriteProtected(world)
    kept = Kept(world, plugin=plugin)
    kept.register(ONE)
    kept.register(server(2))
    plugin.refuses = TimedOutError("locked")
    with pytest.raises(TimedOutError):
        kept.deregister(server(2))

    kept.run(10 * TTL_S)

    world.bury()
    assert is_ours(world)


def test_repairs_although_a_removal_is_not_answered(world: World) -> None:
    """K3: what is lost is written again while another record cannot be removed."""

    class Stuck(WorldPlugin):
        @hookimpl
        def deregister(self, info: Info, timeout_s: float) -> None:
            self.world.clock.advance(timeout_s)
            raise TimedOutError("locked")

    kept = Kept(world, plugin=Stuck(world))
    kept.register(ONE)
    kept.register(server(2))
    with pytest.raises(TimedOutError):
        kept.deregister(server(2))
    kept.run(INTERVAL_S)
    del world.records[ONE.identity]

    kept.run_until(lambda: is_ours(world), 2 * INTERVAL_S)


def test_removes_thousands_between_beats(world: World) -> None:
    """K1, K6: what is owed after an outage takes its time, and the beats go on beside it."""

    class Slow(WorldPlugin):
        @hookimpl
        def deregister(self, info: Info, timeout_s: float) -> None:
            super().deregister(info, timeout_s)
            self.world.clock.advance(0.05)

    kept = Kept(world, plugin=Slow(world))
    kept.register(ONE)
    kept.calls.register_all([server(number) for number in range(2, 1_000)], kept.deadline())
    world.fault = "away"
    for number in range(2, 1_000):
        with pytest.raises(UnavailableError):
            kept.deregister(server(number))
    world.heal()
    world.calls.clear()

    kept.run_until(lambda: list(world.records) == [ONE.identity], 20 * INTERVAL_S)

    assert "restore" not in world.calls, "it never died"


def test_reaches_every_one_without_keep_alive(world: World) -> None:
    """Where writing all takes longer than a round they take turns, the oldest first."""
    latest: dict[str, float] = {}

    class Seed:
        @hookimpl
        def register(self, info: Info, timeout_s: float) -> None:
            world.clock.advance(0.1)
            latest[str(info.addr)] = world.clock.seconds

        @hookimpl
        def deregister(self, info: Info) -> None:
            del latest[str(info.addr)]

    kept = Kept(world, plugin=Seed())
    for number in range(100):
        kept.register(server(number))

    kept.run(4 * TTL_S)

    assert len(latest) == 100
    assert min(latest.values()) > world.clock.seconds - TTL_S


def test_removes_a_beat_that_came_late_without_keep_alive(world: World) -> None:
    """K6: a beat that writes may be carried out late, as any write may."""

    class Seed:
        @hookimpl
        def register(self, info: Info, timeout_s: float) -> None:
            world.reach("register", timeout_s, lambda: world.put(OURS, info))
            world.put(OURS, info)

        @hookimpl
        def deregister(self, info: Info, timeout_s: float) -> None:
            world.reach("deregister", timeout_s)
            world.remove(OURS, info.identity)

    kept = Kept(world, plugin=Seed())
    kept.register(ONE)
    kept.run(INTERVAL_S)
    world.fault = "frozen"
    kept.keeper.round()
    world.heal(late_s=1.0)
    kept.deregister(ONE)
    kept.clock.advance(2.0)
    world.catch_up()
    assert is_ours(world)

    kept.run_until(lambda: not world.records, 2 * TTL_S)


def test_two_failed_calls_leave_nothing_wanted(kept: Kept, world: World) -> None:
    """What both callers were told has failed is not what the second goes back to."""
    world.fault = "away"
    (first,) = kept.table.want([ONE])
    with pytest.raises(UnavailableError):
        kept.register(server(1, weight=5))
    kept.table.take_back(first, UnavailableError("away"))
    kept.table.called([first], agreed=False)
    world.heal()

    kept.run(2 * TTL_S)

    assert not world.records
    assert kept.states() == {}


def test_goes_back_to_the_newest_call_that_succeeded(kept: Kept, world: World) -> None:
    """A call that ended well while a newer one was failing is what remains."""
    kept.register(server(1, weight=1))
    (ticket,) = kept.table.want([server(1, weight=2)])
    world.fault = "away"
    with pytest.raises(UnavailableError):
        kept.register(server(1, weight=3))
    kept.table.called([ticket], agreed=True)
    assert kept.table.get(ONE.identity) == server(1, weight=2)
    with pytest.raises(UnavailableError):
        kept.register(server(1, weight=4))
    world.heal()

    kept.run(2 * INTERVAL_S)

    assert is_ours(world, server(1, weight=2))


def test_a_second_deregister_waits_for_the_first(kept: Kept, world: World) -> None:
    """R6: neither returns before the record is gone."""
    kept.register(ONE)
    first, second = kept.table.unwant(ONE), kept.table.unwant(ONE)
    with kept.table.held([second], kept.deadline()):
        deadline = kept.deadline()
        kept.clock.advance(10)
        with pytest.raises(TimedOutError), kept.table.held([first], deadline):
            pass
    kept.table.called([second], agreed=False)

    kept.deregister(ONE)

    assert not world.records
    with kept.table.held([first], kept.deadline()) as claims:
        assert claims == []


def test_is_not_ready_while_it_waits_to_be_registered_again(world: World) -> None:
    """Wanted again after a removal that failed, it is pending, not leaving."""
    kept = Kept(world, on_unavailable="retry")
    kept.register(ONE)
    world.fault = "away"
    with pytest.raises(UnavailableError):
        kept.deregister(ONE)

    kept.register(ONE)

    assert kept.states() == {ONE.identity: State.PENDING}


def test_an_update_begins_from_what_is_wanted(kept: Kept, world: World) -> None:
    """One that was read before another call changed it does nothing."""
    kept.register(ONE)
    read = kept.table.get(ONE.identity)
    assert read is not None
    kept.register(server(1, weight=5))

    assert not kept.calls.update(server(1, weight=9), read, kept.deadline())

    assert is_ours(world, server(1, weight=5))
    kept.deregister(ONE)
    assert not kept.calls.update(server(1, weight=9), read, kept.deadline())
    assert not world.records


def test_a_failed_call_takes_nothing_from_one_that_succeeds(kept: Kept, world: World) -> None:
    """The first call is still writing when a second one gives up, and then ends well."""
    (first,) = kept.table.want([ONE])
    with kept.table.held([first], kept.deadline()) as claims:
        (second,) = kept.table.want([server(1, weight=5)])
        kept.table.take_back(second, TimedOutError("waited too long"))
        kept.table.called([second], agreed=False)
        world.put(OURS, claims[0].info)
    kept.table.called([first], agreed=True)

    kept.run(2 * TTL_S)

    assert is_ours(world)
    assert kept.states() == {ONE.identity: State.ENLISTED}


def test_a_call_that_ends_late_undoes_no_removal(kept: Kept, world: World) -> None:
    """Whoever deregisters between a call that failed and an older one that succeeds has the say."""
    (first,) = kept.table.want([ONE])
    (second,) = kept.table.want([server(1, weight=5)])
    kept.table.take_back(second, TimedOutError("waited too long"))
    kept.table.called([second], agreed=False)
    kept.deregister(ONE)
    kept.table.called([first], agreed=True)

    kept.run(2 * TTL_S)

    assert kept.states() == {}
    assert not world.records


@pytest.mark.parametrize("error", [SystemExit, asyncio.CancelledError])
def test_counts_what_no_plugin_may_raise_as_a_failed_beat(
    world: World, error: type[BaseException]
) -> None:
    """K9: with a pause before the next one, and a state that says so."""

    class Leaving(WorldPlugin):
        @hookimpl
        def keep_alive(self, infos: Sequence[Info], timeout_s: float) -> Beat:
            self.world.calls.append("keep_alive")
            raise error

    kept = Kept(world, plugin=Leaving(world))
    kept.register(ONE)
    begun, rounds = kept.clock.seconds, 50

    for _ in range(rounds):
        kept.clock.advance(kept.keeper.seconds_to_round() or 0.0)
        kept.keeper.round()

    assert kept.clock.seconds - begun > rounds * INTERVAL_S / 16
    (status,) = kept.table.statuses("world")
    assert status.state is State.UNCONFIRMED
    assert isinstance(status.last_error, PluginBugError)


def test_removes_what_is_owed_while_beats_are_refused(world: World) -> None:
    """K6: whoever may not give signs of life may still be allowed to leave."""
    refused = UnauthorisedError("not your lease")

    class Refused(WorldPlugin):
        @hookimpl
        def keep_alive(self, infos: Sequence[Info], timeout_s: float) -> Beat:
            raise refused

    kept = Kept(world, plugin=Refused(world))
    kept.register(ONE)
    kept.register(server(2))
    world.fault = "away"
    with pytest.raises(UnavailableError):
        kept.deregister(server(2))
    world.heal()

    kept.run_until(lambda: list(world.records) == [ONE.identity], 2 * INTERVAL_S)


def test_tells_watchers_of_no_outage_when_the_beat_was_answered(world: World) -> None:
    """V4: a removal that gets no answer does not make every view stale."""
    plugin = WriteProtected(world)
    kept = Kept(world, plugin=plugin, watched=["echo"])
    kept.register(ONE)
    kept.register(server(2))
    plugin.refuses = TimedOutError("locked")
    with pytest.raises(TimedOutError):
        kept.deregister(server(2))

    kept.run(4 * TTL_S)

    assert set(kept.follower.signs) == {"answered"}


class Seed:
    """A plugin without ``keep_alive``, whose server takes its time."""

    def __init__(self, world: World, takes_s: float) -> None:
        self.world = world
        self.takes_s = takes_s
        self.hanging: Info | None = None
        self.latest: dict[Identity, float] = {}
        self.between: Callable[[], object] = lambda: None

    @hookimpl
    def register(self, info: Info, timeout_s: float) -> None:
        if info == self.hanging:
            self.world.clock.advance(timeout_s)
            raise TimedOutError("it hangs")
        self.world.clock.advance(self.takes_s)
        self.latest[info.identity] = self.world.clock.seconds
        self.between()

    @hookimpl
    def deregister(self, info: Info) -> None:
        del self.latest[info.identity]


def test_one_that_hangs_starves_no_other_without_keep_alive(world: World) -> None:
    """It takes its turn like every other, for as long as one call may last."""
    plugin = Seed(world, 0.05)
    kept = Kept(world, plugin=plugin)
    for number in range(60):
        kept.register(server(number))
    plugin.hanging = ONE

    kept.run(4 * TTL_S)

    plugin.latest.pop(ONE.identity)
    assert len(plugin.latest) == 59
    assert min(plugin.latest.values()) > world.clock.seconds - TTL_S
    assert kept.states()[ONE.identity] is State.UNCONFIRMED


def test_calls_come_between_beats_without_keep_alive(world: World) -> None:
    """Whoever changes one record does not wait until all of them are written again."""
    plugin = Seed(world, 0.05)
    kept = Kept(world, plugin=plugin)
    for number in range(60):
        kept.register(server(number))
    updated = []

    def update() -> None:
        plugin.between = lambda: None
        begun = world.clock.seconds
        kept.register(server(59, weight=5))
        updated.append(world.clock.seconds - begun)

    plugin.between = update
    kept.run(INTERVAL_S)

    assert updated == [pytest.approx(0.05)]
