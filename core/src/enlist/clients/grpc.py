"""A gRPC channel that follows a service: each call goes to a server that is there now.

::

    with (
        enlist.open_registry("etcd") as registry,
        registry.resolver("echo") as resolver,
        enlist.clients.grpc.channel(resolver) as channel,
    ):
        EchoStub(channel).Say(request, timeout=3)

It is a ``grpc.Channel``, for stubs and for ``grpc.intercept_channel``. Every call picks a server
by its weight. Each address has one channel of gRPC underneath, which is closed when its server
has left and the calls on it have ended; a server that is leaving gets no new call.

When a server has died, another one is tried, as long as that cannot make a call happen twice: a
unary call that found nobody to connect to was never sent. A call that broke after that is tried
again only if its method is ``repeatable``. Streams and futures are begun once, on a server that
was seen to accept connections just before.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, Self, TypeVar

import grpc

from enlist.clients.grpc_attempts import Attempts, Repeating
from enlist.clients.grpc_calls import StreamStream, StreamUnary, UnaryStream, UnaryUnary
from enlist.clients.grpc_connections import Connection, Connections
from enlist.clients.grpc_deadline import DeadlineError
from enlist.clients.grpc_reaching import (
    accepts,
    channel_options,
    connectivity,
    end_of,
    left_until,
)
from enlist.errors import NoInstanceError, TimedOutError
from enlist.finding.resolver import Resolver
from enlist.finding.view import Snapshot
from enlist.info import Info

__all__ = ["ResolverChannel", "channel"]

_T = TypeVar("_T")
_Connectivity = grpc.ChannelConnectivity


def channel(
    resolver: Resolver,
    *,
    credentials: grpc.ChannelCredentials | None = None,
    options: Sequence[tuple[str, Any]] = (),
    compression: grpc.Compression | None = None,
    repeatable: Collection[str] | bool = (),
    attempts: int = 3,
) -> ResolverChannel:
    """Return a channel to the servers that a resolver shows. Connects to nobody yet.

    Args:
        resolver: of the service. It stays yours: close it after the channel.
        credentials: for TLS, from ``grpc.ssl_channel_credentials``; None for plain text. A
            certificate without the servers' addresses needs the option
            ``grpc.ssl_target_name_override``.
        options: of every channel underneath, as for ``grpc.insecure_channel``; stronger than
            those for reconnecting that are set here.
        compression: as for ``grpc.insecure_channel``.
        repeatable: the methods that may be called twice, such as "/echo.Echo/Say", or True for
            all: their unary calls are tried on another server also when a connection broke and
            nobody knows whether the first has done its work.
        attempts: how many times a repeatable call is sent at most. Servers that cannot be
            connected to do not count: all are tried, within the timeout of the call.

    Raises:
        InvalidOptionError: ``attempts`` is not 1 or more, or ``repeatable`` is a text.
    """
    repeating = Repeating(repeatable, attempts)
    chosen = channel_options(options)

    def connect(target: str) -> grpc.Channel:
        if credentials is None:
            return grpc.insecure_channel(target, chosen, compression)
        return grpc.secure_channel(target, credentials, chosen, compression)

    return ResolverChannel(resolver, Connections(connect, lambda one: one.close()), repeating)


class ResolverChannel(grpc.Channel):
    """What :func:`channel` returns; to be used as any other ``grpc.Channel``.

    A call raises what gRPC raises. Where nobody can be picked it raises what
    :meth:`enlist.Resolver.pick` raises, such as :exc:`enlist.NoInstanceError`.
    """

    def __init__(
        self,
        resolver: Resolver,
        connections: Connections[grpc.Channel],
        repeating: Repeating,
    ) -> None:
        """Be made by :func:`channel`."""
        self._resolver = resolver
        self._connections = connections
        self._repeating = repeating
        self._unfollow = resolver.on_change(connections.follow)
        connections.follow(resolver.snapshot())
        self._subscriptions: dict[Callable[[_Connectivity], None], Callable[[], None]] = {}

    # Generated code passes _registered_method, which would only make calls a little faster.

    def unary_unary(
        self,
        method: str,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        _registered_method: bool | None = False,
    ) -> UnaryUnary:
        """Return what calls a method that takes one message and gives one."""
        return UnaryUnary(
            self,
            method,
            lambda one: one.unary_unary(method, request_serializer, response_deserializer),
        )

    def unary_stream(
        self,
        method: str,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        _registered_method: bool | None = False,
    ) -> UnaryStream:
        """Return what calls a method that takes one message and gives a stream."""
        return UnaryStream(
            self,
            method,
            lambda one: one.unary_stream(method, request_serializer, response_deserializer),
        )

    def stream_unary(
        self,
        method: str,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        _registered_method: bool | None = False,
    ) -> StreamUnary:
        """Return what calls a method that takes a stream and gives one message."""
        return StreamUnary(
            self,
            method,
            lambda one: one.stream_unary(method, request_serializer, response_deserializer),
        )

    def stream_stream(
        self,
        method: str,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        _registered_method: bool | None = False,
    ) -> StreamStream:
        """Return what calls a method that takes a stream and gives one."""
        return StreamStream(
            self,
            method,
            lambda one: one.stream_stream(method, request_serializer, response_deserializer),
        )

    def subscribe(
        self,
        callback: Callable[[_Connectivity], None],
        try_to_connect: bool | None = False,  # noqa: ARG002 - servers are followed all the time
    ) -> None:
        """Have a callback called now, and whenever there begins or ceases to be a server to call.

        READY means that somebody can be picked, not that a connection is open. So
        ``grpc.channel_ready_future`` waits for the first server.
        """
        told: list[_Connectivity] = []

        def tell(snapshot: Snapshot) -> None:
            state = connectivity(snapshot)
            if told[-1:] != [state]:
                told[:] = [state]
                callback(state)

        self._subscriptions[callback] = self._resolver.on_change(tell)
        tell(self._resolver.snapshot())

    def unsubscribe(self, callback: Callable[[_Connectivity], None]) -> None:
        """Call a callback no more."""
        if (unsubscribe := self._subscriptions.pop(callback, None)) is not None:
            unsubscribe()

    def close(self) -> None:
        """Close every channel underneath, which cancels the calls that run."""
        for callback in list(self._subscriptions):
            self.unsubscribe(callback)
        self._unfollow()
        self._connections.close()

    def __enter__(self) -> Self:
        """Return the channel itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    # --- for the callables ----------------------------------------------------------------

    def repeat(
        self, method: str, call: Callable[[grpc.Channel, float | None], _T], timeout: float | None
    ) -> _T:
        """Make a call on one server after another, until one could be called.

        Args:
            method: which.
            call: makes the call on a channel, in so many seconds.
            timeout: for all of it together.
        """
        end = end_of(timeout)
        attempts = Attempts(method, self._repeating)
        failure: grpc.RpcError | None = None
        while True:
            connection = self._next(attempts.tried, end, failure)
            try:
                answer = call(connection.channel, left_until(end))
            except grpc.RpcError as exc:
                failure = exc
                if not attempts.failed(exc, connection):
                    raise
            else:
                connection.answered()
                return answer
            finally:
                self._connections.give_back(connection)

    def start(
        self, begin: Callable[[grpc.Channel, float | None], Any], timeout: float | None
    ) -> Any:
        """Begin a call on the first server that accepts connections; on any if none does.

        Args:
            begin: begins the call on a channel, to last so many seconds.
            timeout: for all of it together.
        """
        end = end_of(timeout)
        tried: list[Info] = []
        while True:
            try:
                connection = self._next(tried, end)
            except NoInstanceError:
                if not tried:
                    raise
                # Nobody accepts: gRPC's own error, from any of them, says why.
                return self._begun(self._next([], end), begin, left_until(end))
            if connection.trusted or connection.answered(
                yes=accepts(connection.addr, left_until(end))
            ):
                return self._begun(connection, begin, left_until(end))
            self._connections.give_back(connection)

    def _next(
        self, tried: list[Info], end: float | None, failure: grpc.RpcError | None = None
    ) -> Connection[grpc.Channel]:
        """Return a connection that was not tried yet; raise the failure if there is none."""
        self._wait_for_list(end)
        try:
            info = self._resolver.pick(exclude=list(tried))
        except NoInstanceError:
            if failure is None:
                raise
            raise failure from None
        tried.append(info)
        return self._connections.borrow(info)

    def _wait_for_list(self, end: float | None) -> None:
        """Wait for the first list, where a call has less time than a pick would wait."""
        left, waiting = left_until(end), self._resolver.waiting_for_first_list()
        if left is None or waiting.is_over() or left > waiting.seconds:
            return
        try:
            self._resolver.wait_for(0, dt.timedelta(seconds=left))
        except TimedOutError as exc:
            raise DeadlineError(str(exc)) from exc

    def _begun(
        self,
        connection: Connection[grpc.Channel],
        begin: Callable[[grpc.Channel, float | None], Any],
        left: float | None,
    ) -> Any:
        give_back = partial(self._connections.give_back, connection)
        try:
            call = begin(connection.channel, left)
        except BaseException:
            give_back()
            raise
        if not call.add_callback(give_back):
            give_back()  # it has ended already
        return call
