"""Web servers of each kind, started, stopped and restarted while clients lose no call."""

from __future__ import annotations

import itertools
import logging
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from core.tests.cli_world import ENLIST
from core.tests.web_app import NAME, SLOWLY
from enlist.opening import open_registry
from tests.lifecycle import SERVER_TAG, fleet, load
from tests.servers.ports import free_port

pytestmark = pytest.mark.flaky(reruns=0)  # a second try would hide a lost call
DRAIN_S = 3.0  # half of the default; clients on a busy machine learn late
EACH_NTH_IS_SLOW = 20
IDLE_S = 1.0
"""Shorter than any of the servers keeps an idle connection."""

GUNICORN = """
import datetime as dt
import enlist.frameworks.gunicorn

bind = "127.0.0.1:0"
raw_env = ["{variable}={name}"]
worker_class, workers, threads = "{worker}", 2, 4
when_ready, post_worker_init, on_reload = enlist.frameworks.gunicorn.hooks(
    "echo",
    registry="{place}",
    tags={{"{tag}": "{name}"}},
    drain=dt.timedelta(seconds={drain_s}),
)
"""


class Commands:
    """How a server of each kind is started, by its name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place = f"local:{folder}/registry"

    def program(self, kind: str, name: str) -> list[str]:
        program = "core.tests.web_program"
        return [sys.executable, "-W", "error", "-m", program, kind, self.place, str(DRAIN_S), name]

    def gunicorn(self, worker: str, name: str) -> list[str]:
        conf = self.folder / f"{name}.conf.py"
        conf.write_text(
            GUNICORN.format(
                variable=NAME,
                name=name,
                worker=worker,
                place=self.place,
                tag=SERVER_TAG,
                drain_s=DRAIN_S,
            )
        )
        app = "core.tests.web_app:" + ("asgi" if worker == "asgi" else "wsgi")
        return [sys.executable, "-W", "error", "-m", "gunicorn", "-c", str(conf), app]

    def run(self, server: str, name: str) -> list[str]:
        port = free_port()
        return [
            *("env", f"{NAME}={name}"),
            *(*ENLIST, "run", "--service", "echo", "--registry", self.place),
            *("--port", str(port), "--tag", f"{SERVER_TAG}={name}", "--drain", f"{DRAIN_S}s", "--"),
            *(sys.executable, "-m", *shlex.split(server.format(port=port))),
        ]


WAITRESS = "waitress --listen 127.0.0.1:{port} core.tests.web_app:wsgi"
UVICORN = "uvicorn --workers 2 --port {port} core.tests.web_app:asgi"


@contextmanager
def web_client(place: str) -> Iterator[Callable[[], str]]:
    """A plain client: a pick for each call, and connections that each thread keeps.

    Threads that shared connections would now and then close one that another has begun to use.
    """
    turns = itertools.count()
    limits = httpx.Limits(keepalive_expiry=IDLE_S)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it tells of each call
    kept = threading.local()
    with (
        open_registry(place) as registry,
        registry.resolver("echo") as resolver,
        ExitStack() as clients,
    ):

        def call() -> str:
            if not hasattr(kept, "client"):
                made = httpx.Client(limits=limits, timeout=20, trust_env=False)
                kept.client = clients.enter_context(made)
            path = SLOWLY if next(turns) % EACH_NTH_IS_SLOW == 0 else "/"
            url = f"http://{resolver.pick().addr}{path}"
            return str(kept.client.get(url).raise_for_status().text)

        yield call


SIGNALLED = -signal.SIGTERM
"""uvicorn raises the signal once more when it has stopped."""


@pytest.mark.parametrize(
    "make,kind,status",
    [
        (Commands.program, "uvicorn", SIGNALLED),
        (Commands.program, "uvicorn-loop", SIGNALLED),
        (Commands.program, "hypercorn", 0),
        (Commands.gunicorn, "sync", 0),
        (Commands.gunicorn, "gthread", 0),
        (Commands.run, WAITRESS, 128 + signal.SIGTERM),
        (Commands.run, UVICORN, 0),
    ],
    ids=["uvicorn", "uvicorn-loop", "hypercorn", "sync", "gthread", "waitress", "uvicorn-workers"],
)
@pytest.mark.timeout(120)
def test_rolling_restart_of_web_servers_loses_no_call(
    tmp_path: Path, make: Callable[[Commands, str, str], list[str]], kind: str, status: int
) -> None:
    """Clients that call without a pause see three servers replaced, and lose no call (S2)."""
    commands = Commands(tmp_path)

    def command(name: str) -> list[str]:
        return make(commands, kind, name)

    with (
        fleet(command, commands.place, 3, status=status) as servers,
        web_client(commands.place) as call,
        load(call) as calls,
    ):
        calls.reaches(servers.names)
        servers.roll()
        calls.reaches(servers.names)
    calls.check(servers)
