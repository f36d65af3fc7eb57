"""One connection to the agent, which carries one request at a time and can be shut meanwhile."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import threading
from collections.abc import Mapping
from email.message import Message
from typing import Any, Final, NamedTuple

from enlist.errors import UnavailableError
from enlist_consul.deadline import Deadline
from enlist_consul.dialling import make_connection
from enlist_consul.failures import broken
from enlist_consul.options import ConsulOptions

__all__ = ["Answer", "Connection"]

_CHUNK: Final = 65_536


class Answer(NamedTuple):
    """What the agent answered.

    Attributes:
        status: of HTTP.
        headers: looked up without regard to case.
        body: as it came.
    """

    status: int
    headers: Message
    body: bytes

    def json(self) -> Any:  # noqa: ANN401 - what JSON holds
        """Return the decoded body.

        Raises:
            UnavailableError: it is no JSON, so that it was not Consul that answered.
        """
        try:
            return json.loads(self.body)
        except ValueError as exc:
            raise UnavailableError("Consul: the answer is no JSON; is address an agent?") from exc


class Connection:
    """A connection that is made with its first request, and is of no use after it has failed."""

    def __init__(self, options: ConsulOptions) -> None:
        """Connect to nothing yet.

        Raises:
            UnauthorisedError: a TLS file cannot be read.
        """
        self._where = options.agent
        self._lock = threading.Lock()
        self._handle: socket.socket | None = None
        self._shut = False
        self._connection = make_connection(options, self._dialled)
        self.used = False

    @property
    def usable(self) -> bool:
        """Whether nobody has shut it, and the other side neither closed it nor sent unasked."""
        return not self._shut and self._connection.is_connected

    def exchange(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
        deadline: Deadline,
    ) -> Answer:
        """Send a request and return the answer.

        Args:
            method: of HTTP.
            target: the path and the query.
            headers: beside those of every request.
            body: what is sent.
            deadline: by when all of the answer has to be there.

        Raises:
            UnavailableError: the connection failed; it is of no use any more.
            TimedOutError: nobody knows whether the request was carried out.
            UnauthorisedError: one side does not trust the other's certificate.
        """
        from urllib3.exceptions import HTTPError

        try:
            return self._exchange(method, target, headers, body, deadline)
        except (OSError, http.client.HTTPException, HTTPError) as exc:
            if isinstance(exc, UnavailableError):
                raise
            raise broken(exc, self._where) from exc

    def _exchange(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
        deadline: Deadline,
    ) -> Answer:
        connection = self._connection
        connection.timeout = deadline.left_s()
        if connection.sock is None:
            connection.connect()
        sock = connection.sock
        sock.settimeout(deadline.left_s())
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        try:
            connection.endheaders(body)
        except OSError:
            _hear_alert(sock)
            raise
        # The standard library's answer: urllib3's own costs as much again as the whole exchange.
        response = http.client.HTTPConnection.getresponse(connection)
        pieces = []
        while piece := response.read1(_CHUNK):
            pieces.append(piece)
            if response.isclosed():  # with the socket, where the server keeps no connection
                break
            sock.settimeout(deadline.left_s())
        response.close()  # all of it was read; this frees the connection for the next request
        self.used = True
        return Answer(response.status, response.headers, b"".join(pieces))

    def _dialled(self, sock: socket.socket) -> None:
        """Keep a second handle of the socket, which TLS takes over before it can be shut."""
        with self._lock:
            if self._shut:
                raise UnavailableError(f"Consul at {self._where}: the connection was closed.")
            if self._handle is not None:
                self._handle.close()
            self._handle = sock.dup()

    def shut(self) -> None:
        """End a request that waits in another thread; it raises. A second call does no harm."""
        with self._lock:
            self._shut = True
            if self._handle is not None:
                with contextlib.suppress(OSError):  # it was not, or is no longer, connected
                    self._handle.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close; to be called by the thread that uses the connection."""
        with self._lock:
            self._shut = True
            handle, self._handle = self._handle, None
        if handle is not None:
            handle.close()
        self._connection.close()


def _hear_alert(sock: socket.socket) -> None:
    """Raise what a server of TLS 1.3 said before it closed: it looks at our certificate late."""
    if isinstance(sock, ssl.SSLSocket):
        sock.recv(1)
