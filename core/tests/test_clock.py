"""Time and deadlines."""

from __future__ import annotations

import datetime as dt
import time

import pytest

from core.tests.keeping_world import HandClock
from enlist.clock import Deadline, SystemClock
from enlist.errors import TimedOutError


def test_now_of_the_system_is_aware_and_in_utc() -> None:
    """The time of day can be compared with any other aware time."""
    before = dt.datetime.now(dt.UTC)
    now = SystemClock().now()
    assert before <= now <= dt.datetime.now(dt.UTC)
    assert now.tzinfo is dt.UTC


def test_monotonic_of_the_system_is_the_machines() -> None:
    """Durations are measured by the clock that never goes back."""
    before = time.monotonic()
    assert before <= SystemClock().monotonic() <= time.monotonic()


def test_deadline_counts_down_and_then_refuses() -> None:
    """Each part of a call gets what the parts before it left, and nothing after the end."""
    clock = HandClock()
    deadline = Deadline(clock, 3.0)
    clock.advance(2.0)
    assert (deadline.remaining_s(), deadline.left_s, deadline.expired) == (1.0, 1.0, False)
    clock.advance(1.5)
    assert (deadline.left_s, deadline.expired) == (0.0, True)
    with pytest.raises(TimedOutError, match="not done within the 3 s that were allowed"):
        deadline.remaining_s()


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_deadline_of_no_time_has_passed_at_once(seconds: float) -> None:
    """A budget of nothing allows no call."""
    assert Deadline(HandClock(), seconds).expired
