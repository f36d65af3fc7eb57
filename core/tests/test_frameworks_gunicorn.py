"""gunicorn: the master enlists once for all workers, and leaves before it stops them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import httpx
import psutil
import pytest

from core.tests.serving_world import ENDS_WITHIN_S, ROOT, found
from core.tests.web_app import PID, SLOWLY
from enlist.frameworks.gunicorn import _Stay
from enlist.info import Info
from enlist.opening import open_registry
from enlist.serving.listening import listen_address
from enlist.serving.server_options import as_options
from tests.servers.ports import free_port
from tests.waiting import eventually

HERE = "127.0.0.1:0"
AWAY = "consul://127.0.0.1:1"
FOR_EVER = 50
CONF = """
import datetime as dt
import enlist.frameworks.gunicorn

workers, worker_class, threads, keepalive = 2, "gthread", 4, 2
{lines}
when_ready, post_worker_init, on_reload = enlist.frameworks.gunicorn.hooks(
    "echo", registry="{place}", drain=dt.timedelta(seconds={drain_s}), {settings}
)
"""


@dataclass
class Gunicorn:
    """A gunicorn of its own, and the configuration that it reads.

    Attributes:
        place: the registry.
        conf: the file.
        log: what it says.
        app: what it serves.
    """

    place: str
    conf: Path
    log: IO[bytes]
    app: str = "core.tests.web_app:wsgi"
    arguments: list[str] = field(default_factory=list)
    process: subprocess.Popen[bytes] = field(init=False)

    def configure(
        self, lines: str = f'bind = "{HERE}"', settings: str = "", drain_s: float = 0
    ) -> None:
        """Write the configuration; a running one reads it at its next reload."""
        text = CONF.format(lines=lines, place=self.place, settings=settings, drain_s=drain_s)
        self.conf.write_text(text)

    def rebind(self, place: str, settings: str = "") -> int:
        """Reload it with another registry and another port, which is returned."""
        self.place = place
        port = free_port()
        self.configure(f'bind = "127.0.0.1:{port}"', settings)
        self.told(signal.SIGHUP)
        return port

    def start(self) -> None:
        command = [sys.executable, "-W", "error", "-m", "gunicorn", "-c", str(self.conf)]
        self.process = subprocess.Popen(
            [*command, *self.arguments, self.app],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )

    @property
    def said(self) -> str:
        return os.pread(self.log.fileno(), 1 << 16, 0).decode()

    @property
    def info(self) -> Info:
        """What is published, once something is."""

        def seen() -> tuple[Info, ...]:
            assert self.process.poll() is None, self.said
            return found(self.place)

        (info,) = eventually(seen, within_s=30, why="the server is enlisted")
        return info

    def workers(self) -> set[int]:
        return {each.pid for each in psutil.Process(self.process.pid).children()}

    def told(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ended(self) -> int:
        return self.process.wait(ENDS_WITHIN_S)

    def close(self) -> None:
        """End it with all that it has started."""
        with suppress(ProcessLookupError):  # a new binary outlives the master that began the group
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.log.close()


@pytest.fixture
def gunicorn(tmp_path: Path) -> Iterator[Gunicorn]:
    """A gunicorn that is configured, and not started yet."""
    made = Gunicorn(
        f"local:{tmp_path}/registry", tmp_path / "conf.py", (tmp_path / "log").open("w+b")
    )
    made.configure()
    try:
        yield made
    finally:
        made.close()


def ask(info: Info, path: str = PID) -> str:
    """Call the server as a client does."""
    return httpx.get(f"http://{info.addr}{path}", trust_env=False, timeout=20).text


@contextmanager
def never_empty(place: str) -> Iterator[list[int]]:
    """Watch the service while the block runs, and check that it always has one instance."""
    counts: list[int] = []
    with open_registry(place) as registry, registry.resolver("echo") as resolver:
        resolver.wait_for(1)
        resolver.on_change(lambda snapshot: counts.append(len(snapshot.instances)))
        yield counts
        assert len(resolver.instances) == 1
    assert set(counts) <= {1}


@pytest.mark.parametrize("arguments", [[], ["--preload"]], ids=["each", "preload"])
def test_master_enlists_once_for_all_workers(gunicorn: Gunicorn, arguments: list[str]) -> None:
    """There is one record with the port that was bound, and it ends when the server does."""
    gunicorn.arguments = arguments
    gunicorn.start()
    info = gunicorn.info
    assert info.payload_codec == "http"
    assert int(ask(info)) in gunicorn.workers()
    gunicorn.told(signal.SIGTERM)
    assert gunicorn.ended() == 0, gunicorn.said
    assert found(gunicorn.place) == ()


@pytest.mark.parametrize("arguments", [[], ["--preload"]], ids=["each", "preload"])
def test_dead_worker_does_not_show(gunicorn: Gunicorn, arguments: list[str]) -> None:
    """A worker that is killed is replaced, and the registration stays (K7)."""
    gunicorn.arguments = arguments
    gunicorn.start()
    info = gunicorn.info
    with never_empty(gunicorn.place):
        victim = int(ask(info))
        os.kill(victim, signal.SIGKILL)
        eventually(
            lambda: len(gunicorn.workers() - {victim}) == 2,
            within_s=30,
            why="another worker has its place",
        )
    assert found(gunicorn.place) == (info,)


def test_reload_does_not_show(gunicorn: Gunicorn) -> None:
    """Every worker is replaced on SIGHUP, while the registration stays."""
    gunicorn.start()
    info = gunicorn.info
    before = gunicorn.workers()
    with never_empty(gunicorn.place):
        gunicorn.told(signal.SIGHUP)
        eventually(
            lambda: len(gunicorn.workers()) == 2 and not gunicorn.workers() & before,
            within_s=30,
            why="all workers are new",
        )
        assert int(ask(info)) not in before
    gunicorn.told(signal.SIGTERM)
    assert gunicorn.ended() == 0, gunicorn.said
    assert found(gunicorn.place) == ()


def test_reload_publishes_what_the_configuration_says_now(gunicorn: Gunicorn) -> None:
    """New tags and a new weight are there after a reload, without a moment of absence."""
    gunicorn.configure(settings='tags={"zone": "a"}')
    gunicorn.start()
    assert gunicorn.info.tags == {"zone": "a"}
    gunicorn.configure(settings='tags={"zone": "b"}, registry_info=enlist.Info(weight=20)')
    with never_empty(gunicorn.place):
        gunicorn.told(signal.SIGHUP)
        eventually(lambda: gunicorn.info.tags == {"zone": "b"}, within_s=30, why="it is published")
    assert gunicorn.info.weight == 20


def test_reload_follows_a_new_address(gunicorn: Gunicorn) -> None:
    """A reload that binds elsewhere leaves nothing of the old address."""
    gunicorn.start()
    before = gunicorn.info
    port = gunicorn.rebind(gunicorn.place)
    eventually(
        lambda: [str(info.addr) for info in found(gunicorn.place)] == [f"127.0.0.1:{port}"],
        within_s=30,
        why="the new address alone is published",
    )
    assert gunicorn.info != before
    assert int(ask(gunicorn.info)) in gunicorn.workers()
    gunicorn.told(signal.SIGTERM)
    assert gunicorn.ended() == 0, gunicorn.said
    assert found(gunicorn.place) == ()


def test_reload_while_the_registry_is_away_ends_nothing(gunicorn: Gunicorn) -> None:
    """A server that has started serves on at its new address, and is enlisted later (S5)."""
    gunicorn.start()
    here = gunicorn.place
    assert gunicorn.info.payload_codec == "http"
    port = gunicorn.rebind(AWAY, settings="timeout=dt.timedelta(seconds=1)")
    eventually(lambda: "Consul at 127.0.0.1:1" in gunicorn.said, within_s=30, why="it was tried")
    eventually(lambda: not found(here), why="nothing is left of the old address")
    assert int(ask(Info(addr=f"127.0.0.1:{port}"))) in gunicorn.workers()
    port = gunicorn.rebind(here)
    assert str(gunicorn.info.addr) == f"127.0.0.1:{port}"
    gunicorn.told(signal.SIGTERM)
    assert gunicorn.ended() == 0, gunicorn.said


def test_reload_that_cannot_be_enlisted_is_told_and_ends_nothing(gunicorn: Gunicorn) -> None:
    """The server serves on, the next reload enlists it, and it ends as well as ever."""
    gunicorn.start()
    assert gunicorn.info.payload_codec == "http"
    port = gunicorn.rebind(gunicorn.place, settings="ready=lambda: 1 / 0")
    told = f"127.0.0.1:{port} is not enlisted until the next reload: ZeroDivisionError"
    eventually(lambda: told in gunicorn.said, within_s=30, why="it has failed")
    assert int(ask(Info(addr=f"127.0.0.1:{port}"))) in gunicorn.workers()
    assert found(gunicorn.place) == ()
    gunicorn.configure(f'bind = "127.0.0.1:{port}"')
    gunicorn.told(signal.SIGHUP)
    assert str(gunicorn.info.addr) == f"127.0.0.1:{port}"
    gunicorn.rebind(gunicorn.place, settings="ready=lambda: 1 / 0")
    eventually(lambda: gunicorn.said.count("until the next reload") == 2, within_s=30, why="again")
    gunicorn.told(signal.SIGTERM)
    assert gunicorn.ended() == 0, gunicorn.said


def test_stay_that_fails_just_as_a_reload_ends_it_ends_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread, which may look at any moment whether it is leaving, calls nobody back then."""
    fails = threading.Event()
    calls: list[str] = []
    monkeypatch.setattr("enlist.frameworks.gunicorn._go_on", lambda: calls.append("go on"))

    class Failing(_Stay):
        @property
        def leaving(self) -> bool:
            return self._is_leaving

        @leaving.setter
        def leaving(self, leaving: bool) -> None:
            self._is_leaving = leaving
            if leaving:
                fails.set()
                self._thread.join()

    def ready() -> None:
        fails.wait()
        raise ZeroDivisionError

    with socket.create_server(("127.0.0.1", 0)) as listener:
        options = as_options("echo", registry=f"local:{tmp_path}/registry")
        stay = Failing(options, listen_address(listener), ready, is_first=False)
        stay.worker_is_ready()
        stay.begin()
        stay.end()
    assert stay.over
    assert calls == []


def test_sigterm_has_the_workers_serve_on(gunicorn: Gunicorn) -> None:
    """After the first SIGTERM the master still answers signals; the second ends the drain (S3)."""
    gunicorn.configure(drain_s=FOR_EVER)
    gunicorn.start()
    info = gunicorn.info
    gunicorn.told(signal.SIGTERM)
    eventually(lambda: not found(gunicorn.place), why="the server is deregistered")
    victim = int(ask(info))
    os.kill(victim, signal.SIGKILL)
    eventually(
        lambda: len(gunicorn.workers() - {victim}) == 2, within_s=30, why="the master goes on"
    )
    assert int(ask(info)) in gunicorn.workers()
    gunicorn.told(signal.SIGTERM)
    assert gunicorn.ended() == 0, gunicorn.said


def test_calls_that_are_running_at_the_stop_are_answered(gunicorn: Gunicorn) -> None:
    """The workers stop gracefully after the drain, as they do without it."""
    gunicorn.start()
    info = gunicorn.info
    answers: list[str] = []
    calling = threading.Thread(target=lambda: answers.append(ask(info, SLOWLY)))
    calling.start()
    eventually(lambda: "slowly" in gunicorn.said, within_s=30, why="the call is running")
    gunicorn.told(signal.SIGTERM)
    assert gunicorn.ended() == 0, gunicorn.said
    calling.join()
    assert len(answers) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_quick_stop_leaves_without_a_drain(gunicorn: Gunicorn, number: signal.Signals) -> None:
    """What has gunicorn stop at once deregisters first, and waits for nobody."""
    gunicorn.configure(drain_s=FOR_EVER)
    gunicorn.start()
    eventually(lambda: gunicorn.info.addr, why="the server is enlisted")
    gunicorn.told(number)
    assert gunicorn.ended() == 0, gunicorn.said
    assert found(gunicorn.place) == ()


def test_sigterm_before_a_worker_is_ready_ends_it(gunicorn: Gunicorn) -> None:
    """A server that is not enlisted yet has nothing to drain."""
    gunicorn.configure(drain_s=FOR_EVER, settings="ready=lambda: print('asked', flush=True)")
    gunicorn.start()
    eventually(lambda: "asked" in gunicorn.said, within_s=30, why="it waits to be ready")
    gunicorn.told(signal.SIGTERM)
    assert gunicorn.ended() == 0, gunicorn.said


@pytest.mark.parametrize(
    "bind,published",
    [
        ('["127.0.0.1:0", "unix:{folder}/api.sock"]', "127.0.0.1:"),
        ('["unix:{folder}/api.sock", "127.0.0.1:0"]', "127.0.0.1:"),
        ('"unix:{folder}/api.sock"', "unix:{folder}/api.sock"),
    ],
    ids=["tcp-first", "unix-first", "unix"],
)
def test_several_binds_are_one_instance(
    gunicorn: Gunicorn, socket_folder: Path, bind: str, published: str
) -> None:
    """The address that most clients reach is published, once."""
    gunicorn.configure(f"bind = {bind.format(folder=socket_folder)}")
    gunicorn.start()
    assert str(gunicorn.info.addr).startswith(published.format(folder=socket_folder))


def test_workers_that_bind_by_themselves_are_one_instance(gunicorn: Gunicorn) -> None:
    """Under reuse_port the master has no socket, and publishes what it was told to bind to."""
    port = free_port()
    gunicorn.configure(f'bind, reuse_port = "127.0.0.1:{port}", True')
    gunicorn.start()
    assert str(gunicorn.info.addr) == f"127.0.0.1:{port}"
    assert int(ask(gunicorn.info)) in gunicorn.workers()


def test_app_that_does_not_load_is_never_enlisted(gunicorn: Gunicorn) -> None:
    """Nobody is sent to a server whose workers do not start, and gunicorn fails as ever (S1)."""
    gunicorn.app = "core.tests.web_app:not_there"
    seen: list[Info] = []
    with open_registry(gunicorn.place) as registry, registry.resolver("echo") as resolver:
        resolver.wait_for(0)
        resolver.on_change(lambda snapshot: seen.extend(snapshot.instances))
        gunicorn.start()
        assert gunicorn.ended() != 0
    assert "not_there" in gunicorn.said
    assert seen == []
    assert found(gunicorn.place) == ()


def test_registry_that_is_away_fails_the_start(gunicorn: Gunicorn) -> None:
    """A server that cannot be enlisted ends with an error that says why (S5)."""
    gunicorn.place = AWAY
    gunicorn.configure(settings="timeout=dt.timedelta(seconds=1)")
    gunicorn.start()
    assert gunicorn.ended() == 1
    assert "Consul at 127.0.0.1:1" in gunicorn.said.rpartition("Reason:")[2]


def test_ready_that_raises_fails_the_start(gunicorn: Gunicorn) -> None:
    """A mistake in it is no orderly end: whoever watches gunicorn sees that it has failed (S1)."""
    gunicorn.configure(settings="ready=lambda: 1 / 0")
    gunicorn.start()
    assert gunicorn.ended() == 1
    assert "ZeroDivisionError" in gunicorn.said.rpartition("Reason:")[2]
    assert found(gunicorn.place) == ()


def test_options_that_cannot_be_right_fail_the_start(gunicorn: Gunicorn) -> None:
    """A mistake in the hooks' arguments is one in the configuration."""
    gunicorn.configure(settings="grace=10")
    gunicorn.start()
    assert gunicorn.ended() != 0
    assert "grace=10" in gunicorn.said


def ended(pid: int) -> bool:
    """Whether a process has ended that is nobody's here, and may be waited for by none."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def hand_over(gunicorn: Gunicorn) -> int:
    """Replace a running master by a new binary; return the new one's process id."""
    gunicorn.configure(settings='tags={"binary": "new"}')
    gunicorn.told(signal.SIGUSR2)
    eventually(lambda: gunicorn.info.tags, within_s=30, why="the new master is enlisted")
    children = psutil.Process(gunicorn.process.pid).children()
    (new,) = (each.pid for each in children if each.children())
    gunicorn.told(signal.SIGTERM)
    assert gunicorn.ended() == 0, gunicorn.said
    return new


def test_new_binary_takes_the_registration_over(gunicorn: Gunicorn) -> None:
    """Through SIGUSR2 and the end of the old master the server is never absent."""
    gunicorn.start()
    assert gunicorn.info.tags == {}
    with never_empty(gunicorn.place):
        new = hand_over(gunicorn)
        assert psutil.pid_exists(int(ask(found(gunicorn.place)[0])))
    os.kill(new, signal.SIGTERM)
    eventually(lambda: ended(new), within_s=30, why="the new master has ended")
    assert found(gunicorn.place) == ()


def test_close_ends_a_new_binary_too(gunicorn: Gunicorn) -> None:
    """A test that fails after the old master has ended leaves no process behind."""
    gunicorn.start()
    assert gunicorn.info.tags == {}
    new = hand_over(gunicorn)
    gunicorn.close()
    eventually(lambda: ended(new), within_s=30, why="the new master has ended")
