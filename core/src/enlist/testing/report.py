"""What came of a run of the kit: pure data, and how it is shown.

The words are: a rule is *kept* if every test of it that was claimed passed, and kept *in part* if
others of it need something that cannot be done to the backend's server; *broken* if one
failed; *not claimed* if every test of it needs something that the backend does not claim; *not
wholly tried* if some passed and others were skipped, expected to fail or left out; *not tried* if
none passed for such a reason.
"""

from __future__ import annotations

import enum
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from enlist.testing.abilities import HOOKS
from enlist.testing.rules import RULES, Rule

__all__ = ["Outcome", "Report", "RuleResult", "TestResult", "Verdict", "Versions"]

FORMAT: Final = 1
"""The version of the JSON form. Fields are only added."""

CLAIMS: Final = "A1"
"""The rule about the test module itself, which is no promise to users and is not counted."""


class Outcome(enum.Enum):
    """What came of one test."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_CLAIMED = "not claimed"
    SKIPPED = "skipped"


class Verdict(enum.Enum):
    """What came of one rule."""

    KEPT = "kept"
    BROKEN = "broken"
    NOT_CLAIMED = "not claimed"
    NOT_WHOLLY_TRIED = "not wholly tried"
    NOT_TRIED = "not tried"


@dataclass(frozen=True, slots=True)
class TestResult:
    """One test.

    Attributes:
        name: of the test, with its parameters.
        outcome: what came of it.
        seconds: how long it took, with what it set up and took down.
        detail: the last line of the failure, the abilities that are not claimed, or why the test
            was skipped.
    """

    __test__ = False  # not a test itself, whatever its name begins with

    name: str
    outcome: Outcome
    seconds: float
    detail: str = ""


@dataclass(frozen=True, slots=True)
class RuleResult:
    """One rule with its tests.

    Attributes:
        rule: what was tried.
        tests: what came of each test that there was.
        untried: how many tests the kit has of it beside these.
    """

    rule: Rule
    tests: tuple[TestResult, ...]
    untried: int = 0

    @property
    def verdict(self) -> Verdict:
        """What came of the rule."""
        outcomes = {test.outcome for test in self.tests}
        if Outcome.FAILED in outcomes:
            return Verdict.BROKEN
        whole = outcomes and Outcome.SKIPPED not in outcomes and not self.untried
        if Outcome.PASSED in outcomes:
            return Verdict.KEPT if whole else Verdict.NOT_WHOLLY_TRIED
        return Verdict.NOT_CLAIMED if whole else Verdict.NOT_TRIED

    @property
    def seconds(self) -> float:
        """How long all of its tests took."""
        return sum(test.seconds for test in self.tests)

    @property
    def in_part(self) -> bool:
        """Whether it is kept as far as it was tried, and was not tried in all.

        A hook that the plugin lacks takes nothing from that: the core's fallback was tried.
        """
        return self.verdict is Verdict.KEPT and not set(self.missing) <= set(HOOKS)

    @property
    def missing(self) -> tuple[str, ...]:
        """The abilities without which some of its tests did not run."""
        details = (test.detail for test in self.tests if test.outcome is Outcome.NOT_CLAIMED)
        return tuple(sorted({ability for detail in details for ability in detail.split(", ")}))


@dataclass(frozen=True, slots=True)
class Versions:
    """What was tried.

    Attributes:
        backend: the name that users type.
        distribution: the plugin's distribution.
        version: of the plugin.
        enlist: the version of enlist.
        python: the version of Python.
    """

    backend: str
    distribution: str
    version: str
    enlist: str
    python: str = field(default_factory=platform.python_version)

    def __str__(self) -> str:
        """Return all of it in a few words."""
        plugin = f"{self.distribution} {self.version}"
        own = f"enlist {self.enlist}, "
        return f"{own if plugin != own[:-2] else ''}{plugin}, Python {self.python}"


@dataclass(frozen=True, slots=True)
class Report:
    """One backend and every rule."""

    versions: Versions
    rules: tuple[RuleResult, ...]

    @classmethod
    def of(
        cls,
        versions: Versions,
        tests: Iterable[tuple[str, TestResult]],
        untried: Mapping[str, int] = MappingProxyType({}),
    ) -> Report:
        """Put results together.

        Args:
            versions: what was tried.
            tests: the id of a rule and the result of a test, in any order.
            untried: how many tests the kit has of a rule beside these, by the rule's id.
        """
        found: dict[str, list[TestResult]] = {rule_id: [] for rule_id in RULES}
        for rule_id, test in tests:
            found[rule_id].append(test)
        rules = (
            RuleResult(RULES[rule_id], tuple(tests), untried.get(rule_id, 0))
            for rule_id, tests in found.items()
        )
        return cls(versions, tuple(rules))

    def with_verdict(self, verdict: Verdict) -> tuple[str, ...]:
        """Return the ids of the rules of which that came."""
        return tuple(result.rule.id for result in self.rules if result.verdict is verdict)

    @property
    def seconds(self) -> float:
        """How long everything took."""
        return sum(result.seconds for result in self.rules)

    @property
    def summary(self) -> str:
        """One line, as a README shows it."""
        promises = set(RULES) - {CLAIMS}
        kept = promises.intersection(self.with_verdict(Verdict.KEPT))
        parts = [f"{self.versions.backend}: {len(kept)} of {len(promises)} rules kept"]
        if in_part := [result.rule.id for result in self.rules if result.in_part]:
            parts.append(f"of these in part: {' '.join(in_part)}")
        parts += [
            f"{verdict.value}: {' '.join(ids)}"
            for verdict in (
                Verdict.BROKEN,
                Verdict.NOT_CLAIMED,
                Verdict.NOT_WHOLLY_TRIED,
                Verdict.NOT_TRIED,
            )
            if (ids := self.with_verdict(verdict))
        ]
        return f"{'; '.join(parts)} ({self.versions})"

    def lines(self) -> list[str]:
        """Return the whole report as text."""
        return [*(_line(result) for result in self.rules), "", self.summary]

    def to_json(self) -> dict[str, Any]:
        """Return the whole report as what JSON can hold; see ``FORMAT``."""
        versions = self.versions
        return {
            "format": FORMAT,
            "summary": self.summary,
            "backend": versions.backend,
            "distribution": versions.distribution,
            "version": versions.version,
            "enlist": versions.enlist,
            "python": versions.python,
            "seconds": round(self.seconds, 3),
            "rules": [_rule_json(result) for result in self.rules],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Report:
        """Return the report that :meth:`to_json` wrote, of this version of the form or another."""
        names = ("backend", "distribution", "version", "enlist", "python")
        tests = (
            (
                rule["id"],
                TestResult(test["name"], Outcome(test["outcome"]), test["seconds"], test["detail"]),
            )
            for rule in value["rules"]
            for test in rule["tests"]
            if rule["id"] in RULES
        )
        untried = {rule["id"]: rule.get("untried", 0) for rule in value["rules"]}
        return cls.of(Versions(*(value[name] for name in names)), tests, untried)


def _line(result: RuleResult) -> str:
    rule, count = result.rule, len(result.tests)
    notes = [f"{result.seconds:6.1f} s"] if count else []
    if result.missing:
        untried = sum(test.outcome is Outcome.NOT_CLAIMED for test in result.tests)
        notes.append(f"{untried} of {count} not claimed: {', '.join(result.missing)}")
    if result.untried and count:
        notes.append(f"{result.untried} of {count + result.untried} not tried")
    notes += [
        f"{test.name}: {test.detail}"
        for test in result.tests
        if test.outcome in {Outcome.FAILED, Outcome.SKIPPED}
    ]
    verdict = f"{result.verdict.value}{' in part' if result.in_part else ''}"
    text = f"{rule.id:3} {rule.title:38} {verdict:12}"
    return f"{text} {'; '.join(notes)}".rstrip()


def _rule_json(result: RuleResult) -> dict[str, Any]:
    return {
        "id": result.rule.id,
        "title": result.rule.title,
        "verdict": result.verdict.value,
        "in_part": result.in_part,
        "seconds": round(result.seconds, 3),
        "missing": list(result.missing),
        "untried": result.untried,
        "tests": [
            {
                "name": test.name,
                "outcome": test.outcome.value,
                "seconds": round(test.seconds, 3),
                "detail": test.detail,
            }
            for test in result.tests
        ],
    }
