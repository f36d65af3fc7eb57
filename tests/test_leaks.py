"""The leak check: it must fail for each kind of thing that can be left behind."""

import multiprocessing
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.leaks import Held, find_left, held
from tests.orphans import find_orphans

SLEEPER = (sys.executable, "-c", "input()")


@pytest.fixture
def before() -> Held:
    """What was held before the test."""
    return held()


@pytest.fixture
def cleanup() -> Iterator[ExitStack]:
    """Ends what a test left on purpose, before the real check looks."""
    with ExitStack() as stack:
        yield stack


def found(before: Held) -> str:
    """What the check finds at once, as one text."""
    return "; ".join(find_left(before, within_s=0))


def test_check_fails_on_a_leaked_thread(before: Held, cleanup: ExitStack) -> None:
    """A thread that still runs is found, by its name."""
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, name="left-thread", daemon=True)
    thread.start()
    cleanup.callback(thread.join)
    cleanup.callback(stop.set)

    assert re.search("thread 'left-thread'", found(before))


def test_check_fails_on_a_leaked_socket(before: Held, cleanup: ExitStack) -> None:
    """An open socket is found."""
    cleanup.enter_context(socket.socket())

    assert re.search(r"file descriptor \d+ \(socket:", found(before))


def test_check_fails_on_a_leaked_file(before: Held, cleanup: ExitStack, tmp_path: Path) -> None:
    """An open file is found, by its path."""
    path = tmp_path / "left-open"
    cleanup.enter_context(path.open("w"))

    assert re.search(rf"file descriptor \d+ \(.*{path.name}\)", found(before))


def test_check_fails_on_a_leaked_pipe(before: Held, cleanup: ExitStack) -> None:
    """Both ends of a pipe are found."""
    for end in os.pipe():
        cleanup.callback(os.close, end)

    assert re.search(r"\(pipe:.*; .*\(pipe:", found(before))


def test_check_fails_on_a_leaked_child(before: Held, cleanup: ExitStack) -> None:
    """A child that still runs is found, by its command."""
    child = cleanup.enter_context(subprocess.Popen(SLEEPER, stdin=subprocess.PIPE))

    assert re.search(rf"child process {child.pid} \(.*input", found(before))


def test_check_fails_on_a_child_that_nobody_waited_for(before: Held, cleanup: ExitStack) -> None:
    """A child that ended but was never waited for is still a process, so it is found."""
    child = subprocess.Popen((sys.executable, "-c", ""))
    cleanup.callback(child.wait)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

    assert re.search(rf"child process {child.pid} \(ended", found(before))


def test_check_fails_on_an_orphan() -> None:
    """A process is found that outlives the program which started it."""
    start = f"import subprocess, sys; subprocess.Popen({SLEEPER!r}, stdin=sys.stdin)"
    reader, writer = os.pipe()
    try:
        subprocess.run([sys.executable, "-c", start], stdin=reader, check=True)
        assert re.search(
            r"process \d+ \(.*input.*\), whose parent has ended", str(find_orphans(within_s=0))
        )
    finally:
        os.close(reader)
        os.close(writer)  # ends the sleeper
    assert find_orphans(within_s=20) == []


def test_check_fails_when_a_descriptor_was_replaced(cleanup: ExitStack) -> None:
    """A number that now leads elsewhere is a leak too: closing one thing excuses no other."""
    with socket.socket() as first:
        before = held()
    second = cleanup.enter_context(socket.socket())
    assert first.fileno() == -1

    assert re.search(rf"file descriptor {second.fileno()} ", found(before))


def test_check_waits_for_a_thread_that_is_just_ending(before: Held) -> None:
    """What ends by itself in time is no leak."""
    checked = threading.Event()
    thread = threading.Thread(target=checked.wait, args=(0.2,))
    thread.start()

    assert find_left(before, within_s=10) == []
    assert not thread.is_alive()


def test_check_accepts_what_was_there_before(cleanup: ExitStack) -> None:
    """What a fixture of a wider scope holds is not the test's leak."""
    cleanup.enter_context(socket.socket())

    assert found(held()) == ""


def test_check_accepts_the_helper_of_multiprocessing(before: Held) -> None:
    """The resource tracker stays until exit, with its pipe; a spawned child does not."""
    process = multiprocessing.get_context("spawn").Process(target=os.getpid)
    process.start()
    process.join()
    process.close()

    assert find_left(before, within_s=10) == []


LEAKING = """
import socket
import pytest

kept = []

@pytest.fixture(scope="module")
def careless():
    kept.append(open(__file__))

def test_leaving_a_socket():
    kept.append(socket.socket())

def test_leaving_nothing(careless):
    pass
"""


def test_check_fails_the_run_when_a_test_or_a_wider_fixture_leaks(tmp_path: Path) -> None:
    """As a plugin it blames the test for its own leak, and the run's end for a fixture's."""
    root = Path(__file__).parent.parent
    leaking = tmp_path / "test_leaking.py"
    leaking.write_text(LEAKING)
    options = (
        "-q",
        "-c",
        str(root / "pyproject.toml"),
        "-p",
        "no:cacheprovider",
        "-o",
        "leak_grace_s=0.1",
    )

    run = subprocess.run(
        (sys.executable, "-m", "pytest", *options, "-p", "tests.leaks", str(leaking)),
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 1
    assert re.search(r"test_leaving_a_socket.*\n.*Left behind: .*socket:\[\d+\]\)\.", run.stdout)
    assert re.search(r"test_leaving_nothing.*\n.*Left behind: .*test_leaking\.py\)\.", run.stdout)
    assert "2 passed, 2 errors" in run.stdout
