"""How long each thing may take: computed from what the backend declares, and from nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from enlist.backend import POLL_INTERVAL_S
from enlist.keeping.backoff import BEATS_PER_TTL
from enlist.testing.abilities import Abilities

__all__ = ["STOP_S", "Bounds"]

STOP_S: Final = 0.2
"""How long a watch may take to end, in seconds, before the machine's margin."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The times of the rules for one backend, in seconds; each has the machine's margin in it.

    Attributes:
        ttl_s: the granted ttl, without a margin.
        granularity_s: how late the server may notice the end of a ttl, without a margin.
        push_s: the declared push speed, without a margin.
        margin_s: the margin itself.
        restore_rate: records in one second.
    """

    ttl_s: float
    granularity_s: float
    push_s: float
    margin_s: float
    restore_rate: float

    @classmethod
    def of(cls, abilities: Abilities) -> Bounds:
        """Return the times that follow from a declaration."""
        push_s = abilities.push.total_seconds()
        return cls(
            ttl_s=abilities.ttl.total_seconds(),
            granularity_s=abilities.granularity.total_seconds(),
            # Without a watch of its own the core asks, so that a change waits for the next time.
            push_s=push_s if abilities.watch else push_s + POLL_INTERVAL_S,
            margin_s=abilities.margin.total_seconds(),
            restore_rate=abilities.restore_rate,
        )

    @property
    def interval_s(self) -> float:
        """Between two signs of life; without a margin."""
        return self.ttl_s / BEATS_PER_TTL

    @property
    def one_interval_s(self) -> float:
        """For what a single beat repairs."""
        return self.interval_s + self.margin_s

    @property
    def two_intervals_s(self) -> float:
        """For what takes a beat that fails and one that does not."""
        return 2 * self.interval_s + self.margin_s

    @property
    def beats_s(self) -> float:
        """In which at least one beat comes; for looking on, so without a margin."""
        return 2 * self.interval_s

    @property
    def arrival_s(self) -> float:
        """For a change to reach a client that watches."""
        return self.push_s + self.margin_s

    @property
    def death_s(self) -> float:
        """For the record of a dead process to end."""
        return self.ttl_s + self.interval_s + self.granularity_s + self.margin_s

    @property
    def hold_s(self) -> float:
        """How long a view holds what an emptied backend lacks; without a margin."""
        return self.ttl_s + 2 * self.interval_s

    def back_s(self, count: int) -> float:
        """For that many registrations to be back after the first answer."""
        return self.two_intervals_s + count / self.restore_rate
