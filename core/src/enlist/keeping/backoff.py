"""When the keeper acts next, and how long it waits for an answer.

A small object without threads, clocks or I/O, so that the tests and a simulated fleet of
100,000 keepers drive the very policy that production runs.

While the backend is away (refused, unreachable) an attempt costs it nothing, so attempts stay
close: at once after the first error, then within a quarter of an interval as long as the
records may still be alive, then within an interval. An attempt that *timed out* is different:
the server may be drowning in requests whose senders have given up. Then both the wait and the
patience double with each failure. A fleet with a fixed wait and a fixed patience never gets
out of that state, since the server spends all its time on answers that nobody reads.
"""

from __future__ import annotations

import random
from typing import Final

__all__ = ["BEATS_PER_TTL", "Backoff"]

BEATS_PER_TTL: Final = 3
"""Signs of life in one time to live: two may fail before a record dies."""

_EARLY_SHARE: Final = 0.1
_RETRIES_PER_INTERVAL: Final = 4
_MOST_WAIT_INTERVALS: Final = 64
_MOST_PATIENCE_INTERVALS: Final = 8


class Backoff:
    """The pace of one keeper.

    An attempt is some calls. Call :meth:`heard` for each that was answered, and :meth:`completed`
    or :meth:`failed` at the end; then :meth:`wait_s` says how long to wait before the next attempt,
    and :attr:`patience_s` how long to wait for an answer.
    """

    def __init__(self, valid_for_s: float, rng: random.Random) -> None:
        """Start as if nothing had been answered yet.

        Args:
            valid_for_s: the time to live that is assumed until the server grants one.
            rng: spreads the attempts of a fleet.
        """
        self._rng = rng
        self._valid_for_s = valid_for_s
        self._granted = False
        self._failures = 0
        self._overload = 0
        self._answered_at: float | None = None

    @property
    def interval_s(self) -> float:
        """Seconds between two signs of life when all is well."""
        return self._valid_for_s / BEATS_PER_TTL

    @property
    def valid_for_s(self) -> float:
        """The time to live that the server granted last, in seconds."""
        return self._valid_for_s

    @property
    def granted(self) -> bool:
        """Whether the server has said how long it lets a record live."""
        return self._granted

    @property
    def failures(self) -> int:
        """How many attempts in a row have failed."""
        return self._failures

    @property
    def patience_s(self) -> float:
        """Seconds to wait for the next answer."""
        quarter = self.interval_s / _RETRIES_PER_INTERVAL
        return min(quarter * 2.0**self._overload, self.interval_s * _MOST_PATIENCE_INTERVALS)

    def heard(self, now: float, valid_for_s: float | None = None) -> None:
        """Note an answer, and the time to live that it granted if it granted one.

        The server is not drowning then, but the attempt may still fail: where signs of life are
        answered and writes are refused, the next attempt must not follow at once for ever.
        """
        if valid_for_s is not None:
            self._valid_for_s = valid_for_s
            self._granted = True
        self._overload = 0
        self._answered_at = now

    def completed(self) -> None:
        """Note that nothing failed in an attempt."""
        self._failures = 0

    def failed(self, *, timed_out: bool) -> None:
        """Note a failure; one that timed out also calms the pace down."""
        self._failures += 1
        if timed_out:
            # Past this the limits hold anyway; the exponent must not grow for ever.
            self._overload = min(self._overload + 1, 16)

    def retry_s(self, now: float) -> float:
        """Return how many seconds to wait before making up for an explicit call that failed."""
        return self._rng.random() * self._most_wait_s(now)

    def wait_s(self, now: float) -> float:
        """Return how many seconds to wait before the next attempt."""
        if self._failures == 0:
            return self.interval_s * (1.0 - _EARLY_SHARE * self._rng.random())
        if self._failures == 1:
            return 0.0
        return self.retry_s(now)

    def _most_wait_s(self, now: float) -> float:
        alive = self._answered_at is not None and now - self._answered_at < self._valid_for_s
        base = self.interval_s / _RETRIES_PER_INTERVAL if alive else self.interval_s
        return min(base * 2.0**self._overload, self.interval_s * _MOST_WAIT_INTERVALS)
