"""Whether a gRPC server would get an address for itself: gRPC shares one without a word."""

from __future__ import annotations

import errno
import socket
from typing import Any, Final

from enlist.address import Address

__all__ = ["taken"]

_EVERY: Final = ("::", "0.0.0.0")  # noqa: S104 - to be looked at, and listened on by nobody


def taken(addr: Address, port: int) -> bool:
    """Return whether somebody listens there already, or on a part of it.

    gRPC listens with SO_REUSEPORT, so that a second server on a port gets a share of the first
    one's calls; and it replaces the file of a unix socket that somebody listens on. A failure of
    another kind is left for gRPC to meet.

    Args:
        addr: where the server is to listen.
        port: the port, which may be 0: nobody has that one.
    """
    if addr.network == "unix":
        return _is_listened_on(addr.host)
    hosts = _EVERY if addr.host == "::" else (addr.host,)
    return port != 0 and any(
        _is_in_use(family, where) for host in hosts for family, where in _looked_up(host, port)
    )


def _is_in_use(
    family: socket.AddressFamily,
    where: Any,  # noqa: ANN401 - two values for IPv4, four for IPv6
) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            # Without it a server that has just ended would count, for its last connections.
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            trial.bind(where)
    except OSError as exc:
        return exc.errno == errno.EADDRINUSE
    return False


def _is_listened_on(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as trial:
        trial.setblocking(False)
        try:
            trial.connect(path)
        except BlockingIOError:  # its queue is full
            return True
        except OSError:
            return False
    return True


def _looked_up(host: str, port: int) -> list[tuple[socket.AddressFamily, Any]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [(family, where) for family, _, _, _, where in found]
