"""What the tests of serving share: servers to enlist, a registry to look into, child programs."""

from __future__ import annotations

import asyncio
import datetime as dt
import http.client
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from enlist.errors import UnavailableError
from enlist.hookspecs import hookimpl
from enlist.info import Info
from enlist.opening import open_registry
from tests.waiting import eventually

LONG = dt.timedelta(seconds=50)
"""A wait that a test ends by itself: it fails by its timeout rather than pass by waiting."""
ROOT = Path(__file__).parents[2]
NO_TIME = dt.timedelta(0)
ENDS_WITHIN_S = 30.0


def found(place: str, service_name: str = "echo") -> tuple[Info, ...]:
    """What a client finds now, with a registry of its own."""
    with open_registry(place) as registry:
        return registry.resolve(service_name)


class Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 - the base's own
        pass


@contextmanager
def http_server() -> Iterator[ThreadingHTTPServer]:
    """A server on loopback that answers while the block runs."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Hello) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def answers(port: int) -> bool:
    """Whether a server on loopback answers a request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read() == b"hello"
    except ConnectionError:
        return False
    finally:
        connection.close()


def bound_and_deaf() -> socket.socket:
    """A socket with a port, to which nobody can connect yet."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    return listener


@dataclass(frozen=True, kw_only=True, slots=True)
class NoOptions:
    """A backend without options."""


def fragile_backend() -> tuple[type, dict[str, Info], threading.Event]:
    """A backend in memory, what it holds, and a switch that tells whether it can be reached."""
    held: dict[str, Info] = {}
    up = threading.Event()
    up.set()

    class Fragile:
        spec_version = 1
        Options = NoOptions

        def __init__(self, options: NoOptions, owner: str) -> None:
            pass

        @hookimpl
        def register(self, info: Info) -> None:
            if not up.is_set():
                raise UnavailableError("the fragile backend is down")
            held[str(info.addr)] = info

        @hookimpl
        def deregister(self, info: Info) -> None:
            if not up.is_set():
                raise UnavailableError("the fragile backend is down")
            held.pop(str(info.addr), None)

    return Fragile, held, up


class Program:
    """A child program of the tests, and what it says."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said: list[str] = []
        self.errors = ""

    def says(self, word: str) -> str:
        """Wait for a line that begins with this word, and return the rest of it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line.strip())
            if line.split()[:1] == [word]:
                return line.strip().removeprefix(word).strip()
        raise AssertionError(f"the program ended without {word!r}; it said {self.said}")

    def told(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def told_to_end(self, place: str) -> int:
        """Have it leave, skip its drain and end; return the exit status."""
        self.told(signal.SIGTERM)
        # Two signals that are on their way at once arrive as one.
        eventually(lambda: not found(place), why="the program is deregistered")
        self.told(signal.SIGTERM)
        return self.ended()

    def ended(self) -> int:
        """Wait for the end and return the exit status."""
        rest, self.errors = self.process.communicate(timeout=ENDS_WITHIN_S)
        self.said.extend(rest.splitlines())
        return self.process.returncode


@contextmanager
def program(name: str, *arguments: str) -> Iterator[Program]:
    """Run a program of this folder while the block runs."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", f"core.tests.{name}", *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield Program(process)
        finally:
            process.kill()


async def only_this_task_is_left() -> None:
    """Wait for tasks that are just ending, and for no others: there are none."""
    if others := asyncio.all_tasks() - {asyncio.current_task()}:
        _, left = await asyncio.wait(others, timeout=5)
        assert not left
