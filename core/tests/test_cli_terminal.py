"""The command line on a terminal: what it looks like there, and what the keys do."""

from __future__ import annotations

import errno
import os
import pty
import select
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from core.tests.cli_world import ENLIST, ROOT, enlist_process, found, interruptible
from enlist.info import Info
from enlist.opening import open_registry
from tests.servers.ports import free_port
from tests.waiting import eventually

CTRL_C = b"\x03"
CTRL_Z = b"\x1a"
ENDS_WITHIN_S = 30.0


class Terminal:
    """A terminal of its own, with a program that owns it."""

    def __init__(self, pid: int, keys: int) -> None:
        self.pid = pid
        self._keys = keys
        self.seen = ""

    def press(self, keys: bytes) -> None:
        """Type."""
        os.write(self._keys, keys)

    def shows(self, words: str) -> None:
        """Wait until these words have appeared."""
        deadline = time.monotonic() + ENDS_WITHIN_S
        while words not in self.seen:
            assert time.monotonic() < deadline, self.seen
            self._read(deadline)

    def forget(self) -> None:
        """Look only at what comes from now on."""
        self.seen = ""

    def status(self) -> int:
        """Wait for the end; return the exit status."""
        deadline = time.monotonic() + ENDS_WITHIN_S
        while self._read(deadline):
            assert time.monotonic() < deadline, self.seen
        status = eventually(self._ended, within_s=ENDS_WITHIN_S, why="the program has ended")
        return os.waitstatus_to_exitcode(status[0])

    def _ended(self) -> tuple[int, ...]:
        """The program's status, or nothing while it still runs."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return (status,) if pid else ()

    def _read(self, deadline: float) -> bool:
        readable, _, _ = select.select([self._keys], [], [], max(0.0, deadline - time.monotonic()))
        try:
            data = os.read(self._keys, 65_536) if readable else b""
        except OSError as exc:
            if exc.errno != errno.EIO:  # the other end is closed
                raise
            return False
        self.seen += data.decode(errors="replace")
        return bool(data)


@contextmanager
def terminal(place: str, command: Sequence[str]) -> Iterator[Terminal]:
    """Run a command on a terminal while the block runs."""
    environ = {**os.environ, "ENLIST_REGISTRY": place, "TERM": "xterm-256color", "COLUMNS": "120"}
    # As a program of its own, since a test's process has threads and must not be forked.
    near, far = pty.openpty()
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-c", ON_TERMINAL, *command],
        environ,
        setsid=True,
        file_actions=[(os.POSIX_SPAWN_DUP2, far, fd) for fd in (0, 1, 2)],
    )
    os.close(far)
    shown = Terminal(pid, near)
    try:
        yield shown
    finally:
        os.close(near)  # hangs up on whoever still runs there
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


ON_TERMINAL = f"""
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.chdir({str(ROOT)!r})
os.execvp(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """SIGINT reaches what these tests start, however they were started themselves."""
    with interruptible():
        yield


@pytest.fixture
def place(tmp_path: Path) -> str:
    """A registry of this test's own."""
    return f"local:{tmp_path}/registry.db"


def run(port: int, program: str, drain: str = "0s") -> list[str]:
    """`enlist run` with a Python program."""
    options = ("run", "--service", "web", "--port", str(port), "--drain", drain)
    return [*ENLIST, *options, "--", sys.executable, "-c", program]


SERVER = """
import signal, socket, sys
def heard(number, frame):
    print("heard", signal.Signals(number).name, flush=True)
    sys.exit(7)
signal.signal(signal.SIGINT, heard)
listener = socket.create_server(("127.0.0.1", {port}))
"""


def test_watch_draws_a_live_table_on_a_terminal(place: str) -> None:
    """The table shows who is there, changes in place, and Ctrl-C ends it with status 0."""
    with open_registry(place) as registry, terminal(place, [*ENLIST, "watch", "echo"]) as shown:
        shown.shows("0 instances")
        registry.register(Info(service_name="echo", addr="127.0.0.1:81", tags={"zone": "a"}))
        shown.shows("1 instances")
        assert "127.0.0.1:81" in shown.seen
        assert "zone=a" in shown.seen
        assert "\x1b[" in shown.seen  # the cursor goes back: the table is drawn over itself
        shown.forget()
        registry.deregister(Info(service_name="echo", addr="127.0.0.1:81"))
        shown.shows("0 instances")
        assert "127.0.0.1:81" not in shown.seen
        shown.press(CTRL_C)
        assert shown.status() == 0


def test_watch_is_safe_from_what_others_register(place: str) -> None:
    """A tag that would steer the terminal, or rich's markup, is shown as text."""
    tags = {"evil": "\x1b]0;owned\x07[red]x[/red]"}
    with open_registry(place) as registry, terminal(place, [*ENLIST, "watch", "echo"]) as shown:
        registry.register(Info(service_name="echo", addr="127.0.0.1:81", tags=tags))
        shown.shows("1 instances")
        shown.press(CTRL_C)
        shown.status()

    assert "\x1b]0;" not in shown.seen
    assert r"\x1b]0;owned\x07[red]x[/red]" in shown.seen


def test_ls_draws_a_table_on_a_terminal_and_none_in_a_pipe(place: str) -> None:
    """People get lines and headings, programs get columns."""
    with open_registry(place) as registry:
        registry.register(Info(service_name="echo", addr="127.0.0.1:81"))
        with terminal(place, [*ENLIST, "ls", "echo"]) as shown:
            assert shown.status() == 0
        with enlist_process(place, "ls", "echo") as program:
            program.ended()

    assert "─" in shown.seen
    assert program.said == [
        "SERVICE  ADDRESS       WEIGHT  CODEC  TAGS",
        "echo     127.0.0.1:81  10      -      -",
    ]


def test_run_deregisters_before_ctrl_c_reaches_the_command(place: str) -> None:
    """Ctrl-C is a stop like SIGTERM: the command serves on, and a second one ends the drain."""
    port = free_port()
    program = SERVER.format(port=port) + "signal.pause()"
    with terminal(place, run(port, program, drain="50s")) as shown:
        eventually(lambda: found(place, "web"), within_s=30, why="the command is enlisted")
        shown.press(CTRL_C)
        shown.shows("draining")
        assert found(place, "web") == ()
        assert "heard" not in shown.seen
        shown.press(CTRL_C)
        shown.shows("heard SIGINT")
        assert shown.status() == 7


def test_run_lends_the_terminal_to_a_command_that_reads(place: str) -> None:
    """A command that asks something gets the answer, although it is no foreground job at first."""
    port = free_port()
    program = SERVER.format(port=port) + "print('you said', input('name? '), flush=True)"
    with terminal(place, run(port, program)) as shown:
        shown.shows("name? ")
        eventually(lambda: found(place, "web"), within_s=30, why="the command is enlisted")
        shown.press(b"anna\n")
        shown.shows("you said anna")
        assert shown.status() == 0

    assert found(place, "web") == ()


SHELL = """
import os, signal, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, setpgroup=0,
                      setsigdef=[signal.SIGTTOU])
os.tcsetpgrp(0, pid)
while True:
    _, status = os.waitpid(pid, os.WUNTRACED)
    os.tcsetpgrp(0, os.getpgrp())
    if not os.WIFSTOPPED(status):
        sys.exit(os.waitstatus_to_exitcode(status))
    print("stopped", flush=True)
    sys.stdin.readline()
    os.tcsetpgrp(0, pid)
    os.killpg(pid, signal.SIGCONT)
    print("resumed", flush=True)
"""
"""What a shell does with a job: waits, takes the terminal back, and resumes the job at Enter."""


@pytest.mark.parametrize("reading", [False, True])
def test_run_stops_and_resumes_with_its_command(place: str, *, reading: bool) -> None:
    """Ctrl-Z stops both, also while the command has the terminal; the shell resumes both."""
    port = free_port()
    rest = "print('you said', input('name? '), flush=True)\n" if reading else "signal.pause()"
    program = "print('began', flush=True)\n" + SERVER.format(port=port) + rest
    with terminal(place, [sys.executable, "-c", SHELL, *run(port, program)]) as shown:
        shown.shows("name? " if reading else "began")
        eventually(lambda: found(place, "web"), within_s=30, why="the command is enlisted")
        shown.press(CTRL_Z)
        shown.shows("stopped")
        shown.press(b"\n")
        shown.shows("resumed")
        if reading:
            shown.press(b"anna\n")
            shown.shows("you said anna")
            assert shown.status() == 0
        else:
            shown.press(CTRL_C)
            shown.shows("heard SIGINT")
            assert shown.status() == 7


def test_run_leaves_the_terminal_as_it_was(place: str) -> None:
    """Afterwards the terminal is the shell's again, whoever had it last."""
    port = free_port()
    program = SERVER.format(port=port) + "input('name? ')"
    asking = (
        f"import os, subprocess; subprocess.run({run(port, program)!r}); "
        "print('mine', os.tcgetpgrp(0) == os.getpgrp(), flush=True)"
    )
    with terminal(place, [sys.executable, "-c", asking]) as shown:
        shown.shows("name? ")
        shown.press(b"anna\n")
        shown.shows("mine True")
        assert shown.status() == 0
