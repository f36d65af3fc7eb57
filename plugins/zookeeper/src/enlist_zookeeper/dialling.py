"""Opens sockets to ZooKeeper for kazoo, plain or with TLS, and cuts them off on demand."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress

from enlist.errors import UnauthorisedError
from enlist_zookeeper.options import ZooKeeperOptions

__all__ = ["Dialler"]


class Dialler:
    """Makes one connection after another; certificates are read anew for each."""

    def __init__(self, options: ZooKeeperOptions, round_s: float) -> None:
        """Know what to do; nothing is opened yet.

        Args:
            options: say whether with TLS, and with which files.
            round_s: how long it may take to try every address once.
        """
        self._options = options
        self._round_s = round_s
        self._limit_s = round_s
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._is_cut = False

    def share(self, addresses: int) -> None:
        """Hear how many addresses there are, each of which is to have its turn in a round.

        Args:
            addresses: those of all servers: a name may have several.
        """
        self._limit_s = self._round_s / max(1, addresses)

    def dial(self, address: tuple[str, int], hostname: str) -> socket.socket:
        """Return a socket that is connected to the server.

        Args:
            address: its IP address and port.
            hostname: what it is called, for the check of its certificate.

        Raises:
            OSError: it was not reached, TLS failed, or the line was cut meanwhile.
        """
        context = self._context() if self._options.uses_tls else None
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._hold(sock)
            sock.settimeout(self._limit_s)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.connect(address)
            if context is not None:
                name = self._options.server_name or hostname
                sock = context.wrap_socket(
                    sock, server_hostname=name, do_handshake_on_connect=False
                )
                self._hold(sock)
                sock.do_handshake()
        except BaseException:
            sock.close()
            raise
        return sock

    def cut(self) -> None:
        """Break the connection, also one that is being made, and make no more."""
        with self._lock:
            self._is_cut = True
            if self._socket is not None:
                with suppress(OSError):  # closed already, or not yet connected
                    self._socket.shutdown(socket.SHUT_RDWR)

    def _hold(self, sock: socket.socket) -> None:
        with self._lock:
            if self._is_cut:
                raise ConnectionAbortedError("the registry is being closed")
            self._socket = sock

    def _context(self) -> ssl.SSLContext:
        options = self._options
        try:
            context = ssl.create_default_context(cafile=options.ca)
            if options.cert is not None and options.key is not None:
                # Without a password OpenSSL would ask for one at the terminal.
                context.load_cert_chain(options.cert, options.key, password="")
        except ssl.SSLError as exc:
            reason = exc.reason or "they are not PEM"
            raise UnauthorisedError(
                f"ZooKeeper: ca, cert or key cannot be used: {reason}. "
                "Check that they are PEM files, and that the key is not encrypted."
            ) from exc
        except OSError as exc:
            names = ", ".join(str(file) for file in (options.ca, options.cert, options.key) if file)
            raise UnauthorisedError(
                f"ZooKeeper: a file cannot be read out of {names}: {exc.strerror}. "
                "Check the paths and that this process may read them."
            ) from exc
        return context
