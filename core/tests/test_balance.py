"""Weighted picks: shares, the warm-up ramp, and wrong clocks."""

from __future__ import annotations

import datetime as dt
import math
import random
from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.tests.keeping_world import HandClock
from enlist.finding.balance import RAMP_STEP_S, Balancer, FirstSeen, Table, share
from enlist.info import MAX_WEIGHT, Info

WARM_UP = dt.timedelta(seconds=100)
GRID = 5_000


def some(number: int, **fields: object) -> Info:
    return Info(service_name="echo", addr=f"10.0.{number // 250}.{number % 250 + 1}:80", **fields)  # type: ignore[arg-type]  # a test names real fields


def evenly() -> Callable[[], float]:
    """Return a stand-in for chance that walks from 0 to 1 in even steps."""
    points = iter(range(GRID))
    return lambda: (next(points) + 0.5) / GRID


def drawn_shares(table: Table) -> dict[Info, float]:
    """Return the part of each instance over the whole range of chance."""
    chance = evenly()
    counts = Counter(table.draw(chance) for _ in range(GRID))
    return {info: count / GRID for info, count in counts.items() if info is not None}


def table_of(infos: Sequence[Info]) -> Table:
    return Balancer(HandClock(), FirstSeen()).table(infos)


@settings(max_examples=50)  # each example draws thousands of times
@given(st.lists(st.integers(0, 100), min_size=1, max_size=40))
def test_draw_over_all_chances_gives_each_its_share(weights: Sequence[int]) -> None:
    """Every instance is drawn in proportion to its weight, and one of weight 0 never."""
    infos = [some(number, weight=weight) for number, weight in enumerate(weights)]
    total = sum(weights)
    table = table_of(infos)
    if not total:
        assert table.draw(random.random) is None
        return
    parts = drawn_shares(table)
    for info in infos:
        # Each column may be off by one step of the grid at its limit.
        assert parts.get(info, 0.0) == pytest.approx(info.weight / total, abs=2 * len(infos) / GRID)
        assert (info in parts) <= (info.weight > 0)


@given(st.lists(st.integers(0, MAX_WEIGHT), max_size=30), st.floats(0, 1, exclude_max=True))
def test_draw_at_any_chance_gives_only_instances_with_a_weight(
    weights: Sequence[int], point: float
) -> None:
    """Whatever chance says, weight 0 gets nothing, and nothing is drawn only from nothing."""
    drawn = table_of([some(n, weight=weight) for n, weight in enumerate(weights)]).draw(
        lambda: point
    )
    assert (drawn is None) == (not any(weights))
    assert drawn is None or drawn.weight > 0


@pytest.mark.parametrize("size", [1, 2, 3, 1_000, 8_193, 10_000])
def test_draw_at_the_highest_chance_stays_in_the_table(size: int) -> None:
    """The largest number below 1 draws an instance, at any size of the table."""
    table = table_of([some(number) for number in range(size)])
    assert table.draw(lambda: math.nextafter(1.0, 0.0)) is not None


def test_draw_by_real_chance_follows_the_weights() -> None:
    """With the random numbers of production, shares of 1:2:7 are met within five sigma."""
    infos = [some(number, weight=weight) for number, weight in enumerate((1, 2, 7))]
    chance = random.Random(20_261_122).random  # noqa: S311 - a fixed seed, so that the test cannot flake
    table = table_of(infos)
    counts = Counter(table.draw(chance) for _ in range(100_000))
    for info in infos:
        expected = info.weight / 10
        assert counts[info] / 100_000 == pytest.approx(
            expected, abs=5 * math.sqrt(expected * (1 - expected) / 100_000)
        )


def test_draw_needs_one_random_number_however_many_instances() -> None:
    """A pick among 10,000 draws as much chance as one among 10."""
    asked: list[int] = []
    for size in (10, 10_000):
        table = table_of([some(number, weight=number % 7 + 1) for number in range(size)])
        table.draw(lambda size=size: asked.append(size) or 0.37)  # type: ignore[misc, func-returns-value]  # append gives None on purpose
    assert asked == [10, 10_000]


@given(st.lists(st.integers(1, 50), min_size=2, max_size=12), st.data())
def test_draw_except_never_gives_an_excluded_one(
    weights: Sequence[int], data: st.DataObject
) -> None:
    """Excluded instances are not drawn, and nobody is left only if all were excluded."""
    infos = [some(number, weight=weight) for number, weight in enumerate(weights)]
    exclude = data.draw(st.lists(st.sampled_from(infos), unique=True))
    drawn = table_of(infos).draw_except(exclude, random.random)
    assert drawn not in exclude
    assert (drawn is None) == (len(exclude) == len(infos))


def test_draw_except_compares_by_address() -> None:
    """An instance that was updated since it was tried is still the one that was tried."""
    heavy, other = some(1, weight=60_000), some(2, weight=1)
    tried = some(1, weight=3)
    for _ in range(20):
        assert table_of([heavy, other]).draw_except([tried], random.random) is other


def test_draw_except_keeps_the_proportion_of_the_others() -> None:
    """Leaving one out shares its traffic among the others by their weights."""
    infos = [some(number, weight=weight) for number, weight in enumerate((70, 10, 20))]
    chance = random.Random(7).random  # noqa: S311 - a fixed seed, so that the test cannot flake
    table = table_of(infos)
    counts = Counter(table.draw_except(infos[:1], chance) for _ in range(30_000))
    assert counts[infos[0]] == 0
    assert counts[infos[1]] / 30_000 == pytest.approx(1 / 3, abs=0.015)


# --- warming up ---------------------------------------------------------------------------


@given(st.integers(0, MAX_WEIGHT), st.floats(0, 200), st.floats(0, 200))
def test_share_grows_with_age_from_a_floor_to_the_weight(
    weight: int, one_age: float, other_age: float
) -> None:
    """The ramp never falls, never exceeds the weight, and never starves a weight above 0."""
    younger, older = sorted((one_age, other_age))
    info = some(1, weight=weight, warm_up=WARM_UP)
    assert share(info, younger) <= share(info, older) <= weight
    assert share(info, younger) >= min(1.0, weight / 10)
    assert share(info, 100.0) == weight


def test_share_halfway_is_half_the_weight() -> None:
    """The ramp is a straight line."""
    assert share(some(1, weight=80, warm_up=WARM_UP), 50.0) == 40.0


def test_share_without_warm_up_is_the_weight_at_once() -> None:
    """Whoever does not warm up gets its full share from the start."""
    assert share(some(1, weight=80), 0.0) == 80


def test_share_of_weight_one_ramps_too() -> None:
    """In a fleet whose weights are all 1 a new server still starts with less."""
    assert share(some(1, weight=1, warm_up=WARM_UP), 0.0) == pytest.approx(0.1)


def started(clock: HandClock, ago_s: float, number: int = 1) -> Info:
    start = clock.now() - dt.timedelta(seconds=ago_s)
    return some(number, weight=100, start_time=start, warm_up=WARM_UP)


def part_of(info: Info, clock: HandClock, first_seen: FirstSeen) -> float:
    """Return the share of the instance beside one of the full weight, as a part of that one's."""
    full = some(9, weight=100)
    parts = drawn_shares(Balancer(clock, first_seen).table([info, full]))
    return parts[info] / parts[full]


def test_table_of_one_that_warms_up_has_its_ramped_share() -> None:
    """A server that started a quarter of its warm-up ago gets a quarter of its weight."""
    clock = HandClock()
    assert part_of(started(clock, ago_s=25.0), clock, FirstSeen()) == pytest.approx(0.25, abs=0.01)


def test_table_of_one_that_started_long_ago_has_its_full_share() -> None:
    """A start in the far past means the full weight."""
    clock = HandClock()
    info = started(clock, ago_s=1e9)
    assert part_of(info, clock, FirstSeen()) == pytest.approx(1.0, abs=0.01)
    assert Balancer(clock, FirstSeen()).table([info]).expires_at == math.inf


def test_table_of_one_from_the_future_warms_up_by_our_own_clock() -> None:
    """A server whose clock is a day ahead warms up in its own time from when it was first seen."""
    clock, first_seen = HandClock(), FirstSeen()
    info = started(clock, ago_s=-86_400.0)
    first_seen.keep([info], clock.monotonic())
    assert part_of(info, clock, first_seen) == pytest.approx(0.01, abs=0.005)
    clock.advance(50.0)
    assert part_of(info, clock, first_seen) == pytest.approx(0.5, abs=0.01)
    clock.advance(50.0)
    assert part_of(info, clock, first_seen) == pytest.approx(1.0, abs=0.01)


def test_table_after_a_restart_ramps_anew() -> None:
    """A new start at the same address, also from the future, is seen as a new start."""
    clock, first_seen = HandClock(), FirstSeen()
    first_seen.keep([started(clock, ago_s=-86_400.0)], clock.monotonic())
    clock.advance(500.0)
    again = started(clock, ago_s=-86_400.0)
    first_seen.keep([again], clock.monotonic())
    assert part_of(again, clock, first_seen) == pytest.approx(0.01, abs=0.005)


def test_keep_forgets_those_that_are_gone() -> None:
    """Memory does not grow with the instances of the past."""
    clock, first_seen = HandClock(), FirstSeen()
    info = started(clock, ago_s=-86_400.0)
    first_seen.keep([info], clock.monotonic())
    clock.advance(100.0)
    first_seen.keep([], clock.monotonic())
    assert part_of(info, clock, first_seen) == pytest.approx(0.01, abs=0.005)


def test_keep_does_not_restart_those_that_stay() -> None:
    """A later list with the same start leaves when it was first seen."""
    clock, first_seen = HandClock(), FirstSeen()
    info = started(clock, ago_s=-86_400.0)
    first_seen.keep([info], clock.monotonic())
    clock.advance(50.0)
    first_seen.keep([info, some(2)], clock.monotonic())
    assert part_of(info, clock, first_seen) == pytest.approx(0.5, abs=0.01)


def test_table_of_one_without_a_start_has_its_full_share() -> None:
    """A warm-up without a start says nothing about where on the ramp the server is."""
    clock = HandClock()
    assert part_of(some(1, weight=100, warm_up=WARM_UP), clock, FirstSeen()) == pytest.approx(
        1.0, abs=0.01
    )


def test_table_while_something_warms_up_expires_in_a_second() -> None:
    """The shares are computed anew once a second while one changes, otherwise never."""
    clock = HandClock()
    balancer = Balancer(clock, FirstSeen())
    warming = balancer.table([started(clock, ago_s=10.0), some(2)])
    assert warming.expires_at == clock.monotonic() + RAMP_STEP_S
    assert balancer.table([some(2)]).expires_at == math.inf


def test_table_of_one_with_weight_zero_never_expires() -> None:
    """An instance without traffic has no ramp to follow."""
    clock = HandClock()
    idle = some(1, weight=0, start_time=clock.now(), warm_up=WARM_UP)
    table = Balancer(clock, FirstSeen()).table([idle])
    assert (table.infos, table.expires_at) == ([], math.inf)
