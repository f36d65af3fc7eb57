"""A process with a local registry of its own, told by its standard input what to do.

Each line of the input is a JSON list, a command and its arguments; each gets one line of JSON.
It ends with its input.
"""

import json
import os
import resource
import secrets
import signal
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from enlist.errors import EnlistError
from enlist.info import Info
from enlist.local import LocalOptions, LocalRegistry

TIMEOUT_S = 10.0


class Program:
    def __init__(self, path: Path, ttl_s: float) -> None:
        self._options = LocalOptions(path=path, ttl=timedelta(seconds=ttl_s))
        self._infos: list[Info] = []
        self.fresh()

    def fresh(self) -> None:
        """Take a new plugin object, as the core does in a forked child."""
        self._registry = LocalRegistry(self._options, secrets.token_hex(16))

    def register(self, service_name: str, *addresses: str) -> None:
        self._infos = [Info(service_name=service_name, addr=address) for address in addresses]
        for info in self._infos:
            self._registry.register(info, TIMEOUT_S)

    def restore(self, service_name: str, count: int) -> list[str]:
        self._infos = [
            Info(service_name=service_name, addr=f"10.0.0.1:{1 + n}") for n in range(count)
        ]
        return [lost.why.value for lost in self._registry.restore(self._infos, TIMEOUT_S)]

    def resolve(self, service_name: str) -> list[str]:
        return [str(info.addr) for info in self._registry.resolve(service_name, TIMEOUT_S)]

    def beat(self) -> list[str]:
        return [lost.why.value for lost in self._registry.keep_alive(self._infos, TIMEOUT_S).lost]

    def keep(self) -> None:
        """Beat from now on, as the keeper does."""
        pause = threading.Event()

        def run() -> None:
            while not pause.wait(self._options.ttl.total_seconds() / 3):
                self.beat()

        threading.Thread(target=run, daemon=True).start()

    def churn(self) -> None:
        """Write without an end, in a thread."""

        def run() -> None:
            while True:
                self._registry.restore(self._infos, TIMEOUT_S)
                self._registry.withdraw(self._infos, TIMEOUT_S)

        threading.Thread(target=run, daemon=True).start()

    def limit(self, most_bytes: int) -> None:
        """Let no file become larger than this; -1 lifts that."""
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, -1))

    def fork(self) -> int:
        """Fork; the child goes on with the commands, the parent only lives."""
        parent = os.getpid()
        if os.fork():
            while True:
                signal.pause()
        return parent

    def fork_while_busy(self, times: int) -> list[int]:
        """Fork in the middle of what four threads do; return how each child fared."""
        for number in range(4):
            threading.Thread(target=self._hammer, args=(number,), daemon=True).start()
        statuses = []
        for number in range(times):
            child = os.fork()
            if not child:
                os._exit(self._try_as_child(number))
            statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        return statuses

    def _hammer(self, number: int) -> None:
        info = Info(service_name="parent", addr=f"10.0.1.{number}:80")
        while True:
            self._registry.register(info, TIMEOUT_S)
            self._registry.resolve("parent", TIMEOUT_S)

    def _try_as_child(self, number: int) -> int:
        signal.alarm(20)
        self.fresh()
        info = Info(service_name="child", addr=f"10.0.2.1:{1 + number}")
        self._registry.register(info, TIMEOUT_S)
        found = self._registry.resolve("child", TIMEOUT_S)
        self._registry.close(TIMEOUT_S)
        return 0 if found == [info] else 1


def main() -> None:
    program = Program(Path(sys.argv[1]), float(sys.argv[2]))
    for line in iter(sys.stdin.readline, ""):
        command, *arguments = json.loads(line)
        run: Callable[..., object] = getattr(program, command)
        try:
            answer: object = {"answer": run(*arguments)}
        except EnlistError as exc:
            answer = {"error": type(exc).__name__, "message": str(exc)}
        print(json.dumps(answer), flush=True)  # noqa: T201 - the answer goes to the test


if __name__ == "__main__":
    main()
