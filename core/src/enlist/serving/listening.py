"""What a server listens on, and whether it accepts there: nobody is enlisted before it does."""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

from enlist.address import Address
from enlist.errors import InvalidInfoError, InvalidOptionError, NotReadyError

__all__ = [
    "BoundSocket",
    "ListenAddress",
    "Pause",
    "best_reached",
    "listen_address",
    "wait_until_ready",
]


class BoundSocket(Protocol):
    """A socket as far as it tells where it is bound; asyncio and uvloop have kinds of their own."""

    def getsockname(self) -> Any:  # noqa: ANN401 - a path, or a tuple that begins with host and port
        """Return what it is bound to."""


ListenAddress: TypeAlias = str | Address | BoundSocket
"""Text such as "0.0.0.0:8888", ":8888" (every address) or "unix:/run/a.sock"; or a bound socket."""

Pause: TypeAlias = Callable[[float], object]
"""Waits some seconds; returns early, and something true, when the start is no longer wanted."""

_POLL_S: Final = 0.05
_ANSWER_S: Final = 1.0
_PORT_0: Final = (
    "has port 0, for which the system chose another: give that one, or the bound socket"
)


def listen_address(value: ListenAddress) -> Address:
    """Return what a server listens on, with the port that it was really given.

    Args:
        value: as the server was told; a socket is asked where it was bound to.

    Raises:
        InvalidOptionError: it is no such address, or a socket that is not bound yet.
    """
    try:
        if isinstance(value, Address):
            return value
        if not isinstance(value, str):
            return _bound(value)
        if value.endswith(":0"):
            raise InvalidOptionError("listen_addr", value, _PORT_0)
        return Address.parse(f"[::]{value}" if value.startswith(":") else value)
    except InvalidInfoError as exc:
        _, _, part = exc.field.partition(".")
        rule = f"its {part} {exc.rule}" if part else exc.rule
        raise InvalidOptionError("listen_addr", value, rule) from exc


def best_reached(addrs: Iterable[Address]) -> Address:
    """Return that address of one server which most clients reach; of equals the first.

    Every address comes first, those of this machine alone last, and unix sockets behind them.

    Args:
        addrs: where the server listens; at least one.
    """
    return min(addrs, key=_distance)


def _distance(addr: Address) -> tuple[bool, bool, bool]:
    ip = addr.ip
    here = ip.is_loopback if ip is not None else addr.host == "localhost"
    return addr.network == "unix", here, ip is None or not ip.is_unspecified


def _bound(listener: BoundSocket) -> Address:
    if not callable(getattr(listener, "getsockname", None)):
        rule = "must be text such as '0.0.0.0:8888', an Address or a bound socket"
        raise InvalidOptionError("listen_addr", listener, rule)
    name = listener.getsockname()
    # By the name and not the family, which is a guess where a socket was inherited by its number.
    if not isinstance(name, tuple):
        if isinstance(name, str) and name:
            return Address.unix(str(Path(name).absolute()))
        raise InvalidOptionError(
            "listen_addr", listener, "is not bound to a path that clients could open"
        )
    host, port = name[:2]
    if port == 0:
        raise InvalidOptionError("listen_addr", listener, "is not bound yet; bind it first")
    return Address.tcp(host, port)


def wait_until_ready(
    listen: Address, ready: Callable[[], object] | None, *, within_s: float, pause: Pause
) -> bool:
    """Wait until the server accepts connections and, where there is one, ``ready`` says yes.

    Args:
        listen: what the server listens on.
        ready: asked about twenty times a second, in this thread; what it raises is passed on.
        within_s: how long to wait for both together, in seconds.
        pause: how to wait between two looks.

    Returns:
        False where ``pause`` said that the start is no longer wanted.

    Raises:
        NotReadyError: the time ran out; the message says what was missing.
    """
    deadline = time.monotonic() + within_s
    missing = _refusal(listen)
    while missing or (ready is not None and not ready()):
        if time.monotonic() >= deadline:
            why = missing or "it accepts connections, but ready() says no"
            raise NotReadyError(
                f"the server at {listen} was not ready within {within_s:g} s: {why}"
            )
        if pause(_POLL_S):
            return False
        missing = missing and _refusal(listen)
    return True


def _refusal(listen: Address) -> str:
    """Return why nobody can connect; nothing once somebody can."""
    reasons = []
    for family, where in _targets(listen):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as trial:
                trial.settimeout(_ANSWER_S)
                trial.connect(where)
                # A port that nobody listens on may become this socket's own: it then meets itself.
                if family == socket.AF_UNIX or trial.getsockname() != trial.getpeername():
                    return ""
        except OSError as exc:
            reasons.append(str(exc))
    return "; ".join(reasons) or "nobody listens there"


def _targets(listen: Address) -> list[tuple[socket.AddressFamily, Any]]:
    """Return where to connect to; for every address, to this machine's own."""
    if listen.network == "unix":
        return [(socket.AF_UNIX, listen.host)]
    hosts = [listen.host]
    if listen.ip is not None and listen.ip.is_unspecified:
        hosts = (
            ["127.0.0.1"] if isinstance(listen.ip, ipaddress.IPv4Address) else ["::1", "127.0.0.1"]
        )
    return [
        (family, where)
        for host in hosts
        for family, _, _, _, where in _looked_up(host, listen.port)
    ]


def _looked_up(host: str, port: int) -> list[tuple[socket.AddressFamily, int, int, str, Any]]:
    try:
        return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except OSError:
        return []  # a name that is not known yet; "nobody listens there" until it is
