"""One row of the table: a figure, its limit, and whether it keeps it."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.bench.figures import Estimate

NAME_WIDTH: Final = 62
_FIGURE_WIDTH: Final = 28
_LIMIT_WIDTH: Final = 11


class Verdict(enum.Enum):
    """What became of a limit."""

    HOLDS = "holds"
    MISSED = "MISSED"
    PRINTED = "-"
    TRIED = "not judged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A figure and what is asked of it.

    A limit on a measured figure is missed only if the whole interval lies beyond it.

    Attributes:
        suite: where it belongs.
        name: what was measured, ours first.
        figure: the result; ratios have no unit.
        unit: of the figure, such as "%" or "ms"; empty for a ratio.
        at_most: the limit above which it must not lie; None for no such limit.
        at_least: the limit below which it must not lie; None for no such limit.
        note: what else is to be known of it.
        is_smoke: taken from too few measurements to be judged.
    """

    suite: str
    name: str
    figure: Estimate
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None
    note: str = ""
    is_smoke: bool = False

    @property
    def verdict(self) -> Verdict:
        """Whether the limits hold."""
        if self.at_most is None and self.at_least is None:
            return Verdict.PRINTED
        if self.is_smoke:
            return Verdict.TRIED
        too_much = self.at_most is not None and self.figure.low > self.at_most
        too_little = self.at_least is not None and self.figure.high < self.at_least
        return Verdict.MISSED if too_much or too_little else Verdict.HOLDS

    def line(self) -> str:
        """Return the row as a line of the table."""
        text = (
            f"{f'{self.suite}: {self.name}':<{NAME_WIDTH}} {self._figure():<{_FIGURE_WIDTH}} "
            f"{self._limit():<{_LIMIT_WIDTH}} {self.verdict.value:<10} {self.note}"
        )
        return text.rstrip()

    def as_json(self) -> Mapping[str, Any]:
        """Return the row as it stands in the JSON file."""
        return {
            "suite": self.suite,
            "name": self.name,
            "value": self.figure.value,
            "low": self.figure.low,
            "high": self.figure.high,
            "count": self.figure.count,
            "unit": self.unit,
            "at_most": self.at_most,
            "at_least": self.at_least,
            "verdict": self.verdict.name.lower(),
            "note": self.note,
        }

    def _figure(self) -> str:
        figure = self.figure
        text = f"{_short(figure.value)} {self.unit}".rstrip()
        if figure.low == figure.high:
            return text
        return f"{text} [{_short(figure.low)}, {_short(figure.high)}]"

    def _limit(self) -> str:
        limits = [
            f"{sign} {_short(limit)}"
            for sign, limit in (("<=", self.at_most), (">=", self.at_least))
            if limit is not None
        ]
        return ", ".join(limits)


def heading() -> str:
    """Return the line above the table."""
    return (
        f"{'suite: figure':<{NAME_WIDTH}} {'value [95 % interval]':<{_FIGURE_WIDTH}} "
        f"{'limit':<{_LIMIT_WIDTH}} {'verdict':<10} note"
    )


def _short(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1_000 else f"{value:.0f}"
