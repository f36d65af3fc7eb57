"""What every suite is given: how much to do, where to say how it goes, and how to make rows."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tests.bench.figures import Estimate, ratio
from tests.bench.measuring import PAIRS, in_turn
from tests.bench.rows import Row

_SMOKE_PAIRS: Final = 3
_SMOKE_PART: Final = 100


@dataclass(slots=True)
class Bench:
    """One suite under way.

    Attributes:
        suite: its name.
        is_smoke: do as little as shows that it works; no limit is judged.
        say: is given a line about what is done now.
        show: is given each row as soon as it stands.
        rows: the rows so far.
    """

    suite: str
    is_smoke: bool
    say: Callable[[str], None]
    show: Callable[[Row], None]
    rows: list[Row] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)

    def pairs(self, count: int = PAIRS) -> int:
        """Return how many pairs to measure: so many, or few for a smoke run."""
        return _SMOKE_PAIRS if self.is_smoke else max(count, PAIRS)

    def size(self, count: int) -> int:
        """Return how many to register or to call: so many, or a hundredth for a smoke run."""
        return max(1, count // _SMOKE_PART) if self.is_smoke else count

    def seconds(self, count: float) -> float:
        """Return how long to look on: so many seconds, or a fifth of one for a smoke run."""
        return min(0.2, count) if self.is_smoke else count

    def progress(self, text: str) -> None:
        """Say what is done now."""
        self.say(f"[{time.monotonic() - self._began:5.0f} s] {self.suite}: {text}")

    def add(
        self,
        name: str,
        figure: Estimate,
        *,
        unit: str = "",
        at_most: float | None = None,
        at_least: float | None = None,
        note: str = "",
    ) -> None:
        """Add a row."""
        row = Row(
            suite=self.suite,
            name=name,
            figure=figure,
            unit=unit,
            at_most=at_most,
            at_least=at_least,
            note=note,
            is_smoke=self.is_smoke,
        )
        self.rows.append(row)
        self.show(row)

    def compare(
        self,
        name: str,
        ours: Callable[[int], float],
        theirs: Callable[[int], float],
        *,
        pairs: int = PAIRS,
        at_most: float | None = None,
        times_faster: float | None = None,
    ) -> None:
        """Measure two sides in turn and add the row of their ratio, ours over theirs.

        Args:
            name: of the row.
            ours: measures once and returns seconds.
            theirs: the same for what we compare with.
            pairs: how many.
            at_most: the limit of the ratio.
            times_faster: the limit where we are to be faster; the ratio is that of the rates.
        """
        self.progress(name)
        taken = in_turn(ours, theirs, self.pairs(pairs))
        sides = (taken.ours, taken.theirs)
        figure = ratio(*sides) if times_faster is None else ratio(*reversed(sides))
        medians = [duration(statistics.median(side)) for side in sides]
        self.add(name, figure, at_most=at_most, at_least=times_faster, note=" to ".join(medians))


def duration(seconds: float) -> str:
    """Return seconds as text: a lone time, shown beside a ratio and never judged."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * factor >= 1.0:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"
