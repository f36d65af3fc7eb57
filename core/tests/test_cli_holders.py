"""Who listens at an address: told by the kernel, on real sockets."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from enlist.address import Address
from enlist.cli.holders import Holders, listeners_at, look


@contextmanager
def listener(host: str, *, both: bool = False) -> Iterator[int]:
    """Somebody who listens; gives the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as bound:
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not both))
        bound.bind((host, 0))
        bound.listen()
        yield bound.getsockname()[1]


@pytest.fixture
def child() -> Iterator[int]:
    """A process that listens nowhere."""
    command = [sys.executable, "-c", "input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        yield process.pid
        process.kill()


@pytest.mark.parametrize(
    "host,meant,expected",
    [
        ("127.0.0.1", "127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "[::]", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1", "0.0.0.0"),
        ("127.0.0.1", "localhost", "127.0.0.1"),
        ("::1", "[::1]", "::1"),
        ("::1", "0.0.0.0", "::1"),
        ("::ffff:127.0.0.1", "127.0.0.1", "127.0.0.1"),
    ],
)
def test_look_finds_the_own_listener(host: str, meant: str, expected: str) -> None:
    """A listener at the address, or on every one, is ours, and told as it is bound."""
    with listener(host, both=True) as port:
        found = look(Address.parse(f"{meant}:{port}"), os.getpid())

        assert found == Holders((Address.tcp(expected, port),))


def test_look_names_a_stranger(child: int) -> None:
    """Another process's listener is that process's, by name and number."""
    with listener("127.0.0.1") as port:
        found = look(Address.tcp("127.0.0.1", port), child)

    assert found.own == ()
    assert found.stranger.endswith(f"(process {os.getpid()})")


def test_look_finds_nobody_where_nobody_listens(child: int) -> None:
    """A port that is only bound, or another address's, is nobody's."""
    with socket.socket() as bound, listener("127.0.0.1") as port:
        bound.bind(("127.0.0.1", 0))

        assert look(Address.tcp("127.0.0.1", bound.getsockname()[1]), child) == Holders()
        assert look(Address.tcp("127.0.0.2", port), child) == Holders()


def test_look_knows_unix_sockets(socket_folder: Path, child: int) -> None:
    """The path of a unix socket has a holder too."""
    addr = Address.unix(str(socket_folder / "web.sock"))
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(addr.host)
        assert listeners_at(addr) == {}
        bound.listen()

        assert look(addr, os.getpid()) == Holders((addr,))
        assert look(addr, child).stranger.endswith(f"(process {os.getpid()})")


def test_listeners_at_cannot_be_told_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel is not Linux nobody is accused."""
    with listener("127.0.0.1") as port:
        monkeypatch.setattr(sys, "platform", "darwin")

        assert look(Address.tcp("127.0.0.1", port), os.getpid()) == Holders()


def test_look_passes_over_processes_that_tell_nothing(
    monkeypatch: pytest.MonkeyPatch, child: int
) -> None:
    """Where /proc hides the processes of others (hidepid), the command's own are still found."""
    told = {"net", str(os.getpid())}
    read_text = Path.read_text

    def read_told(path: Path, **options: Any) -> str:  # noqa: ANN401 - passed on
        if path.parts[:2] == ("/", "proc") and path.parts[2] not in told:
            raise PermissionError(errno.EPERM, "Operation not permitted", str(path))
        return read_text(path, **options)

    monkeypatch.setattr(Path, "read_text", read_told)
    with listener("127.0.0.1") as port:
        addr = Address.tcp("127.0.0.1", port)

        assert look(addr, os.getpid()) == Holders((addr,))
        told.remove(str(os.getpid()))
        assert look(addr, child).stranger.startswith("another process (process ")
