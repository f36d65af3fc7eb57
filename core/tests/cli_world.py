"""What the tests of the command line share: the command as a process, and what it runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from core.tests.serving_world import ENDS_WITHIN_S, Program, found

ROOT = Path(__file__).parents[2]
SERVER = Path(__file__).with_name("cli_server.py")
ENLIST = (sys.executable, "-W", "error", "-m", "enlist.cli")

__all__ = [
    "ENLIST",
    "ROOT",
    "SERVER",
    "Program",
    "end",
    "enlist_process",
    "found",
    "interruptible",
    "server",
]


@contextmanager
def interruptible() -> Iterator[None]:
    """Have programs that are started here hear of SIGINT, which a background job ignores."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def server(mode: str, port: int) -> tuple[str, ...]:
    """The command line of the server that these tests run."""
    return (sys.executable, "-W", "error", str(SERVER), mode, str(port))


def end(process: subprocess.Popen[str], within_s: float = ENDS_WITHIN_S) -> None:
    """Have the command end what it runs, and wait for no drain; kill it where it hears nothing.

    It is told again and again: two signals that are on their way at once arrive as one.
    """
    deadline = time.monotonic() + within_s
    while process.poll() is None:
        if time.monotonic() < deadline:
            process.terminate()
        else:
            process.kill()
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.2)


@contextmanager
def enlist_process(place: str, *arguments: str, wrapper: Sequence[str] = ()) -> Iterator[Program]:
    """Run the command while the block runs; what it started is left to the command."""
    process = subprocess.Popen(
        [*wrapper, *ENLIST, *arguments],
        cwd=ROOT,
        env={**os.environ, "ENLIST_REGISTRY": place},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield Program(process)
        finally:
            end(process)
