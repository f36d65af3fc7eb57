"""Time, injected: production reads the machine's clocks, tests pass hours in milliseconds."""

from __future__ import annotations

import datetime as dt
import time
from typing import Final, Protocol

from enlist.errors import TimedOutError

__all__ = ["LONGEST_WAIT", "Clock", "Deadline", "SystemClock"]

LONGEST_WAIT: Final = dt.timedelta(days=1)
"""Longer waits are a unit mixed up, and overflow the clocks of some platforms."""


class Clock(Protocol):
    """The two clocks of a machine."""

    def monotonic(self) -> float:
        """Return seconds from some fixed moment; never goes back. For durations."""

    def now(self) -> dt.datetime:
        """Return the time of day, aware and in UTC; may jump. For what people and records read."""


class SystemClock:
    """The clocks of this machine."""

    # The built-in itself and no method around it: picking an instance may ask for it each time.
    monotonic = staticmethod(time.monotonic)

    def now(self) -> dt.datetime:
        """Return the time of day, aware and in UTC."""
        return dt.datetime.now(dt.UTC)


class Deadline:
    """The end of the time that one public call and all the work inside it may take."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        """Count from now.

        Args:
            clock: counts the time.
            seconds: how long the call may take; 0 or less has passed at once.
        """
        self._clock = clock
        self._seconds = seconds
        self._end = clock.monotonic() + seconds

    @property
    def left_s(self) -> float:
        """The seconds that are left; never negative."""
        return max(0.0, self._end - self._clock.monotonic())

    @property
    def expired(self) -> bool:
        """Whether no time is left."""
        return self.left_s == 0.0

    def remaining_s(self) -> float:
        """Return the seconds that are left: more than 0, fit to be a call's own time-out.

        Raises:
            TimedOutError: no time is left.
        """
        left_s = self.left_s
        if left_s == 0.0:
            raise TimedOutError(
                f"not done within the {self._seconds:g} s that were allowed for the call; "
                "try again, or allow more"
            )
        return left_s
