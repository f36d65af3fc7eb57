"""Nothing may outlive a test: no thread, socket, file descriptor or process.

A pytest plugin that the root pyproject loads, so it holds for the tests
of every package. Each test is compared with itself, before and after, and so is the whole
run, which also catches what a fixture of a wider scope leaves behind, and what a program leaves
that a test had started.
"""

import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests import orphans
from tests.waiting import what_stays

_RESOURCE_TRACKER = "multiprocessing.resource_tracker"
_FORK_SERVER = "multiprocessing.forkserver"
_GRPC = "grpc._cython.cygrpc"
_GUARDIAN = "servers/guardian.py"  # the parent of each test server
_PIDFD = "anon_inode:[pidfd]"


@dataclass(frozen=True)
class Held:
    """What this process holds at one moment; each a name for people by its identity."""

    threads: dict[threading.Thread, str] = field(default_factory=dict)
    descriptors: dict[tuple[int, str], str] = field(default_factory=dict)
    children: dict[tuple[int, float], str] = field(default_factory=dict)

    def beyond(self, earlier: "Held") -> list[str]:
        """Name everything that is here and was not there `earlier`."""
        return [
            *(name for key, name in self.threads.items() if key not in earlier.threads),
            *(name for key, name in self.descriptors.items() if key not in earlier.descriptors),
            *(name for key, name in self.children.items() if key not in earlier.children),
        ]


def held(*, servers: bool = True) -> Held:
    """Look at what this process holds now, less what libraries keep for the whole process.

    Args:
        servers: count the processes of test servers too. They belong to fixtures of a wider
            scope, and a test may restart one, after which it is another process.
    """
    children = {child: _command(child) for child in psutil.Process().children(recursive=True)}
    if not servers:
        guardians = {child.pid for child, command in children.items() if _GUARDIAN in command}
        children = {
            child: command
            for child, command in children.items()
            if child.pid not in guardians and _parent(child) not in guardians
        }
    helpers = {child for child, command in children.items() if _is_library_helper(command)}
    return Held(
        threads={thread: f"thread {thread.name!r}" for thread in threading.enumerate()},
        descriptors={
            key: name
            for key, name in _descriptors(helpers).items()
            if servers or key[1] != _PIDFD  # the harness holds one for each server
        },
        children={
            (child.pid, child.create_time()): f"child process {child.pid} ({command})"
            for child, command in children.items()
            if child not in helpers
        },
    )


def _descriptors(helpers: set[psutil.Process]) -> dict[tuple[int, str], str]:
    """Name each open descriptor; only Linux tells what is behind one."""
    if not sys.platform.startswith("linux"):
        return {}
    shared = {target for helper in helpers for _, target in _links(helper.pid)}
    return {
        (number, target): f"file descriptor {number} ({target})"
        for number, target in _links(os.getpid())
        if target not in shared and not _is_library_descriptor(target)
    }


def _links(pid: int) -> Iterator[tuple[int, str]]:
    """Read where each descriptor leads; one that closes meanwhile is gone, which is the aim."""
    try:
        entries = list(Path(f"/proc/{pid}/fd").iterdir())
    except (FileNotFoundError, PermissionError):
        return
    for entry in entries:
        try:
            yield int(entry.name), str(entry.readlink())
        except FileNotFoundError:
            continue


def _command(child: psutil.Process) -> str:
    """Give the command line of a child, or its state when it has none any more."""
    try:
        return " ".join(child.cmdline())
    except psutil.ZombieProcess:
        return "ended, but nobody waited for it"
    except psutil.NoSuchProcess:
        return "ended"


def _parent(child: psutil.Process) -> int:
    """Give the parent's process id, 0 when the child has ended."""
    try:
        return child.ppid()
    except psutil.NoSuchProcess:
        return 0


def _is_library_helper(command: str) -> bool:
    """Recognise the two helpers that multiprocessing starts once and keeps until exit."""
    return _RESOURCE_TRACKER in command or _FORK_SERVER in command


def _is_library_descriptor(target: str) -> bool:
    """Recognise gRPC's poller, which its C core opens at first use and keeps until exit.

    A server or a connected channel that was left open still shows: by its socket.
    """
    return _GRPC in sys.modules and target in {"anon_inode:[eventpoll]", "anon_inode:[eventfd]"}


def find_left(before: Held, *, within_s: float, servers: bool = True) -> list[str]:
    """Name what this process holds beyond `before`, after a wait for what is just ending.

    Args:
        before: what `held()` gave at the start.
        within_s: how long something may take to end, in seconds.
        servers: as `before` was asked for.

    Returns:
        One name for each thing that is left; empty at once when nothing is.
    """
    return what_stays(lambda: held(servers=servers).beyond(before), within_s=within_s)


def _blame(left: list[str]) -> None:
    """Fail the test that is being torn down when something is left."""
    if left:
        pytest.fail(f"Left behind: {'; '.join(left)}. End or close it in the test.", pytrace=False)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a run say how long something that was told to end may take to end."""
    parser.addini("leak_grace_s", "seconds that threads and sockets have to end", default="5")


@pytest.fixture(scope="session")
def _leak_grace_s(pytestconfig: pytest.Config) -> float:
    """How long something that was told to end may take to end, in seconds."""
    return float(pytestconfig.getini("leak_grace_s"))


@pytest.fixture(scope="session", autouse=True)
def _blamed_on_tests(_leak_grace_s: float) -> Iterator[list[str]]:
    """Fail the run's last test when a fixture of a wider scope left something behind.

    Gives the list of what single tests were blamed for, which is not told twice.
    """
    orphans.mark()
    before = held()
    blamed: list[str] = []
    yield blamed
    left = [name for name in find_left(before, within_s=_leak_grace_s) if name not in blamed]
    _blame([*left, *orphans.find_orphans(within_s=_leak_grace_s)])


@pytest.fixture(autouse=True)
def _nothing_left_by_the_test(_blamed_on_tests: list[str], _leak_grace_s: float) -> Iterator[None]:
    """Fail a test that leaves a thread, socket, file descriptor or child process behind."""
    before = held(servers=False)
    yield
    left = find_left(before, within_s=_leak_grace_s, servers=False)
    _blamed_on_tests.extend(left)
    _blame(left)
