"""What the interop tests share: Kitex as a program, our servers as programs, the backends."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import enlist
from tests.waiting import eventually

ROOT: Final = Path(__file__).resolve().parents[2]
ENDS_WITHIN_S: Final = 50.0
_TAIL: Final = 3_000
FOUND_WITHIN_S: Final = 40.0  # Kitex's default check with Consul alone takes up to 5 s


class PeerFailedError(Exception):
    """Kitex ended with an error; the message is what it wrote."""


class Peer:
    """The Go program that is Kitex.

    Args:
        program: its path.
        registry: which of Kitex's plugins it uses.
        endpoint: host:port of the registry.
    """

    def __init__(self, program: Path, registry: str, endpoint: str) -> None:
        self._program = program
        self._place = {"registry": registry, "endpoint": endpoint}

    def call(self, protocol: str, service: str, text: str, times: int = 1) -> list[str]:
        """Have Kitex find the service and call it; return the answers.

        Raises:
            PeerFailedError: If a call failed.
        """
        flags = {"protocol": protocol, "service": service, "text": text, "times": times}
        return [json.loads(line) for line in self._run("call", **flags).splitlines()]

    def view(self, service: str, *tag_keys: str) -> dict[str, Any]:
        """Return what Kitex's resolver gives now: "instances", or an "error"."""
        view: dict[str, Any] = json.loads(
            self._run("resolve", service=service, tags=",".join(tag_keys))
        )
        return view

    def sees(self, service: str, *tag_keys: str) -> list[dict[str, Any]]:
        """Wait until Kitex's resolver gives instances, and return them."""
        found: list[dict[str, Any]] = eventually(
            lambda: self.view(service, *tag_keys)["instances"],
            within_s=FOUND_WITHIN_S,
            why="Kitex's resolver gives an instance",
        )
        return found

    @contextmanager
    def serve(self, protocol: str, service: str, **flags: object) -> Iterator[None]:
        """Run a server of Kitex's while the block runs."""
        with self._staying("serve", protocol=protocol, service=service, **flags):
            yield

    @contextmanager
    def hold(self, service: str, addr: str, **flags: object) -> Iterator[None]:
        """Have Kitex's plugin publish a record without a server while the block runs."""
        with self._staying("hold", service=service, addr=addr, **flags) as process:
            assert process.stdout is not None
            if not process.stdout.readline():
                raise PeerFailedError(process.communicate(timeout=ENDS_WITHIN_S)[1])
            yield

    def _run(self, command: str, **flags: object) -> str:
        done = subprocess.run(
            self._command(command, flags),
            capture_output=True,
            text=True,
            check=False,
            timeout=ENDS_WITHIN_S,
        )
        if done.returncode:
            raise PeerFailedError(done.stderr)
        return done.stdout

    def _command(self, command: str, flags: dict[str, object]) -> list[str]:
        given = {**self._place, **flags}
        return [str(self._program), command, *(f"-{name}={value}" for name, value in given.items())]

    @contextmanager
    def _staying(self, command: str, **flags: object) -> Iterator[subprocess.Popen[str]]:
        with started(self._command(command, flags)) as process:
            yield process


@contextmanager
def started(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Run a program while the block runs; it ends well when its input does, or is killed."""
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
            _, errors = process.communicate(timeout=ENDS_WITHIN_S)
            assert process.returncode in {0, -signal.SIGKILL}, errors
        except BaseException as error:
            process.kill()
            error.add_note(f"The program wrote: {process.communicate()[1][-_TAIL:]}")
            raise


@dataclass(frozen=True)
class World:
    """One backend with both sides at it.

    Attributes:
        name: "etcd", "zookeeper" or "consul".
        url: for enlist; short-lived, so that a crash is seen soon.
        server: the real server.
        peer: Kitex.
        program: where Kitex's program is, to make another peer.
    """

    name: str
    url: str
    server: Any
    peer: Peer
    program: Path

    def other_peer(self, registry: str) -> Peer:
        """Kitex with the same server, through another of its constructors."""
        return Peer(self.program, registry, self.server.endpoint)

    def finds(self, service: str, count: int = 1) -> list[enlist.Info]:
        """Wait until enlist's resolver gives so many instances, and return them by address."""
        with enlist.open_registry(self.url) as registry:

            def found() -> list[enlist.Info]:
                infos = registry.resolve(service)
                return sorted(infos, key=lambda info: str(info.addr)) if len(infos) == count else []

            return eventually(
                found, within_s=FOUND_WITHIN_S, why=f"enlist finds {count} of {service}"
            )

    @contextmanager
    def python_server(
        self,
        protocol: str,
        service: str,
        *,
        host: str = "127.0.0.1",
        weight: int = 10,
        tags: str = "",
    ) -> Iterator[subprocess.Popen[str]]:
        """Run an enlisted Python server while the block runs."""
        arguments = [protocol, self.url, service, host, str(weight), tags]
        program = [sys.executable, "-W", "error", "-m", "tests.interop.python_server"]
        with started([*program, *arguments]) as process:
            assert process.stdout is not None
            if process.stdout.readline() != "enlisted\n":
                raise AssertionError(process.communicate(timeout=ENDS_WITHIN_S)[1])
            yield process
