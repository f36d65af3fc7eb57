"""The entry point through which pytest finds the conformance kit.

A module of its own, and a small one, because pytest imports it at every run wherever enlist is
installed: it imports nothing of enlist unless a test module has done so, by using the kit.
"""

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from enlist.testing.reporter import Reporter

_KIT = "enlist.testing.suite"
_REPORT = "enlist-conformance-report"
_PROPERTY = "enlist_rule"  # of a report that the kit has something to tell of


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the kit."""
    group = parser.getgroup("enlist", "conformance kit for enlist backends")
    group.addoption(
        "--enlist-report",
        metavar="PATH",
        help="write the report of the conformance kit to this file, as JSON",
    )
    group.addoption(
        "--enlist-url",
        metavar="URL",
        help="the registry that 'enlist conformance' tries (for enlist.testing.installed_suite)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Listen for reports of tests that another process has collected, as pytest-xdist has it."""
    config.pluginmanager.register(_Elsewhere(config))


def pytest_collection_modifyitems(config: pytest.Config) -> None:
    """Add the report if the kit is in use."""
    if _KIT in sys.modules:
        config.pluginmanager.register(_reporter(config), _REPORT)


class _Elsewhere:
    """Adds the report when the first test of the kit is reported, if that was not done yet."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        plugins = self._config.pluginmanager
        if _PROPERTY in dict(report.user_properties) and not plugins.has_plugin(_REPORT):
            reporter = _reporter(self._config)
            plugins.register(reporter, _REPORT)
            reporter.pytest_runtest_logreport(report)  # it comes too late to be asked itself


def _reporter(config: pytest.Config) -> "Reporter":
    # Only here may the kit be imported: nobody else pays for it.
    from enlist.testing.reporter import Reporter  # noqa: PLC0415

    return Reporter(config)
