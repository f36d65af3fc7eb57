"""The command that ``enlist run`` starts: its process, its end, and the signals meant for it."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Final

from enlist.cli.terminal import Terminal
from enlist.errors import ServingError

__all__ = ["Command", "CommandError"]

STOPS: Final = frozenset({signal.SIGTERM, signal.SIGINT})
"""What asks for a stop: told to enlist first, and to the command when it has left."""

FOR_THE_GROUP: Final = frozenset({signal.SIGINT, signal.SIGQUIT, signal.SIGWINCH})
"""What a terminal sends: always to a whole process group."""

NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126
BY_SIGNAL: Final = 128

_PASSED: Final = (
    *(signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH),
)
_IGNORED_BY_PYTHON: Final = (signal.SIGPIPE, signal.SIGXFSZ)
_KILLED_WITHIN_S: Final = 5.0

_log = logging.getLogger("enlist")


class CommandError(ServingError):
    """The command cannot be started.

    Attributes:
        status: the exit status by which a shell says the same.
    """

    def __init__(self, message: str, status: int) -> None:
        """Say why, and with which status."""
        super().__init__(message)
        self.status = status


class Command:
    """A child process in a process group of its own.

    Signals are taken by a thread, which also waits for children: all of them, since in a
    container those that lost their parent become ours. SIGTERM and SIGINT are kept until
    :meth:`release`; all others are passed on at once.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        on_stop: Callable[[], object],
        on_end: Callable[[], object],
    ) -> None:
        """Take what :meth:`running` needs.

        Args:
            argv: the program and its arguments.
            on_stop: called for each stop that is kept.
            on_end: called when the command has ended.
        """
        self._argv = list(argv)
        self._on_stop = on_stop
        self._on_end = on_end
        self._lock = threading.Lock()
        self._kept: list[int] = []
        self._released = False
        self._ended = threading.Event()
        self._given_up = False
        self._status = 0
        self.pid = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start the command; the block must have waited for its end when it returns.

        Raises:
            CommandError: it is not there, or cannot be executed.
            ServingError: this is not the main thread, whose signals are taken.
        """
        with _signals_taken() as (taken, mask):
            self.pid = self._spawn(mask)
            with closing(Terminal(self.pid)) as terminal:
                attending = threading.Thread(
                    target=self._attend, args=(taken, terminal), name="enlist-signals"
                )
                attending.start()
                try:
                    yield
                finally:
                    attending.join()

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self._ended.is_set()

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait for the end and return the exit status, 128 and more for a signal.

        Returns:
            None when the seconds have passed first.
        """
        return self._status if self._ended.wait(timeout_s) else None

    def release(self) -> None:
        """Pass on the stop that was kept, if any, and from now on each that comes."""
        with self._lock:
            self._released = True
            kept = self._kept[:1]
        for number in kept:
            self._send(number)

    def end(self, grace_s: float) -> None:
        """Stop it and all that it started: SIGTERM, and SIGKILL when the seconds have passed.

        One that may not be signalled is left, and that is logged.
        """
        for number, within_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, _KILLED_WITHIN_S)):
            if self._send(number, group=True) and self.wait(within_s) is not None:
                return
        _log.error("the command (process %d) could not be ended, and goes on", self.pid)
        self._given_up = True
        os.kill(os.getpid(), signal.SIGCHLD)  # wakes the thread that takes the signals

    def _spawn(self, mask: set[signal.Signals]) -> int:
        program = self._argv[0]
        try:
            return os.posix_spawnp(
                program,
                self._argv,
                os.environ,
                setpgroup=0,
                setsigmask=mask,
                setsigdef=_IGNORED_BY_PYTHON,
            )
        except FileNotFoundError as exc:
            if shutil.which(program) is not None:
                raise CommandError(
                    f"{program!r} cannot be executed: the program that its first line names is "
                    "not there",
                    NOT_EXECUTABLE,
                ) from exc
            raise CommandError(
                f"{program!r} is not found; give its path, or look at PATH", NOT_FOUND
            ) from exc
        except OSError as exc:
            raise CommandError(
                f"{program!r} cannot be executed: {exc.strerror}", NOT_EXECUTABLE
            ) from exc

    # --- in the thread that takes the signals ------------------------------------------------

    def _attend(self, taken: set[signal.Signals], terminal: Terminal) -> None:
        while not (self.ended or self._given_up):
            number = signal.sigwait(taken)
            if number == signal.SIGCHLD:
                self._reap(terminal)
            elif number == signal.SIGTSTP:
                self._permitted(number, terminal.stop_command)
            elif number not in STOPS or not self._keep(number):
                self._send(number)
        self._on_end()

    def _keep(self, number: int) -> bool:
        with self._lock:
            if self._released:
                return False
            self._kept.append(number)
        self._on_stop()
        return True

    def _reap(self, terminal: Terminal) -> None:
        """Look at every child that has ended or stopped: one SIGCHLD may stand for several."""
        while True:
            with self._lock:  # nobody may send a signal to a number that is free again
                pid, status = _next_child()
                if pid == self.pid and not os.WIFSTOPPED(status):
                    code = os.waitstatus_to_exitcode(status)
                    self._status = code if code >= 0 else BY_SIGNAL - code
                    self._ended.set()
            if pid == 0:
                return
            if pid == self.pid and os.WIFSTOPPED(status):
                terminal.command_stopped(os.WSTOPSIG(status))

    def _send(self, number: int, *, group: bool = False) -> bool:
        """Send a signal while it runs, and return whether that may be done."""
        kill = os.killpg if group or number in FOR_THE_GROUP else os.kill

        def send() -> None:
            with self._lock:
                if not self.ended:
                    kill(self.pid, number)

        return self._permitted(number, send)

    def _permitted(self, number: int, send: Callable[[], object]) -> bool:
        try:
            send()
        except PermissionError:
            _log.warning(
                "%s may not be sent to the command (process %d), which runs as another user; to "
                "start it so, run enlist itself as that user: sudo -u USER enlist run ...",
                signal.Signals(number).name,
                self.pid,
            )
            return False
        return True


def _next_child() -> tuple[int, int]:
    try:
        return os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
    except ChildProcessError:
        return 0, 0


@contextmanager
def _signals_taken() -> Iterator[tuple[set[signal.Signals], set[signal.Signals]]]:
    """Block the signals that are passed on, for all threads from now on.

    What is ignored stays so, here and in the command: ``nohup`` means it.

    Yields:
        The signals that a thread may wait for, and the mask as it was before.
    """
    if threading.current_thread() is not threading.main_thread():
        raise ServingError("enlist run takes the signals of its process: run it in its main thread")
    passed = {number for number in _PASSED if signal.getsignal(number) is not signal.SIG_IGN}
    taken = passed | {signal.SIGCHLD, signal.SIGTSTP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, taken | {signal.SIGTTOU})
    # A child's end is told only where it is not ignored, as some parents pass it on.
    handler = signal.signal(signal.SIGCHLD, lambda *_: None)
    try:
        yield taken, {signal.Signals(number) for number in before}
    finally:
        while pending := signal.sigpending() & taken:
            signal.sigwait(pending)  # too late to be passed on
        signal.signal(signal.SIGCHLD, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
