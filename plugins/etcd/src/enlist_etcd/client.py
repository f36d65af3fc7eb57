"""Calls to an etcd cluster: any member that answers, with a valid token, within the time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from enlist.backend_options import HostPort, read_secret
from enlist.errors import RegistryError, TimedOutError, UnauthorisedError, UnavailableError
from enlist_etcd.connection import Connection, OnStop, Stream
from enlist_etcd.connections import Connections
from enlist_etcd.deadline import Deadline
from enlist_etcd.failures import CallFailedError, Kind
from enlist_etcd.messages import (
    AUTHENTICATE,
    KEEP_ALIVE,
    Message,
    MessageClass,
    Method,
    load_messages,
)
from enlist_etcd.options import EtcdOptions
from enlist_etcd.tokens import Tokens

__all__ = ["Client"]

_TRY_NEXT = frozenset({Kind.BROKEN, Kind.TIMED_OUT, Kind.ELSEWHERE})
# Older versions of etcd renew a lease for whoever knows its id: there a login that fails ends no
# record. Since 3.4.42, 3.5.28 and 3.6.9 they ask for a token here too.
_FREE = frozenset({KEEP_ALIVE})
_NO_AUTHENTICATION = "authentication is not enabled"


class Client:
    """Makes calls for any number of threads; connects with the first of them.

    Every call is such that carrying it out twice does what carrying it out once does, so one
    that a member left unanswered may go to the next.
    """

    def __init__(self, options: EtcdOptions) -> None:
        """Load gRPC and the messages; nothing is connected yet."""
        self._options = options
        self.classes: Mapping[str, MessageClass] = load_messages()
        self._connections = Connections(options, self.classes)
        self._tokens = Tokens()

    def call(
        self,
        method: Method,
        request: Message,
        deadline: Deadline,
        on_stop: OnStop | None = None,
    ) -> Message:
        """Make a call at the member that answered last, else at the others, each once.

        A member that does not answer gets no more than its share of the time.

        Args:
            method: which call.
            request: its message.
            deadline: by when it has to be answered.
            on_stop: is given what ends the call before its time.

        Raises:
            RegistryError: no member carried it out.
        """
        failures: list[CallFailedError] = []
        endpoints = self._connections.order()
        for left, endpoint in zip(range(len(endpoints), 0, -1), endpoints, strict=True):
            share = deadline if left == 1 else Deadline(deadline.left_s(left))
            try:
                answer = self._call_one(endpoint, method, request, share, on_stop)
            except CallFailedError as exc:
                failures.append(exc)
                if exc.kind not in _TRY_NEXT:
                    break
            else:
                self._connections.prefer(endpoint)
                return answer
        failure = _telling(failures)
        raise failure.error from failure

    def stream(
        self, requests: Iterator[Message], token: str, take: Callable[[Message], object]
    ) -> tuple[Connection, Stream]:
        """Open a stream for watches at the member that answered last; this waits for nothing.

        Args:
            requests: what to send; gRPC iterates over it in a thread of its own.
            token: what :meth:`token` gave.
            take: makes what the stream yields of each answer, in a thread of gRPC.

        Returns:
            The connection, to ``forget`` the stream and to ``leave`` when it has ended, and
            the stream.

        Raises:
            RegistryError: there is no connection to be had.
        """
        connection = self._connections.enter(self._connections.order()[0])
        try:
            return connection, connection.stream(requests, token, take)
        except BaseException:
            connection.leave()
            raise

    def token(self, deadline: Deadline, on_stop: OnStop | None = None) -> str:
        """Return the token that a call would use now; empty where there is none."""
        if not self._options.username:
            return ""
        connection = self._connections.enter(self._connections.order()[0])
        try:
            return self._token(connection, deadline, on_stop)
        except CallFailedError as exc:
            raise exc.error from exc
        finally:
            connection.leave()

    def discard(self, token: str) -> None:
        """Hear that a token is no longer valid; the next call logs in."""
        self._tokens.discard(token)

    def close(self) -> None:
        """End all calls and connections at once; a second call does no harm."""
        self._connections.close()

    def _call_one(
        self,
        endpoint: HostPort,
        method: Method,
        request: Message,
        deadline: Deadline,
        on_stop: OnStop | None,
    ) -> Message:
        """Call one endpoint; where its connection turns out to be broken, over a new one too."""
        try:
            connection = self._enter(endpoint)
            proven = connection.has_answered()
            try:
                return self._use(connection, method, request, deadline, on_stop)
            except CallFailedError as exc:
                if exc.kind is not Kind.BROKEN or not proven:
                    raise
            connection = self._enter(endpoint)
            return self._use(connection, method, request, deadline, on_stop)
        except TimedOutError as exc:
            raise CallFailedError(Kind.TIMED_OUT, exc) from exc

    def _enter(self, endpoint: HostPort) -> Connection:
        try:
            return self._connections.enter(endpoint)
        except RegistryError as exc:
            raise CallFailedError(Kind.FINAL, exc) from exc

    def _use(
        self,
        connection: Connection,
        method: Method,
        request: Message,
        deadline: Deadline,
        on_stop: OnStop | None,
    ) -> Message:
        """Call over a connection that was entered; leave it, and drop it if it is of no use."""
        try:
            return self._authorised(connection, method, request, deadline, on_stop)
        except CallFailedError as exc:
            if exc.kind is Kind.BROKEN or connection.is_dead():
                self._connections.drop(connection)
            raise
        finally:
            connection.leave()

    def _authorised(
        self,
        connection: Connection,
        method: Method,
        request: Message,
        deadline: Deadline,
        on_stop: OnStop | None,
    ) -> Message:
        """Call as the user, where there is one; without a login, if that failed and may do so."""
        if not self._options.username:
            return connection.call(method, request, deadline.left_s(), "", on_stop)
        try:
            return self._as_user(connection, method, request, deadline, on_stop)
        except CallFailedError as exc:
            if method not in _FREE or not isinstance(exc.error, UnauthorisedError):
                raise
            refusal = exc
        try:
            return connection.call(method, request, deadline.left_s(), "", on_stop)
        except CallFailedError:
            raise refusal from None

    def _as_user(
        self,
        connection: Connection,
        method: Method,
        request: Message,
        deadline: Deadline,
        on_stop: OnStop | None,
    ) -> Message:
        """Call with the token; once more with a new one where it is no longer valid."""
        token = self._token(connection, deadline, on_stop)
        call = partial(connection.call, method, request, on_stop=on_stop)
        try:
            return call(deadline.left_s(), token)
        except CallFailedError as exc:
            if exc.kind is not Kind.STALE_TOKEN:
                raise
        self.discard(token)
        token = self._token(connection, deadline, on_stop)
        return call(deadline.left_s(), token)

    def _token(self, connection: Connection, deadline: Deadline, on_stop: OnStop | None) -> str:
        log_in = partial(self._log_in, connection, deadline, on_stop)
        try:
            return self._tokens.get(log_in, deadline, on_stop)
        except CallFailedError:
            raise
        except RegistryError as exc:
            raise CallFailedError(_kind_of(exc), exc) from exc

    def _log_in(self, connection: Connection, deadline: Deadline, on_stop: OnStop | None) -> str:
        """Return a new token; an empty one from an etcd without authentication."""
        password = read_secret(self._options.password, self._options.password_file)
        request = self.classes[AUTHENTICATE.request](
            name=self._options.username, password=password.reveal()
        )
        try:
            answer = connection.call(AUTHENTICATE, request, deadline.left_s(), "", on_stop)
        except CallFailedError as exc:
            if _NO_AUTHENTICATION in str(exc.error):
                return ""
            raise
        return str(answer.token)


def _kind_of(error: RegistryError) -> Kind:
    return Kind.TIMED_OUT if isinstance(error, TimedOutError) else Kind.FINAL


def _telling(failures: Sequence[CallFailedError]) -> CallFailedError:
    """Return the failure to tell of: what etcd said last, else the one that leaves most open."""
    if failures[-1].kind in _TRY_NEXT:
        for error_type in (TimedOutError, UnavailableError):
            for failure in failures:
                if isinstance(failure.error, error_type):
                    return failure
    return failures[-1]
