"""What a figure is: the median of many ratios, with the interval in which it can be trusted.

A lone time says more about the machine and its other work than about the code. The ratio of two
calls that were made one after the other says how much one costs beside the other; the median of
many such ratios is not moved by the few that something disturbed; and the bootstrap tells how
far it might have come out elsewhere.
"""

import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

CONFIDENCE: Final = 0.95
RESAMPLES: Final = 2_000
_SEED: Final = 12  # the same measurements always have the same interval


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and how sure it is.

    Attributes:
        value: the figure.
        low: the lower end of its 95 % interval.
        high: the upper end.
        count: how many measurements it stands on.
    """

    value: float
    low: float
    high: float
    count: int

    @classmethod
    def exact(cls, value: float, count: int = 1) -> "Estimate":
        """Return a figure that was counted, not measured."""
        return cls(value, value, value, count)


def estimate(
    values: Sequence[float], statistic: Callable[[Sequence[float]], float] = statistics.median
) -> Estimate:
    """Return the statistic of the values with its bootstrap interval.

    Args:
        values: at least one; a single one has no width.
        statistic: what is to be told of them; the median by default.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("an estimate needs at least one value")
    rng = random.Random(_SEED)  # noqa: S311 - draws samples, nothing secret
    size = len(values)
    seen = sorted(statistic(rng.choices(values, k=size)) for _ in range(RESAMPLES))
    tail = round((1.0 - CONFIDENCE) / 2.0 * RESAMPLES)
    return Estimate(statistic(values), seen[tail], seen[-1 - tail], size)


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Estimate:
    """Return the median of the ratios, pair by pair.

    Raises:
        ValueError: the two have different lengths, or none.
    """
    return estimate([mine / their for mine, their in zip(ours, theirs, strict=True)])


def share(parts: Sequence[tuple[float, float]]) -> Estimate:
    """Return what part of some time was used: the sums' ratio over stretches (used, of)."""
    by_length = [used / of for used, of in parts]
    return estimate(by_length, statistics.fmean)
