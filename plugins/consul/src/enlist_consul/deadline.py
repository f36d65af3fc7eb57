"""The time that one hook call may take, shared by all that it has to do."""

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
        """Return the seconds left.

        Raises:
            TimedOutError: none are left.
        """
        left = self._at - time.monotonic()
        if left <= 0:
            raise TimedOutError(f"Consul did not answer within {self._timeout_s:g} s.")
        return left

    def within(self, timeout_s: float) -> Deadline:
        """Return one that comes after so many seconds, and no later than this one."""
        sooner = Deadline(timeout_s)
        if self._at < sooner._at:
            return self
        return sooner

    @property
    def passed(self) -> bool:
        """Whether no time is left."""
        return time.monotonic() >= self._at
