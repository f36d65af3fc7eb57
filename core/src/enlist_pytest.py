"""The entry point through which pytest finds the conformance kit.

A module of its own, and a small one, because pytest imports it at every run wherever enlist is
installed: it imports nothing of enlist unless a test module has done so, by using the kit.
"""

import sys

import pytest

_KIT = "enlist.testing.suite"


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


def pytest_collection_modifyitems(config: pytest.Config) -> None:
    """Add the report if the kit is in use."""
    if _KIT in sys.modules:
        # Only here may the kit be imported: nobody else pays for it.
        from enlist.testing.reporter import Reporter  # noqa: PLC0415

        config.pluginmanager.register(Reporter(config), "enlist-conformance-report")
