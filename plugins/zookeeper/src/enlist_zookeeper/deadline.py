"""The time that one hook call may take, shared by all the requests that it makes."""

from __future__ import annotations

import time

from enlist.errors import TimedOutError

__all__ = ["Deadline"]


class Deadline:
    """A moment by which a call has to answer."""

    def __init__(self, timeout_s: float) -> None:
        """Begin to count now."""
        self._timeout_s = timeout_s
        self._at = time.monotonic() + timeout_s

    def left_s(self) -> float:
        """Return the seconds that are left.

        Raises:
            TimedOutError: none are left.
        """
        left = self._at - time.monotonic()
        if left <= 0:
            raise self.passed()
        return left

    def passed(self) -> TimedOutError:
        """Return the error that says so."""
        return TimedOutError(f"ZooKeeper did not answer within {self._timeout_s:g} s.")
