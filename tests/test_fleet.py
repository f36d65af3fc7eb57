"""A fleet that comes back all at once does not drown its server; with a fixed pace it does."""

from dataclasses import replace

import pytest

from tests.fleet import FixedBackoff, Scenario, come_back, table

SMALL = Scenario(keepers=2_000, requests_per_s=200.0, give_up_s=1_800.0)


def test_comes_back_when_the_server_drops_abandoned_requests() -> None:
    """The whole fleet is back in little more than the time of the work itself."""
    outcome = come_back(SMALL)

    assert outcome.back == 1.0
    assert outcome.seconds < 3 * SMALL.work_s


def test_comes_back_when_the_server_answers_abandoned_requests() -> None:
    """The whole fleet is back within minutes although every time-out costs the server work."""
    outcome = come_back(replace(SMALL, drops_abandoned=False))

    assert outcome.back == 1.0
    assert outcome.seconds < 10 * SMALL.work_s


def test_never_comes_back_with_a_fixed_pace() -> None:
    """The simulation can fail: with a wait and a patience that never grow, the server drowns."""
    outcome = come_back(replace(SMALL, drops_abandoned=False, policy=FixedBackoff))

    assert outcome.back < 0.5


@pytest.mark.parametrize("keepers", [500])
def test_prints_a_line_for_each_policy_and_server(keepers: int) -> None:
    """The table has a heading of two lines and four rows."""
    assert len(list(table(keepers))) == 6
