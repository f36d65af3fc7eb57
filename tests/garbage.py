"""What a failed test left to the garbage collector; a plugin that the workspace's pyproject loads.

A traceback keeps the sockets and processes of its test alive, in circles, until the collector
comes by. By then another test runs, and would be blamed for the warnings.
"""

import gc
import sys
import warnings
from collections.abc import Generator

import pytest

_FAILED = pytest.StashKey[str]()
"""The test that failed last, until it has been cleared up behind."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note that a test, or its set-up or its end, has failed."""
    report = yield
    if call.excinfo is not None and not report.skipped:
        item.session.stash[_FAILED] = item.nodeid
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Clear up behind a failed test before another begins; its own second try is none."""
    if item.session.stash.get(_FAILED, item.nodeid) != item.nodeid:
        del item.session.stash[_FAILED]
        _collect()


def _collect() -> None:
    """Collect all garbage, and pass over what it complains of: the test has failed already."""
    for name in ("last_type", "last_value", "last_traceback", "last_exc"):
        if hasattr(sys, name):  # pytest keeps the last failure there, for a debugger
            delattr(sys, name)
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            gc.collect()
    finally:
        sys.unraisablehook = hook
