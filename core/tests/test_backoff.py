"""The pace of the keeper: when it tries again, and how patient it is."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enlist.keeping.backoff import Backoff

TTL_S = 15.0
INTERVAL_S = 5.0
NOW = 100.0


class Chance(random.Random):
    """A random number that the test chose."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def random(self) -> float:
        return self.value


def backoff(chance: float = 1.0) -> Backoff:
    return Backoff(TTL_S, Chance(chance))


def after(*steps: Callable[[Backoff], None], chance: float = 1.0) -> Backoff:
    pace = backoff(chance)
    for step in steps:
        step(pace)
    return pace


def answered(pace: Backoff) -> None:
    pace.heard(NOW)
    pace.completed()


def refused(pace: Backoff) -> None:
    pace.failed(timed_out=False)


def timed_out(pace: Backoff) -> None:
    pace.failed(timed_out=True)


@pytest.mark.parametrize("chance,wait_s", [(0.0, 5.0), (0.5, 4.75), (1.0, 4.5)])
def test_beats_every_interval_a_little_early(chance: float, wait_s: float) -> None:
    """A fleet that started at once does not beat at once for ever."""
    assert after(answered, chance=chance).wait_s(NOW) == pytest.approx(wait_s)


def test_follows_the_time_to_live_that_the_server_grants() -> None:
    """A third of what was granted is the interval, whatever was asked for."""
    pace = backoff(0.0)
    assert not pace.granted

    pace.heard(NOW, 60.0)

    assert pace.granted
    assert (pace.valid_for_s, pace.interval_s, pace.wait_s(NOW)) == (60.0, 20.0, 20.0)


def test_tries_again_at_once_after_the_first_error() -> None:
    """Most errors are one broken connection."""
    assert after(answered, refused).wait_s(NOW) == 0.0


def test_stays_close_while_the_records_may_still_be_alive() -> None:
    """Within the time to live there is something to save."""
    pace = after(answered, refused, refused)

    assert pace.wait_s(NOW + TTL_S - 0.1) == INTERVAL_S / 4
    assert pace.wait_s(NOW + TTL_S) == INTERVAL_S


def test_waits_up_to_an_interval_when_nothing_was_ever_answered() -> None:
    """There is no record to save."""
    assert after(refused, refused).wait_s(NOW) == INTERVAL_S


def test_never_gives_up_and_never_waits_longer_while_refused() -> None:
    """An outage of any length ends within an interval of the backend's return."""
    pace = after(answered, *[refused] * 100_000)

    assert pace.failures == 100_000
    assert pace.wait_s(NOW + 1e6) == INTERVAL_S
    assert pace.patience_s == INTERVAL_S / 4


def test_doubles_wait_and_patience_with_each_time_out_up_to_a_limit() -> None:
    """A server that drowns in abandoned requests gets fewer of them, and more time for each."""
    pace = after(answered)
    seen = []
    for _ in range(12):
        pace.failed(timed_out=True)
        seen.append((pace.patience_s, pace.wait_s(NOW + TTL_S)))

    intervals = [(p / INTERVAL_S, w / INTERVAL_S) for p, w in seen]
    assert intervals[:4] == [(0.5, 0.0), (1.0, 4.0), (2.0, 8.0), (4.0, 16.0)]
    assert intervals[-1] == (8.0, 64.0)


def test_falls_back_with_the_first_answer() -> None:
    """One answer shows that the overload is over."""
    pace = after(answered, *[timed_out] * 20, answered)

    assert pace.patience_s == INTERVAL_S / 4
    assert pace.failures == 0


@given(
    st.lists(st.sampled_from([answered, refused, timed_out])),
    st.floats(0, 1, exclude_max=True),
    st.floats(0, 1e6),
)
def test_never_leaves_its_bounds(
    steps: list[Callable[[Backoff], None]], chance: float, later_s: float
) -> None:
    """Whatever happened, waits and patience are finite, and patience is never zero."""
    pace = after(*steps, chance=chance)

    assert 0.0 <= pace.wait_s(NOW + later_s) <= 64 * INTERVAL_S
    assert 0.0 <= pace.retry_s(NOW + later_s) <= 64 * INTERVAL_S
    assert INTERVAL_S / 4 <= pace.patience_s <= 8 * INTERVAL_S
