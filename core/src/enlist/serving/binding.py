"""Where a framework is to listen, as text: read before anything is bound, port 0 included."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Final

from enlist.address import Address
from enlist.errors import InvalidInfoError, InvalidOptionError, ServingError

__all__ = ["address_to_bind", "listener"]

_BACKLOG: Final = 128


def address_to_bind(listen: str) -> tuple[Address, int]:
    """Return what a text such as "0.0.0.0:8888" spells, and the port to bind to.

    That port may be 0, for the system to choose one. No Address has port 0, since it could not
    be called: the one that is returned then has another in its place.

    Args:
        listen: "host:port", ":port" (every address), or "unix:/path".

    Raises:
        InvalidOptionError: it is no such text.
    """
    wanted = f"[::]{listen}" if listen.startswith(":") else listen
    host, _, port = wanted.rpartition(":")
    try:
        addr = Address.parse(f"{host}:1" if port == "0" else wanted)
    except InvalidInfoError as exc:
        raise InvalidOptionError("listen", listen, exc.rule) from exc
    return addr, 0 if port == "0" else addr.port


def listener(listen: str) -> socket.socket:
    """Return a socket that listens there.

    Every address means IPv4 and IPv6 where the system has both. The file of a unix socket that
    nobody listens on any more is replaced.

    Args:
        listen: as in :func:`address_to_bind`.

    Raises:
        InvalidOptionError: it is no such text.
        ServingError: nobody can listen there, such as when the port is in use.
    """
    wanted, port = address_to_bind(listen)
    try:
        if wanted.network == "unix":
            _remove_stale(wanted.host)
            return socket.create_server(wanted.host, family=socket.AF_UNIX, backlog=_BACKLOG)
        return _tcp_listener(wanted.host, port)
    except OSError as exc:
        raise ServingError(f"could not listen on {listen!r}: {exc}") from exc


def _tcp_listener(host: str, port: int) -> socket.socket:
    both = host == "::" and socket.has_dualstack_ipv6()
    if host == "::" and not both:
        host = "0.0.0.0"  # noqa: S104 - every address was asked for, and this is what there is
    family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    return socket.create_server(where, family=family, backlog=_BACKLOG, dualstack_ipv6=both)


def _remove_stale(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as trial:
        try:
            trial.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()
        except FileNotFoundError:
            return
