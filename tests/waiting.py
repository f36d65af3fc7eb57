"""Waiting for a condition instead of sleeping: used by the tests of every package."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")

_FIRST_PAUSE_S = 0.001
_LONGEST_PAUSE_S = 0.05


def eventually(condition: Callable[[], T], *, within_s: float = 10.0, why: str) -> T:
    """Wait until `condition()` is true and return what it gave.

    Asks at once, then again after pauses that grow from 1 ms to 50 ms, and once more at
    the deadline, so that a slow machine makes a test slower but never wrong. For
    something that can be waited for (an event, a future, a child), wait for that instead.

    Args:
        condition: asked again and again from the calling thread; what it raises is
            passed on, since an error is no "not yet".
        within_s: how long to wait, in seconds. Generous on purpose: only a failing test
            waits that long.
        why: what is awaited, as a sentence's end: "the record is back".

    Returns:
        The first true value.

    Raises:
        AssertionError: `condition` was still false after `within_s`; the message holds
            `why` and the last value.
    """
    deadline = time.monotonic() + within_s
    pause_s = _FIRST_PAUSE_S
    while True:
        last_try = time.monotonic() >= deadline
        value = condition()
        if value:
            return value
        if last_try:
            message = f"Not within {within_s:g} s: {why}. The last value was {value!r}."
            raise AssertionError(message)
        time.sleep(max(0.0, min(pause_s, deadline - time.monotonic())))
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def what_stays(look: Callable[[], list[U]], *, within_s: float) -> list[U]:
    """Look again and again until nothing is left, and return what is left in the end.

    Args:
        look: gives what is left at the moment.
        within_s: how long it may take to end, in seconds.
    """
    deadline = time.monotonic() + within_s
    while (left := look()) and time.monotonic() < deadline:
        time.sleep(_LONGEST_PAUSE_S)
    return left
