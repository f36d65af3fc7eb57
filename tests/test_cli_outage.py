"""The command line while a real server is away, and what it says where it may not come in."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import enlist
from tests.servers.etcd import EtcdServer
from tests.waiting import eventually

ENDS_WITHIN_S = 40.0
ECHO = enlist.Info(service_name="cli-outage", addr="127.0.0.1:81")


@contextmanager
def command(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run an `enlist` command while the block runs."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "enlist.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def line(stream: IO[str] | None, words: str) -> str:
    """The next line with these words."""
    assert stream is not None
    said = []
    for each in stream:
        said.append(each)
        if words in each:
            return each
    raise AssertionError(f"It ended without {words!r}: {said}")


def url(server: EtcdServer) -> str:
    """The registry on this server, with a short time to live."""
    return f"etcd://{server.endpoint}?ttl=3"


@contextmanager
def missed_by(registry: enlist.Registry) -> Iterator[None]:
    """Bring a server back in the block, after the registry has missed it and until it has it."""

    def confirmed() -> bool:
        return {status.state for status in registry.status()} == {enlist.State.ENLISTED}

    eventually(lambda: not confirmed(), within_s=ENDS_WITHIN_S, why="the outage is noticed")
    yield
    eventually(confirmed, within_s=ENDS_WITHIN_S, why="it is back")


def test_watch_tells_of_an_outage_and_of_its_end(etcd_server: EtcdServer) -> None:
    """The instances stay, the outage and its end are one line each, and live changes go on."""
    with (
        enlist.open_registry(url(etcd_server)) as registry,
        command("watch", "cli-outage", "--registry", url(etcd_server)) as watching,
    ):
        registry.register(ECHO)
        line(watching.stdout, "+ cli-outage 127.0.0.1:81")
        etcd_server.kill()
        line(watching.stderr, "cli-outage is stale: ")
        with missed_by(registry):
            etcd_server.start()
        line(watching.stderr, "cli-outage is live again")
        registry.deregister(ECHO)
        line(watching.stdout, "- cli-outage 127.0.0.1:81")
        watching.send_signal(signal.SIGTERM)
        assert watching.wait(ENDS_WITHIN_S) == 0


def test_watch_of_all_goes_on_when_names_cannot_be_listed(etcd_server: EtcdServer) -> None:
    """New services are looked for again as soon as the server is back; one line tells of it."""
    with (
        enlist.open_registry(url(etcd_server)) as registry,
        command(
            *("watch", "--json", "--timeout", "1s", "--registry", url(etcd_server))
        ) as watching,
    ):
        registry.register(ECHO)
        line(watching.stdout, '"cli-outage"')
        etcd_server.kill()
        line(watching.stderr, "services that are new cannot be seen: ")
        with missed_by(registry):
            etcd_server.start()
        registry.register(enlist.Info(service_name="cli-newer", addr="127.0.0.1:82"))
        line(watching.stdout, '"cli-newer"')
        watching.send_signal(signal.SIGTERM)
        assert watching.wait(ENDS_WITHIN_S) == 0


def test_register_ends_although_it_cannot_deregister(etcd_server: EtcdServer) -> None:
    """A registry that is away at the end is said, and keeps nobody from ending."""
    options = ("--service", "cli-outage", "--addr", "127.0.0.1:81", "--timeout", "3s")
    with command("register", *options, "--registry", url(etcd_server)) as registering:
        line(registering.stderr, "enlisted")
        etcd_server.kill()
        registering.send_signal(signal.SIGTERM)
        line(registering.stderr, "what is left ends with its time to live")
        assert registering.wait(ENDS_WITHIN_S) == 0


def test_check_says_what_to_do_about_credentials(etcd_auth_server: EtcdServer) -> None:
    """Where a server wants to know who asks, the step that failed and the advice say so."""
    with command("check", f"etcd://{etcd_auth_server.endpoint}", "--json") as checking:
        said, _ = checking.communicate(timeout=ENDS_WITHIN_S)
    last = json.loads(said)["steps"][-1]

    assert checking.returncode == 1
    assert "credentials" in last["advice"]


def test_check_succeeds_with_credentials_from_the_environment(
    etcd_auth_server: EtcdServer,
) -> None:
    """A password is given in the environment, and shown nowhere."""
    process = subprocess.run(
        [sys.executable, "-m", "enlist.cli", "check", f"etcd://{etcd_auth_server.endpoint}"],
        env={
            **os.environ,
            "ENLIST_OPT_ETCD_USERNAME": "service",
            "ENLIST_OPT_ETCD_PASSWORD": "service-password",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=ENDS_WITHIN_S,
    )

    assert process.returncode == 0, process.stderr
    assert "service-password" not in process.stdout + process.stderr
