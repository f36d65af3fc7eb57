"""How a run with ``-n`` is shared out; a plugin that the workspace's pyproject.toml loads.

A file stays whole, so that its tests share their servers. The longest cannot: a backend's
conformance tests wait out one ttl after another, and would be the end of every run. They are
shared out by kind of rule, R, K and V, each kind with a server of its own.
"""

import re
from pathlib import PurePosixPath
from typing import Any, Final

import pytest
from xdist.scheduler import LoadScopeScheduling

_RULE: Final = re.compile(r"::test_([A-Z])\d")
_LONG: Final = (
    *("test_kit_catches_*", "test_conformance_*"),
    *("test_cluster*", "test_ensemble*", "test_outages*"),
    "test_lifecycle*",  # has one try, and had better not meet the load of the first
)
"""The files that take minutes, in the order in which they are begun."""


def share_of(nodeid: str) -> str:
    """Return the name of what a test stays together with."""
    file, _, _ = nodeid.partition("::")
    rule = _RULE.search(nodeid) if "/test_conformance_" in file else None
    return f"{file} {rule[1]}" if rule else file


def rank_of(nodeid: str) -> int:
    """Return when a test's file is begun: the lowest are first, and those that are short last."""
    name = PurePosixPath(nodeid.partition("::")[0])
    ranks = (rank for rank, pattern in enumerate(_LONG) if name.match(pattern))
    return next(ranks, len(_LONG))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long, so that nobody waits for it alone at the end."""
    items.sort(key=lambda item: rank_of(item.nodeid))


@pytest.hookimpl
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:  # noqa: ANN401 - xdist has no types
    """Share out by `share_of`."""
    scheduler = LoadScopeScheduling(config, log)
    scheduler._split_scope = share_of
    return scheduler
