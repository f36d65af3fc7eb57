"""How many tests the kit has, so that one that was left out does not go unnoticed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

from enlist.testing.rules import rule_of
from enlist.testing.suite import ConformanceSuite

__all__ = ["untried"]


def untried(tried: Iterable[str]) -> dict[str, int]:
    """Return how many tests of each rule are not among the names of those that were tried.

    Args:
        tried: the name of each, with its parameters; the same name twice counts once.
    """
    ran = Counter(name.partition("[")[0] for name in set(tried))
    left: Counter[str] = Counter()
    for name in dir(ConformanceSuite):
        rule = rule_of(name)
        if rule is not None:
            left[rule.id] += max(0, _count(getattr(ConformanceSuite, name)) - ran[name])
    return dict(left)


def _count(test: object) -> int:
    """Return how many tests pytest makes of a function: one for each of its parameters."""
    marks = getattr(test, "pytestmark", ())
    return math.prod(len(mark.args[1]) for mark in marks if mark.name == "parametrize")
