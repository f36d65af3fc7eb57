"""What the tests of clients stand on: a registry of their own, and a view of what they enlist.

A module that needs another registry has a fixture of that name itself.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.tests.scripted_source import unheard_resolver
from enlist.finding.resolver import Resolver
from enlist.opening import open_registry
from enlist.registry import Registry


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """A registry of this test's own."""
    with open_registry(f"local:{tmp_path}/registry") as opened:
        assert isinstance(opened, Registry)
        yield opened


@pytest.fixture
def resolver(registry: Registry) -> Iterator[Resolver]:
    """A resolver of the servers that the test enlists."""
    with registry.resolver("echo") as opened:
        yield opened


@pytest.fixture
def unheard() -> Iterator[Resolver]:
    """A resolver that has no list, so that a pick waits for one."""
    with unheard_resolver() as (made, _):
        yield made
