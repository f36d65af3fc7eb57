"""One server process that tests start, freeze, kill and start again on the same ports."""

import abc
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Final, Self

from tests.servers.ports import ClaimedPort, claim_port
from tests.waiting import eventually

_SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a private folder is made below it
_GUARDIAN: Final = Path(__file__).with_name("guardian.py")
_TAIL_LINES: Final = 40
_PAUSE_S: Final = 0.05
READY_TIMEOUT_S: Final = 45.0  # below the time limit of a test, so that the log is seen
STOP_TIMEOUT_S: Final = 15.0


class ServerFailedError(Exception):
    """A server did not come up, or ended by itself; the message ends in its log's tail."""


class Server(abc.ABC):
    """A server on 127.0.0.1 with a private folder, ended together with this process.

    Use it as a context manager: entering starts it and waits until it answers,
    leaving ends it and removes its folder. Not for use from several threads at once.

    Args:
        name: Names the folder and the log, and the node where the server has nodes.
    """

    kind: ClassVar[str]

    def __init__(self, name: str) -> None:
        parent = _SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK | os.X_OK) else None
        self.name: Final = name
        self.folder: Final = Path(tempfile.mkdtemp(prefix=f"enlist-{self.kind}-", dir=parent))
        self.data: Final = self.folder / "data"
        self.log: Final = self.folder / f"{name}.log"
        self._ports: list[ClaimedPort] = []
        self._guardian: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._pid = -1

    @abc.abstractmethod
    def command(self) -> list[str]:
        """Return the program and its arguments; called before every start.

        The data folder is there, and this is the moment to write configuration files.
        """

    @abc.abstractmethod
    def answers(self) -> bool:
        """Tell whether the server serves requests now; OSError counts as no."""

    def __enter__(self) -> Self:
        """Start the server and wait until it answers."""
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the server and remove its folder."""
        self.close()

    def __repr__(self) -> str:
        """Show what runs and where."""
        state = f"pid {self._pid}" if self.running else "not running"
        return f"<{type(self).__name__} {self.name}: {state}>"

    @property
    def running(self) -> bool:
        """Whether the process is there, answering or frozen."""
        return self._guardian is not None and self._guardian.poll() is None

    @property
    def frozen(self) -> bool:
        """Whether every thread of the process is stopped."""
        return self.running and set(_thread_states(self._pid)) == {"T"}

    @property
    def pid(self) -> int:
        """The server's process id.

        Raises:
            ServerFailedError: If it does not run.
        """
        if not self.running:
            raise self._failure("does not run")
        return self._pid

    def claim(self) -> int:
        """Claim one more port for the life of this object."""
        port = claim_port()
        self._ports.append(port)
        return port.number

    def spawn(self) -> None:
        """Start the process without waiting for answers; a running one is left alone."""
        if self.running:
            return
        self.data.mkdir(exist_ok=True)
        command = self.command()
        report, report_to = os.pipe()
        with os.fdopen(report, "rb") as reader:
            try:
                self._guardian = self._start_guardian(command, report_to)
            finally:
                os.close(report_to)
            line = reader.readline()
        if not line:
            self._collect()
            raise self._failure("could not be started")
        self._pid = int(line)
        self._open_pidfd()

    def _start_guardian(self, command: list[str], report_to: int) -> subprocess.Popen[bytes]:
        """Start the guardian, which starts the server and writes its pid to `report_to`."""
        settings = (str(os.getpid()), str(report_to), os.fspath(self.folder))
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-I", "-S", os.fspath(_GUARDIAN), *settings, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                pass_fds=[report_to],
                start_new_session=True,
            )

    def _open_pidfd(self) -> None:
        try:
            self._pidfd = os.pidfd_open(self._pid)
        except ProcessLookupError as exc:
            self._collect()
            raise self._failure("ended at once") from exc

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait until the server answers.

        Raises:
            ServerFailedError: If it ended, or did not answer within `timeout_s` seconds.
        """
        deadline = time.monotonic() + timeout_s
        while not self._answers_or_not_yet():
            if self._guardian is None or self._ended_within(_PAUSE_S):
                raise self._failure("ended before it answered")
            if time.monotonic() > deadline:
                raise self._failure(f"did not answer within {timeout_s:g} s")

    def _answers_or_not_yet(self) -> bool:
        try:
            return self.answers()
        except OSError:  # it does not listen yet, or resets while it starts
            return False

    def _ended_within(self, pause_s: float) -> bool:
        assert self._guardian is not None
        try:
            self._guardian.wait(pause_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def start(self) -> None:
        """Start the server and wait until it answers; a running one is only waited for."""
        self.spawn()
        self.wait_ready()

    def stop(self) -> None:
        """End the server with SIGTERM, and with SIGKILL after 15 s. Not running is no error."""
        if self._guardian is None:
            return
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)  # a frozen process handles SIGTERM once it is thawed
        try:
            self._guardian.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
        self._collect()

    def kill(self) -> None:
        """End the server with SIGKILL, frozen or not, and wait for its end."""
        self._signal(signal.SIGKILL)
        self._collect()

    def freeze(self) -> None:
        """Stop every thread (SIGSTOP): the kernel still accepts, the server never answers."""
        pid = self.pid
        self._signal(signal.SIGSTOP)
        eventually(lambda: set(_thread_states(pid)) == {"T"}, why=f"{self!r} is frozen")

    def thaw(self) -> None:
        """Let a frozen server run on (SIGCONT); nothing happens to one that runs."""
        pid = self.pid
        self._signal(signal.SIGCONT)
        eventually(lambda: "T" not in _thread_states(pid), why=f"{self!r} is thawed")

    def restart(self, *, wipe: bool = False) -> None:
        """Stop the server and start it on the same ports, with its data or with none."""
        self.stop()
        if wipe:
            self.wipe()
        self.start()

    def wipe(self) -> None:
        """Remove the data of a server that does not run.

        Raises:
            RuntimeError: If it runs.
        """
        if self.running:
            msg = f"Cannot wipe {self!r}: stop or kill it first."
            raise RuntimeError(msg)
        if self.data.exists():
            shutil.rmtree(self.data)

    def recover(self) -> None:
        """Bring the server back to answering after whatever a test did to it."""
        if self.running and not self.frozen:
            return
        if self.frozen:
            self.thaw()
        self.start()

    def close(self) -> None:
        """Kill the server, remove its folder, release its ports. A second call does nothing."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
        for port in self._ports:
            port.release()

    def log_tail(self) -> str:
        """Return the last lines that the server wrote."""
        if not self.log.exists():
            return "(no log)"
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-_TAIL_LINES:]) or "(empty log)"

    def _signal(self, number: signal.Signals) -> None:
        """Signal the server through its pidfd, which never hits a stranger's reused pid."""
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):  # it has ended already
                signal.pidfd_send_signal(self._pidfd, number)

    def _collect(self) -> None:
        """Reap the guardian, which ends when the server has, and forget the process."""
        if self._guardian is not None:
            self._guardian.wait()
        if self._pidfd >= 0:
            os.close(self._pidfd)
        self._pidfd = -1

    def _failure(self, what: str) -> ServerFailedError:
        status = None if self._guardian is None else self._guardian.poll()
        ended = "" if status is None else f" (exit status {status})"
        return ServerFailedError(
            f"The {self.kind} server {self.name!r} {what}{ended}. "
            f"The end of its log {self.log}:\n{self.log_tail()}"
        )


def _thread_states(pid: int) -> list[str]:
    """Return the state letter of each thread of a process, nothing where it has ended."""
    states = []
    for task in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the thread ended
            stat = task.read_text(encoding="utf-8", errors="replace")
            states.append(stat.rpartition(")")[2].split()[0])
    return states
