"""The pytest plugin that collects the report; registered only where the kit is in use.

Results travel as properties of the tests' own reports, so that they also arrive from the worker
processes of pytest-xdist.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path
from typing import Final

import pytest

from enlist.choosing.plugins import installed
from enlist.testing.base import KitTests
from enlist.testing.contents import untried
from enlist.testing.report import Outcome, Report, TestResult, Versions
from enlist.testing.rules import Rule, rule_of
from enlist.testing.trial import NOT_CLAIMED
from enlist.testing.under_test import BackendUnderTest

__all__ = ["Reporter"]

_RULE: Final = "enlist_rule"
_BACKEND: Final = "enlist_backend"
_UNKNOWN: Final = "unknown"


class Reporter:
    """Collects what came of the kit's tests, shows it at the end, and writes it as JSON."""

    def __init__(self, config: pytest.Config) -> None:
        """Take the options."""
        is_worker = hasattr(config, "workerinput")  # of pytest-xdist: it sees but a part
        self._path: str | None = None if is_worker else config.getoption("enlist_report")
        self._results: dict[str, dict[str, tuple[str, TestResult]]] = defaultdict(dict)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Note the rule and the backend, and put the rule's text under a failure."""
        report = yield
        rule = _rule_of(item)
        if rule is None:
            return report
        if report.failed and rule.text not in report.longreprtext:
            report.sections.append((f"the rule that is tried: {rule.id}", str(rule)))
        under_test = getattr(item, "funcargs", {}).get("under_test")
        if isinstance(under_test, BackendUnderTest):
            report.user_properties += [(_RULE, rule.id), (_BACKEND, under_test.name)]
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add one phase of a test to its result."""
        properties = dict(report.user_properties)
        backend, rule_id = properties.get(_BACKEND), properties.get(_RULE)
        if not isinstance(backend, str) or not isinstance(rule_id, str):
            return
        results = self._results[backend]
        name = report.nodeid.rpartition("::")[2]
        _, before = results.get(report.nodeid, ("", TestResult(name, Outcome.PASSED, 0.0)))
        outcome, detail = _judged(report)
        if outcome is Outcome.PASSED:
            outcome, detail = before.outcome, before.detail
        result = TestResult(name, outcome, before.seconds + report.duration, detail)
        results[report.nodeid] = rule_id, result

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show the report of each backend."""
        for report in self._reports():
            terminalreporter.section(f"enlist conformance: {report.versions.backend}")
            for line in report.lines():
                terminalreporter.write_line(line)

    def pytest_sessionfinish(self) -> None:
        """Write the reports as JSON, if a path was given: a list with one for each backend."""
        if self._path is not None:
            written = [report.to_json() for report in self._reports()]
            text = json.dumps(written, indent=2, ensure_ascii=False)
            Path(self._path).write_text(text + "\n", encoding="utf-8")

    def _reports(self) -> list[Report]:
        return [
            Report.of(
                _versions(backend),
                results.values(),
                untried(test.name for _, test in results.values()),
            )
            for backend, results in self._results.items()
        ]


def _rule_of(item: pytest.Item) -> Rule | None:
    if not isinstance(item, pytest.Function) or item.cls is None:
        return None
    if not issubclass(item.cls, KitTests):
        return None
    return rule_of(item.originalname)


def _judged(report: pytest.TestReport) -> tuple[Outcome, str]:
    if report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        lines = (crash.message if crash is not None else report.longreprtext).splitlines()
        return Outcome.FAILED, lines[0] if lines else ""
    if not report.skipped:
        return Outcome.PASSED, ""
    if isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if reason.startswith(NOT_CLAIMED):
            return Outcome.NOT_CLAIMED, reason.removeprefix(NOT_CLAIMED)
        return Outcome.SKIPPED, f"skipped: {reason}"
    reason = getattr(report, "wasxfail", "").removeprefix("reason: ")
    return Outcome.SKIPPED, f"expected to fail: {reason}"


def _versions(backend: str) -> Versions:
    found = [plugin for plugin in installed() if plugin.name == backend]
    return Versions(
        backend=backend,
        distribution=found[0].distribution if found else _UNKNOWN,
        version=found[0].version if found else _UNKNOWN,
        enlist=importlib.metadata.version("enlist"),
    )
