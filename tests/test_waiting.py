"""The waiting helper: it waits, it gives up, and it says for what."""

import threading

import pytest

from tests.waiting import eventually, what_stays


def test_eventually_returns_the_value_when_the_condition_becomes_true() -> None:
    """The first true value is returned, however late it comes within the deadline."""
    answers = iter([0, [], "", "ready"])

    assert eventually(lambda: next(answers), why="it is ready") == "ready"


def test_eventually_asks_at_once_when_there_is_no_time() -> None:
    """A condition that already holds needs no time at all."""
    assert eventually(lambda: 7, within_s=0, why="seven is true") == 7


def test_eventually_fails_when_the_condition_stays_false() -> None:
    """Giving up is a failed assertion that says what was awaited and what was there."""
    with pytest.raises(AssertionError, match=r"Not within 0\.01 s: it is there\..*value was \[\]"):
        eventually(list, within_s=0.01, why="it is there")


def test_eventually_passes_on_an_error_of_the_condition() -> None:
    """An error in the condition is not taken for "not yet"."""
    with pytest.raises(ZeroDivisionError):
        eventually(lambda: 1 / 0, why="it never divides")


def test_eventually_sees_the_work_of_another_thread() -> None:
    """The other thread gets to run between two looks."""
    done = threading.Event()
    worker = threading.Thread(target=done.set)
    worker.start()

    assert eventually(done.is_set, why="the worker is done")
    worker.join()


def test_what_stays_waits_for_what_is_ending() -> None:
    """What goes in time is not named, and what does not is."""
    looks = iter([["a", "b"], ["b"], []])

    assert what_stays(lambda: next(looks), within_s=10) == []
    assert what_stays(lambda: ["b"], within_s=0) == ["b"]
