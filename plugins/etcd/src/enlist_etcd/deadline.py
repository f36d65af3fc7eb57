"""The time that one hook call may take, shared out among what it has to do."""

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

    def left_s(self, among: int = 1) -> float:
        """Return the seconds left, or an equal share of them.

        Args:
            among: for how many attempts they must do.

        Raises:
            TimedOutError: none are left.
        """
        left = self._at - time.monotonic()
        if left <= 0:
            raise TimedOutError(f"etcd did not answer within {self._timeout_s:g} s.")
        return left / among
