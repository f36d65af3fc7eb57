"""How a connection to the agent is made: urllib3's, with a socket that others can shut."""

from __future__ import annotations

import functools
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from enlist.errors import UnauthorisedError
from enlist_consul.options import DEFAULT_PORT, ConsulOptions

if TYPE_CHECKING:
    from urllib3.connection import HTTPConnection

__all__ = ["make_connection"]

_OnDialled: TypeAlias = Callable[[socket.socket], None]
_Dial: TypeAlias = Callable[[float | None, _OnDialled], socket.socket]


def make_connection(options: ConsulOptions, on_dialled: _OnDialled) -> HTTPConnection:
    """Return a connection that connects with its first request, and never by a proxy.

    Args:
        options: where to, and whom to trust.
        on_dialled: is given each socket before it connects, so that another thread can end
            that; it may raise to have it left.

    Raises:
        UnauthorisedError: a TLS file cannot be read.
    """
    plain, secure = _connection_classes()
    agent = options.agent
    made: HTTPConnection
    if isinstance(agent, Path):
        dial = functools.partial(_dial_unix, str(agent))
        made = plain("localhost", DEFAULT_PORT, dial=dial, on_dialled=on_dialled)
    elif options.uses_tls:
        made = secure(
            agent.host,
            agent.port,
            ssl_context=_context(options),
            server_hostname=options.server_name or None,
            assert_hostname=None if options.tls_verify else False,
            on_dialled=on_dialled,
        )
    else:
        made = plain(agent.host, agent.port, on_dialled=on_dialled)
    return made


def _context(options: ConsulOptions) -> ssl.SSLContext:
    """Read the certificates, which may have been renewed since the last connection."""
    try:
        context = ssl.create_default_context(cafile=options.ca, capath=options.ca_path)
        if options.cert is not None:
            # Without a password OpenSSL would ask for one at the terminal.
            context.load_cert_chain(options.cert, options.key, password="")
    except OSError as exc:  # an SSLError is one
        reason = exc.strerror or str(exc)
        raise UnauthorisedError(
            f"Consul: a file of ca={options.ca}, ca_path={options.ca_path}, cert={options.cert}, "
            f"key={options.key} cannot be used: {reason}. Check that they are PEM files that "
            "this process may read."
        ) from exc
    if not options.tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


@functools.cache
def _connection_classes() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return urllib3's connections, without and with TLS, with a way in for ``on_dialled``."""
    from urllib3.connection import HTTPConnection, HTTPSConnection

    class Dialling(HTTPConnection):
        def __init__(
            self, host: str, port: int, *, on_dialled: _OnDialled, dial: _Dial | None = None
        ) -> None:
            super().__init__(host, port)
            self._on_dialled = on_dialled
            self._dial = dial or functools.partial(_dial, host, port)

        def _new_conn(self) -> socket.socket:
            return self._dial(self.timeout, self._on_dialled)

    class DiallingSecurely(HTTPSConnection):
        def __init__(
            self,
            host: str,
            port: int,
            *,
            on_dialled: _OnDialled,
            **tls: Any,  # noqa: ANN401 - urllib3's own keywords
        ) -> None:
            super().__init__(host, port, **tls)
            self._on_dialled = on_dialled

        def _new_conn(self) -> socket.socket:
            return _dial(self.host, self.port, self.timeout, self._on_dialled)

    return Dialling, DiallingSecurely


def _dial(host: str, port: int, timeout_s: float | None, on_dialled: _OnDialled) -> socket.socket:
    """Try one address after another; all of them, and TLS after them, share the time."""
    ends_at = None if timeout_s is None else time.monotonic() + timeout_s
    error = OSError(f"{host} has no address")
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for number, (family, kind, protocol, _, where) in enumerate(addresses):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _connect(sock, where, _part(ends_at, len(addresses) - number), on_dialled)
            sock.settimeout(_part(ends_at, 1))
        except OSError as exc:
            sock.close()
            error = exc
        else:
            return sock
    raise error


def _part(ends_at: float | None, of: int) -> float | None:
    """Return one of so many equal parts of the seconds that are left."""
    if ends_at is None:
        return None
    left = ends_at - time.monotonic()
    if left <= 0:
        raise TimeoutError("no time was left to connect")
    return left / of


def _dial_unix(path: str, timeout_s: float | None, on_dialled: _OnDialled) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _connect(sock, path, timeout_s, on_dialled)
    except OSError:
        sock.close()
        raise
    return sock


def _connect(
    sock: socket.socket,
    where: tuple[Any, ...] | str,
    timeout_s: float | None,
    on_dialled: _OnDialled,
) -> None:
    sock.settimeout(timeout_s)
    on_dialled(sock)
    sock.connect(where)
