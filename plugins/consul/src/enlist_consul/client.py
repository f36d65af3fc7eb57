"""Requests to one agent, over a few connections that are kept."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from http import HTTPStatus
from typing import Final
from urllib.parse import urlencode

from enlist.backend_options import Secret, read_secret
from enlist.errors import TimedOutError, UnauthorisedError, UnavailableError
from enlist_consul.connection import Answer, Connection
from enlist_consul.deadline import Deadline
from enlist_consul.failures import hidden, refused
from enlist_consul.operations import Request
from enlist_consul.options import ConsulOptions
from enlist_consul.shutter import Shutter

__all__ = ["Client", "Line"]

MOST_CONNECTIONS: Final = 16
"""At a time, apart from those of watches: an agent accepts 200 from one host by default."""

_SLICE_S: Final = 0.1
"""Whoever waits for a turn looks so often whether it was stopped."""

_STATES: Final = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
_FILTERED: Final = "X-Consul-Results-Filtered-By-ACLs"


class Client:
    """Makes requests for any number of threads; connects with the first of them.

    Every request is such that carrying it out twice does what carrying it out once does, so one
    that met a kept connection which the agent had closed is sent once more over a new one.
    """

    def __init__(self, options: ConsulOptions) -> None:
        """Connect to nothing yet."""
        self._options = options
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._closed = False
        self._breaks = 0
        common = {"ns": options.namespace, "partition": options.partition}
        self._common = urlencode({name: value for name, value in common.items() if value})
        self._auth = _basic(options.http_auth)
        self._elsewhere = urlencode({"dc": options.datacenter}) if options.datacenter else ""

    @property
    def breaks(self) -> int:
        """How often the agent, or its servers, were away so far, or a connection was closed.

        While this stays as it is, the agent is the same process that it was.
        """
        return self._breaks

    def call(self, request: Request, deadline: Deadline, shutter: Shutter | None = None) -> Answer:
        """Make a request.

        Args:
            request: what to ask.
            deadline: by when it has to be answered.
            shutter: ends it before its time.

        Returns:
            The answer: its status is 200, unless the request says that another one tells more.

        Raises:
            RegistryError: the agent did not answer, or refused.
        """
        shutter = shutter or Shutter()
        self._wait_for_turn(deadline, shutter)
        try:
            return self._checked(request, *self._exchanged(request, deadline, shutter))
        except UnavailableError:
            self._note_break()
            raise
        finally:
            self._free.release()

    def line(self, on_stop: Callable[[Callable[[], object]], None]) -> Line:
        """Return a connection of one's own, for requests that wait; to be closed after use.

        Args:
            on_stop: is given what ends a request before its time.
        """
        connection = Connection(self._options)
        on_stop(connection.shut)
        return Line(self, connection)

    def close(self) -> None:
        """Close the connections that nobody uses; the others follow with their request."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _wait_for_turn(self, deadline: Deadline, shutter: Shutter) -> None:
        while not self._free.acquire(timeout=min(_SLICE_S, deadline.left_s())):
            shutter.check()
            if deadline.passed:
                raise TimedOutError(f"Consul: {MOST_CONNECTIONS} requests at a time took too long.")

    def _exchanged(
        self, request: Request, deadline: Deadline, shutter: Shutter
    ) -> tuple[Answer, str]:
        connection = self._taken()
        try:
            return self._kept(connection, request, deadline, shutter)
        except UnavailableError as exc:
            # Whatever became of this connection, the others are most likely of no use either.
            self._drop_idle()
            if not connection.used or isinstance(exc, TimedOutError):
                raise
        return self._kept(Connection(self._options), request, deadline, shutter)

    def _kept(
        self, connection: Connection, request: Request, deadline: Deadline, shutter: Shutter
    ) -> tuple[Answer, str]:
        """Make a request, and keep the connection for others if that went well."""
        try:
            with shutter.over(connection):
                answered = self._sent(connection, request, deadline)
        except BaseException:
            connection.close()
            raise
        self._put_back(connection)
        return answered

    def _sent(
        self, connection: Connection, request: Request, deadline: Deadline
    ) -> tuple[Answer, str]:
        token = self._token()
        headers = {**self._auth, "X-Consul-Token": token} if token else self._auth
        elsewhere = self._elsewhere if request.elsewhere else ""
        query = "&".join(filter(None, (request.query, self._common, elsewhere)))
        target = f"{request.path}?{query}" if query else request.path
        answer = connection.exchange(request.method, target, headers, request.body, deadline)
        return answer, token

    def _token(self) -> str:
        """Return the token to send now.

        The standard library too refuses what a header cannot carry, and shows it in its error.
        """
        token = read_secret(self._options.token, self._options.token_file).reveal()
        if not (token.isascii() and token.isprintable()):
            source = "token" if self._options.token_file is None else "token_file"
            raise UnauthorisedError(
                f"Consul at {self._options.agent}: the token has a line break or another "
                f"character that no token of Consul's has. Check {source}."
            )
        return token

    def _checked(self, request: Request, answer: Answer, token: str) -> Answer:
        if answer.status != HTTPStatus.OK and not _is_answer(request, answer):
            raise refused(answer.status, answer.body, self._options.agent, token)
        if request.whole and answer.headers.get(_FILTERED) == "true":
            raise hidden(request.path, self._options.agent)
        return answer

    def exchanged_on(self, connection: Connection, request: Request, deadline: Deadline) -> Answer:
        """Make a request over that connection; see :meth:`call`."""
        try:
            return self._checked(request, *self._sent(connection, request, deadline))
        except UnavailableError:
            self._note_break()
            raise

    def _taken(self) -> Connection:
        while True:
            with self._lock:
                if self._closed:
                    raise UnavailableError("Consul: the registry was closed.")
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                return Connection(self._options)
            if connection.usable:
                return connection
            self._note_break()
            connection.close()

    def _put_back(self, connection: Connection) -> None:
        with self._lock:
            if not self._closed and connection.usable:
                self._idle.append(connection)
                return
        connection.close()

    def _note_break(self) -> None:
        with self._lock:
            self._breaks += 1

    def _drop_idle(self) -> None:
        """Close what was kept: the agent was restarted, or its machine is gone."""
        with self._lock:
            self._breaks += 1
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


def _basic(auth: Secret) -> dict[str, str]:
    """Return the header of HTTP's basic authentication, if there is to be one."""
    if not auth:
        return {}
    coded = base64.b64encode(auth.reveal().encode()).decode()
    return {"Authorization": f"Basic {coded}"}


def _is_answer(request: Request, answer: Answer) -> bool:
    """Return whether a status other than 200 is what the request asks about."""
    if answer.status == HTTPStatus.NOT_FOUND:
        return request.optional
    return request.states and answer.status in _STATES and answer.body.startswith(b"{")


class Line:
    """A connection of one's own for one thread."""

    def __init__(self, client: Client, connection: Connection) -> None:
        """Take what makes the requests, and the connection that carries them."""
        self._client = client
        self._connection = connection

    def call(self, request: Request, deadline: Deadline) -> Answer:
        """Make a request; see :meth:`Client.call`."""
        return self._client.exchanged_on(self._connection, request, deadline)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
