"""The program that a test starts to have a process that it may kill, stop and fork.

Run as ``python -m enlist.testing.worker``. Reads commands and writes answers, one JSON object a
line, on its standard input and output; see :class:`enlist.testing.workers.Worker`. Ends when its
input does.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, Final

from enlist.errors import EnlistError
from enlist.opening import open_registry
from enlist.testing.texts import from_json, to_json

__all__ = ["main"]

LONGEST_LIFE_S: Final = 60
"""A child that nobody ended ends by itself."""
ENDS_WITHIN_S: Final = 30
"""One that has nothing to do but to end; less than the time in which a worker has to answer."""
DEAF_S: Final = 5
"""How much later it is killed if it does not hear of that."""


class Commands:
    """The commands, each a method whose name begins with ``do_``."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._registry: Any = None

    def obey(self, line: str) -> dict[str, Any]:
        """Carry out one command and return the answer."""
        command = json.loads(line)
        method: Callable[..., Any] = getattr(self, f"do_{command.pop('do')}")
        try:
            return {"answer": method(**command)}
        except EnlistError as exc:
            return {"error": f"{type(exc).__name__}: {exc}"}

    def do_open(self, url: str, options: dict[str, Any]) -> None:
        """Open the registry that all other commands use."""
        self._registry = open_registry(url, **options)

    def do_register(self, info: dict[str, Any]) -> None:
        """Register."""
        self._registry.register(from_json(info))

    def do_register_all(self, infos: list[dict[str, Any]]) -> None:
        """Register many at once."""
        self._registry.register_all([from_json(info) for info in infos])

    def do_deregister(self, info: dict[str, Any]) -> None:
        """Deregister."""
        self._registry.deregister(from_json(info))

    def do_resolve(self, service_name: str) -> list[dict[str, Any]]:
        """Resolve once."""
        return [to_json(info) for info in self._registry.resolve(service_name)]

    def do_status(self) -> list[str]:
        """Return the state of each registration."""
        return [status.state.value for status in self._registry.status()]

    def do_fork(self, then: str, info: dict[str, Any] | None = None) -> dict[str, Any]:
        """Fork, and have the child do what ``then`` says; return its process id and its report.

        - "exit": end as Python programs end, with all finalisers.
        - "close": close the registry it inherited, and end.
        - "linger": do nothing until it is killed.
        - "register": register ``info`` through the registry it inherited, and stay.
        """
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            self._be_the_child(then, info, writer)
        os.close(writer)
        with os.fdopen(reader, encoding="utf-8") as told:
            report = told.readline().strip()
        if then in {"exit", "close"}:
            _, status = os.waitpid(pid, 0)
            report = report if status == 0 else _end_of(os.waitstatus_to_exitcode(status))
        return {"pid": pid, "report": report}

    def _be_the_child(self, then: str, info: dict[str, Any] | None, writer: int) -> None:
        # Neither the parent's commands nor its answers are the child's.
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(nothing, 1)
        signal.alarm(ENDS_WITHIN_S if then in {"exit", "close"} else LONGEST_LIFE_S)
        report = "done"
        try:
            if then == "close":
                self._registry.close()
            elif then == "register" and info is not None:
                self._registry.register(from_json(info))
        except EnlistError as exc:
            report = f"{type(exc).__name__}: {exc}"
        os.write(writer, f"{report}\n".encode())
        os.close(writer)
        if then in {"exit", "close"}:
            sys.exit(0)
        while True:
            signal.pause()

    def do_multiprocessing(self) -> str:
        """Run a child of multiprocessing's "fork" kind that looks at the registry; wait for it."""
        context = multiprocessing.get_context("fork")
        child = context.Process(target=_look, args=(self._registry,))
        child.start()
        child.join(ENDS_WITHIN_S + DEAF_S)
        if child.is_alive():  # deaf to the alarm that it set itself
            child.kill()
            child.join()
        return "done" if child.exitcode == 0 else _end_of(child.exitcode)

    def do_reap(self, pid: int) -> None:
        """Wait for a child that was killed."""
        os.waitpid(pid, 0)

    def do_threads(self) -> int:
        """Return the number of threads."""
        return threading.active_count()

    def do_close(self) -> None:
        """Close the registry."""
        self._registry.close()


def _look(registry: object) -> None:
    """Be a child that ends, or is ended by the system in whatever it hangs."""
    signal.alarm(ENDS_WITHIN_S)
    repr(registry)


def _end_of(code: int | None) -> str:
    if code in {-signal.SIGALRM, -signal.SIGKILL}:
        return f"it had not ended after {ENDS_WITHIN_S} s"
    return f"it ended with {code}"


def main() -> None:
    """Obey until the input ends."""
    commands = Commands()
    for line in sys.stdin:
        answer = commands.obey(line)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
