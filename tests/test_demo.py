"""The demo's story holds, and its exit status is honest when it does not."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psutil
import pytest

import enlist
from core.tests.cli_world import interruptible
from tests.servers.etcd import EtcdServer
from tests.waiting import eventually

ROOT = Path(__file__).parent.parent
ENDS_WITHIN_S = 60.0

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def place(tmp_path: Path) -> str:
    """A registry that the demo and the test share."""
    return f"local:{tmp_path}/registry.db"


@contextmanager
def told(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Have the story told while the block runs."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "docs.examples.demo.story", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.terminate()  # its servers end with it


def said_until(process: subprocess.Popen[str], words: str) -> str:
    """Wait for a line with these words, and return all up to it."""
    said = ""
    for line in out(process):
        said += line
        if words in line:
            return said
    raise AssertionError(f"It ended before it said {words!r}: {said}")


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for the end; return the exit status and the rest of what was said."""
    rest, _ = process.communicate(timeout=ENDS_WITHIN_S)
    return process.returncode, rest


def out(process: subprocess.Popen[str]) -> IO[str]:
    """Its standard output."""
    assert process.stdout is not None
    return process.stdout


def instances(place: str) -> tuple[enlist.Info, ...]:
    """Whoever is registered."""
    with enlist.open_registry(place) as registry:
        return tuple(info for name in registry.services() for info in registry.resolve(name))


def children(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The story's servers."""
    return psutil.Process(process.pid).children()


def test_demo_holds_on_a_fresh_registry() -> None:
    """Without arguments every step holds, each is told with its time, and the status is 0."""
    with told() as process:
        status, said = ended(process)

    assert status == 0, said
    for step in ("1. Three", "2. The client", "3. kill -9", "4. SIGTERM", "5. A new", "6. SIGTERM"):
        assert step in said
    assert "not one failed" in said
    assert said.rstrip().endswith("The story held.")


def test_demo_fails_when_a_stranger_is_in_the_service(place: str) -> None:
    """An instance that is none of its servers makes the story fail, and nothing is left."""
    with told(place) as process, enlist.open_registry(place) as registry:
        said_until(process, "1. Three")
        eventually(lambda: instances(place), why="a server has enlisted itself")
        (name,) = registry.services()
        servers = children(process)
        registry.register(enlist.Info(service_name=name, addr="127.0.0.1:9"))
        status, said = ended(process)

    assert status == 1
    assert "did NOT hold" in said
    assert not any(server.is_running() for server in servers)


def test_demo_fails_when_a_call_fails_during_the_stop(place: str) -> None:
    """A server that dies while another one leaves costs calls, which the story does not hide."""
    with told(place) as process:
        said_until(process, "4. SIGTERM to anna")
        servers = children(process)
        eventually(lambda: len(instances(place)) == 1, why="anna is deregistered")
        (left,) = instances(place)
        victim = next(server for server in servers if (left.tags or {})["name"] in server.cmdline())
        victim.kill()
        status, said = ended(process)

    assert status == 1
    assert re.search(r"did NOT hold: \d+ calls failed", said), said
    assert not any(server.is_running() for server in servers)


def test_demo_fails_when_the_registry_cannot_be_used(tmp_path: Path) -> None:
    """A registry that does not work ends the story with its reason, not with a traceback."""
    with told(f"local:{tmp_path}/nowhere/registry.db") as process:
        status, said = ended(process)

    assert status == 1
    assert "did NOT hold" in said
    assert "Traceback" not in said.partition("--- ")[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_demo_leaves_no_server_when_it_is_ended(place: str, number: signal.Signals) -> None:
    """However the demo ends in the middle of the story, its servers end too."""
    with interruptible(), told(place) as process:
        said_until(process, "2. The client")
        servers = children(process)
        assert len(servers) == 3
        os.kill(process.pid, number)
        status, _ = ended(process)
        eventually(
            lambda: not any(server.is_running() for server in servers),
            within_s=ENDS_WITHIN_S,
            why="its servers have ended",
        )

    assert status != 0


def test_demo_holds_on_etcd(etcd_server: EtcdServer) -> None:
    """A URL is all that it takes to tell the same story on a server."""
    with told(f"etcd://{etcd_server.endpoint}?ttl=3") as process:
        status, said = ended(process)

    assert status == 0, said
    assert said.rstrip().endswith("The story held.")
