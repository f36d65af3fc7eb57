"""Processes that a program under test started, and that outlive both it and the tests.

They are nobody's children any more. What still tells whose they were is their environment, which
carries a mark from the tests on.
"""

import contextlib
import os
from typing import Final

import psutil

from tests.waiting import what_stays

MARK: Final = "TESTS_RUN_BY"
"""The variable that holds the process id of the tests."""


def mark() -> None:
    """Mark whatever is started from now on as ours."""
    os.environ[MARK] = str(os.getpid())


def find_orphans(*, within_s: float) -> list[str]:
    """Name the processes that outlive those who started them, after a wait for those just ending.

    Args:
        within_s: how long something may take to end, in seconds.
    """
    return what_stays(_orphans, within_s=within_s)


def _orphans() -> list[str]:
    ours = {child.pid for child in psutil.Process().children(recursive=True)}
    return [
        f"process {process.pid} ({command}), whose parent has ended"
        for process in psutil.process_iter()
        if process.pid not in ours and (command := _command_if_marked(process))
    ]


def _command_if_marked(process: psutil.Process) -> str:
    """Return the command of a process that carries our mark; empty for any other."""
    with contextlib.suppress(psutil.Error, OSError):  # it has ended, or is somebody else's
        if process.environ().get(MARK) == str(os.getpid()) and process.pid != os.getpid():
            return " ".join(process.cmdline())
    return ""
