"""What the tests of the kit work with: Infos that can be carried, and an end whatever hangs."""

import datetime as dt
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import pytest

from enlist.errors import TimedOutError
from enlist.info import Info
from enlist.registry import Registry
from enlist.testing import RULES, Abilities, BackendUnderTest, Limits, RuleBrokenError
from enlist.testing import following as following_module
from enlist.testing import trial as trial_module
from enlist.testing.error_rules import expect_hidden
from enlist.testing.following import Asking
from enlist.testing.trial import Trial


@pytest.mark.parametrize(
    "limits",
    [
        Limits(),
        Limits(weights=range(1, 257), tag_text="[A-Za-z0-9._-]*"),
        Limits(weights=range(100, 101), tag_text="[a-z0-9]*"),
        Limits(weights=range(100, 103), tag_text="[a-z]*", most_tags=1),
        Limits(weights=range(1_000, 65_536), most_tags=0),
    ],
)
def test_trial_makes_nothing_that_passes_a_limit(limits: Limits) -> None:
    """What a test registers beside the difficult Infos is what the backend can carry."""
    trial = trial_of(limits)

    for number in (0, 1, 300, 65_000):
        info = trial.info(**trial.numbered(number, "a:b"))
        assert limits.passed_by(info) is None
        assert limits.passed_by(replace(info, **trial.numbered(number + 1))) is None


def test_trial_numbers_by_what_can_be_carried() -> None:
    """The number is the weight, else a tag; and a tag is as difficult as is allowed."""
    assert trial_of(Limits()).numbered(3) == {"weight": 3}
    assert trial_of(Limits()).numbered(3, "a:b") == {"weight": 3, "tags": {"a:b": "3"}}
    one_weight = Limits(weights=range(100, 101), tag_text="[a-z0-9]*")
    assert trial_of(one_weight).numbered(3) == {"tags": {"number": "3"}}
    assert trial_of(one_weight).numbered(3, "a:b") == {"tags": {"a": "3"}}


def trial_of(limits: Limits) -> Trial:
    under_test = BackendUnderTest()
    under_test.abilities = Abilities(
        ttl=dt.timedelta(seconds=2), margin=dt.timedelta(0), limits=limits
    )
    return Trial(RULES["R1"], under_test)


def test_secret_that_is_not_given_is_named() -> None:
    """A claim of credentials without a secret says what is missing, not that nothing is shown."""
    with pytest.raises(RuleBrokenError, match="needs the attributes secret and wrong_secret"):
        expect_hidden(trial_of(Limits()), "", "some text\n")


class AnswersOnce:
    """Resolves once, and then waits until it is released."""

    def __init__(self) -> None:
        self.asked = 0
        self.waits = threading.Event()
        self.released = threading.Event()

    def resolve(self, service_name: str) -> Sequence[Info]:
        self.asked += 1
        if self.asked > 1:
            self.waits.set()
            self.released.wait()
        return ()


def test_client_that_hangs_is_told_and_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin without time-outs cannot keep a test that looks on from its end."""
    monkeypatch.setattr(following_module, "ENDS_WITHIN_S", 0.1)
    registry = AnswersOnce()
    try:
        with Asking(cast("Registry", registry), "echo") as asking:
            registry.waits.wait()

        assert isinstance(asking.error, TimedOutError)
        assert asking.answers == [()]
    finally:
        registry.released.set()


def test_close_that_hangs_is_told_and_the_rest_is_taken_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What hangs at the end of a test is a failure of it, and of nothing after it."""
    monkeypatch.setattr(trial_module, "PATIENCE", dt.timedelta(seconds=0.1))
    monkeypatch.setattr(trial_module, "CALL_S", 0.1)
    trial, released, undone = trial_of(Limits()), threading.Event(), threading.Event()
    try:
        trial.at_end(undone.set)
        trial.closed_at_end(released.wait)

        with pytest.raises(RuleBrokenError, match="closing had not ended"):
            trial.end()

        assert undone.is_set()
    finally:
        released.set()


def test_calls_at_once_that_hang_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that wait for each other for ever end a test, and an error in one is raised."""
    monkeypatch.setattr(trial_module, "CALL_S", 0.1)
    trial, released = trial_of(Limits()), threading.Event()
    try:
        with pytest.raises(RuleBrokenError, match="had not ended"):
            trial.all_end([released.wait, int], 0.1)
        with pytest.raises(ZeroDivisionError):
            trial.all_end([int, lambda: 1 // 0], 5.0)
        trial.end()
    finally:
        released.set()
