"""The counting itself: a call that fails, or a server that never answered, is not overlooked."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lifecycle import Fleet, fleet, load


class NoServers(Fleet):
    """A fleet of which it is only told who was in it."""

    def __init__(self, *ever: str) -> None:
        self.ever = list(ever)


def failing_once() -> Callable[[], str]:
    """A call that fails the tenth time."""
    turns = itertools.count(1)

    def call() -> str:
        if next(turns) == 10:
            raise ConnectionError("lost")
        return "a"

    return call


def test_check_fails_for_one_failed_call() -> None:
    """One of many is one too many, and the message says what it was."""
    with load(failing_once(), threads=1) as calls:
        calls.go_on(200)
    with pytest.raises(AssertionError, match=r"1 calls failed.*lost"):
        calls.check(NoServers("a"))


def test_check_fails_for_a_server_that_never_answered() -> None:
    """Servers that nobody called have shown nothing."""
    with load(lambda: "a") as calls:
        calls.go_on(200)
    calls.check(NoServers("a"))
    with pytest.raises(AssertionError):
        calls.check(NoServers("a", "b"))


def test_check_fails_for_too_few_calls() -> None:
    """Nor has a handful of calls shown anything."""
    with load(lambda: "a", threads=1) as calls:
        calls.go_on(1)
    with pytest.raises(AssertionError):
        calls.check(NoServers("a"), at_least=10**9)


def test_start_fails_for_a_server_that_ends(tmp_path: Path) -> None:
    """The message has what the program said."""
    program = [sys.executable, "-c", "raise SystemExit('no such option')"]
    with (
        pytest.raises(AssertionError, match="server-1 ended early: no such option"),
        fleet(lambda _: program, f"local:{tmp_path}/registry", 1),
    ):
        pass
