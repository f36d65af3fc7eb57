"""The test's side of :mod:`enlist.testing.worker`: processes to kill, stop and fork."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from typing import Any, Final

from enlist.info import Info
from enlist.testing.texts import from_json, to_json
from enlist.testing.under_test import BackendUnderTest

__all__ = ["Worker", "WorkerError"]

ENDS_WITHIN_S: Final = 10.0
ANSWERS_WITHIN_S: Final = 45.0
"""A process that does not answer for so long is killed, and the test fails."""


class WorkerError(Exception):
    """A command failed in the other process; the message has what it said."""


class Worker:
    """A process with a registry of its own."""

    def __init__(self, under_test: BackendUnderTest) -> None:
        """Start the process and open the registry in it. Nothing is sent to the backend yet."""
        self._children: list[int] = []
        self._errors = tempfile.TemporaryFile(mode="w+", encoding="utf-8")  # noqa: SIM115 - closed in end()
        path = os.pathsep.join(filter(None, sys.path))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "enlist.testing.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONPATH": path},
        )
        try:
            self._do("open", url=under_test.url, options=dict(under_test.options))
        except BaseException:
            self.end()  # nobody else can: there will be no object to call it on
            raise

    def register(self, info: Info) -> None:
        """Register in the other process."""
        self._do("register", info=to_json(info))

    def register_all(self, infos: Sequence[Info]) -> None:
        """Register many at once in the other process."""
        self._do("register_all", infos=[to_json(info) for info in infos])

    def deregister(self, info: Info) -> None:
        """Deregister in the other process."""
        self._do("deregister", info=to_json(info))

    def resolve(self, service_name: str) -> Sequence[Info]:
        """Resolve in the other process."""
        return [from_json(info) for info in self._do("resolve", service_name=service_name)]

    def states(self) -> list[str]:
        """Return the states of its registrations."""
        return list(self._do("status"))

    def fork(self, then: str, info: Info | None = None) -> int:
        """Have it fork; the child ends with this worker at the latest. Returns the child's pid.

        Args:
            then: what the child does; see ``Commands.do_fork`` in :mod:`enlist.testing.worker`.
            info: what the child registers.
        """
        found = self._do("fork", then=then, info=None if info is None else to_json(info))
        if then in {"linger", "register"}:
            self._children.append(found["pid"])
        if found["report"] != "done":
            raise WorkerError(f"in the forked child: {found['report'] or 'it ended'}")
        return int(found["pid"])

    def fork_by_multiprocessing(self) -> None:
        """Have it run a child of multiprocessing to its end."""
        if (report := self._do("multiprocessing")) != "done":
            raise WorkerError(f"in a child of multiprocessing: {report}")

    def end_child(self, pid: int) -> None:
        """Kill a child and have it waited for."""
        os.kill(pid, signal.SIGKILL)
        self._children.remove(pid)
        self._do("reap", pid=pid)

    def freeze(self) -> None:
        """Stop the process."""
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self._process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it with -9, as a crash would."""
        self._process.kill()
        self._process.wait(ENDS_WITHIN_S)

    def end(self) -> None:
        """End it, its children and the pipes, whatever state they are in."""
        for pid in self._children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            if pipe is not None:
                # What a dead process was still to be told is lost.
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def _do(self, what: str, **arguments: Any) -> Any:  # noqa: ANN401 - JSON
        pipe_in, pipe_out = self._process.stdin, self._process.stdout
        if pipe_in is None or pipe_out is None:
            raise WorkerError("the process has no pipes")
        try:
            pipe_in.write(json.dumps({"do": what, **arguments}) + "\n")
            pipe_in.flush()
        except BrokenPipeError as exc:
            raise WorkerError(f"the process has ended:\n{self._complaints()}") from exc
        killed = threading.Event()

        def kill() -> None:
            killed.set()
            self._process.kill()

        overdue = threading.Timer(ANSWERS_WITHIN_S, kill)
        overdue.start()
        try:
            line = pipe_out.readline()
        finally:
            overdue.cancel()
            overdue.join()
        if not line and killed.is_set():
            raise WorkerError(
                f"the process did not answer {what!r} within {ANSWERS_WITHIN_S:g} s and was killed"
            )
        if not line:
            raise WorkerError(f"the process ended instead of answering:\n{self._complaints()}")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer["answer"]

    def _complaints(self) -> str:
        self._errors.seek(0)
        return self._errors.read()
