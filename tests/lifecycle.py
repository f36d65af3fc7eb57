"""Servers that come and go while clients call without a pause, and every call is counted.

A test of a framework says how one server process is started and how one call is made::

    def command(name: str) -> list[str]:
        return [sys.executable, "-W", "error", "-m", "core.tests.grpc_program", place, name]

    with fleet(command, place, 3) as servers, load(call, threads=4) as calls:
        calls.go_on()
        servers.roll()
        calls.go_on()
    calls.check(servers)

The program publishes the name that it is given as its tag ``server``, and answers a call with it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

import psutil

from enlist.finding.resolver import Resolver
from enlist.opening import open_registry
from tests.waiting import eventually

ROOT: Final = Path(__file__).resolve().parent.parent
SERVER_TAG: Final = "server"
ENLISTED_WITHIN_S: Final = 30.0
ENDS_WITHIN_S: Final = 30.0
LONG_CALL_S: Final = 0.2
"""How long a call lasts that is to be running still when its server is stopped."""
AT_LEAST: Final = 20
"""How many calls of each client make a phase of a test, unless it says otherwise."""


class Fleet:
    """Processes of one program, each enlisted under the same service name. Not for threads.

    Attributes:
        names: of those that run, the oldest first.
        ever: of all that ever ran.
    """

    def __init__(
        self, command: Callable[[str], Sequence[str]], resolver: Resolver, status: int
    ) -> None:
        """Start nothing yet.

        Args:
            command: makes the program and its arguments for a server of a given name.
            resolver: of the service, to see who is enlisted.
            status: with which a server that was asked to stop ends.
        """
        self.names: list[str] = []
        self.ever: list[str] = []
        self._command = command
        self._resolver = resolver
        self._status = status
        self._running: dict[str, tuple[subprocess.Popen[bytes], IO[bytes]]] = {}

    def start(self) -> str:
        """Start one more server, wait until it is enlisted, and return its name."""
        name = f"server-{len(self.ever) + 1}"
        output = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        process = subprocess.Popen(
            self._command(name),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C is for the tests alone
        )
        self._running[name] = process, output
        self.names.append(name)
        self.ever.append(name)
        eventually(
            lambda: name in self.enlisted() or process.poll() is not None,
            within_s=ENLISTED_WITHIN_S,
            why=f"{name} is enlisted; its output: {self._said(name)}",
        )
        assert process.poll() is None, f"{name} ended early: {self._said(name)}"
        return name

    def stop(self, name: str) -> None:
        """End a server with SIGTERM, and check that it ends well."""
        process, _ = self._running[name]
        process.send_signal(signal.SIGTERM)
        status = process.wait(ENDS_WITHIN_S)
        assert status == self._status, f"{name} ended with status {status}: {self._said(name)}"
        self._forget(name)

    def kill(self, name: str) -> None:
        """End a server, and whatever it started, with SIGKILL."""
        process, _ = self._running[name]
        with suppress(psutil.NoSuchProcess):  # it has ended by itself
            server = psutil.Process(process.pid)
            for each in (server, *server.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    each.kill()
        process.wait()
        self._forget(name)

    def roll(self) -> None:
        """Restart all, one after another: each is stopped before its successor is started."""
        for name in list(self.names):
            self.stop(name)
            self.start()

    def enlisted(self) -> set[str]:
        """Return the names that the registry shows now."""
        return {(info.tags or {}).get(SERVER_TAG, "") for info in self._resolver.instances}

    def _said(self, name: str) -> str:
        _, output = self._running[name]
        return os.pread(output.fileno(), 1 << 16, 0).decode(errors="replace")

    def _forget(self, name: str) -> None:
        self._running.pop(name)[1].close()
        self.names.remove(name)


@contextmanager
def fleet(
    command: Callable[[str], Sequence[str]],
    place: str,
    count: int,
    service_name: str = "echo",
    *,
    status: int = 0,
) -> Iterator[Fleet]:
    """Run servers while the block runs.

    Args:
        command: as :class:`Fleet` takes it.
        place: the registry's URL.
        count: how many servers to begin with, all of them enlisted.
        service_name: what they are enlisted as.
        status: as :class:`Fleet` takes it.
    """
    with open_registry(place) as registry, registry.resolver(service_name) as resolver:
        made = Fleet(command, resolver, status)
        try:
            for _ in range(count):
                made.start()
            yield made
        finally:
            for name in list(made.names):
                made.kill(name)


class Load:
    """Clients that call without a pause, each in a thread of its own.

    Attributes:
        served: how many calls each server answered.
        failures: what the calls that failed raised.
        seconds: how long the load lasted, once it has ended.
    """

    def __init__(self, call: Callable[[], str], threads: int) -> None:
        """Start nothing yet.

        Args:
            call: makes one call, from any thread, and returns the name of the server that answered.
            threads: how many clients.
        """
        self.failures: list[Exception] = []
        self.seconds = 0.0
        self._call = call
        self._lock = threading.Lock()
        self._served: Counter[str] = Counter()
        self._each = [0] * threads
        self._began = 0.0
        self._enough = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number,), name=f"client-{number}")
            for number in range(threads)
        ]

    @property
    def served(self) -> Counter[str]:
        """How many calls each server has answered until now."""
        with self._lock:
            return self._served.copy()

    @property
    def rate(self) -> float:
        """Calls a second, over the whole time."""
        return self.served.total() / self.seconds

    def go_on(self, calls: int = AT_LEAST) -> None:
        """Wait until each client has had that many answers more."""
        wanted = [answers + calls for answers in self._each]
        eventually(
            lambda: (
                self.failures
                or all(have >= want for have, want in zip(self._each, wanted, strict=True))
            ),
            within_s=ENLISTED_WITHIN_S,
            why="every client has had its answers",
        )

    def reaches(self, names: Sequence[str]) -> None:
        """Wait until each of these servers has answered a call."""
        eventually(
            lambda: self.failures or set(names) <= self.served.keys(),
            within_s=ENLISTED_WITHIN_S,
            why=f"{names} have all answered",
        )

    def check(self, servers: Fleet, *, at_least: int = 100) -> None:
        """Check that not one call failed, and that there were enough, to every server there was."""
        kinds = Counter(map(repr, self.failures)).most_common(3)
        assert not self.failures, (
            f"{len(self.failures)} calls failed, {self.served} did not: {kinds}"
        )
        assert self.served.keys() == set(servers.ever)
        assert self.served.total() >= at_least

    def start(self) -> None:
        """Begin to call."""
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Have each client finish its call, and wait for it."""
        self._enough.set()
        for thread in self._threads:
            thread.join()
        self.seconds = time.monotonic() - self._began

    def _run(self, number: int) -> None:
        while not self._enough.is_set():
            try:
                server = self._call()
            except Exception as exc:  # noqa: BLE001 - whatever it is, the call has failed
                self.failures.append(exc)
                continue
            with self._lock:
                self._served[server] += 1
            self._each[number] += 1


@contextmanager
def load(call: Callable[[], str], *, threads: int = 4) -> Iterator[Load]:
    """Have clients call while the block runs.

    Args:
        call: as :class:`Load` takes it.
        threads: how many clients.
    """
    made = Load(call, threads)
    made.start()
    try:
        yield made
    finally:
        made.end()
