"""A channel of grpc.aio that follows a service: each call goes to a server that is there now.

::

    async with (
        enlist.aio.open_registry("etcd") as registry,
        registry.resolver("echo") as resolver,
        enlist.clients.grpc_aio.channel(resolver) as channel,
    ):
        await EchoStub(channel).Say(request, timeout=3)

It is a ``grpc.aio.Channel``, for stubs, and promises what :mod:`enlist.clients.grpc` does. Every
call picks a server by its weight. A unary call that found nobody to connect to goes to another
server; one that broke after that does so only if its method is ``repeatable``. Streams are begun
once, on a server that was seen to accept connections just before.

A call that is cancelled while a server is looked for, or later, leaves nothing behind. Whoever
cancels a task that awaits the call cancels the call, as everywhere in grpc.aio.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any, Self, TypeVar
from weakref import WeakSet

import grpc
import grpc.aio

from enlist.aio.resolver import AsyncResolver
from enlist.clients.grpc_aio_calls import Call
from enlist.clients.grpc_aio_finding import Finder
from enlist.clients.grpc_aio_methods import StreamStream, StreamUnary, UnaryStream, UnaryUnary
from enlist.clients.grpc_attempts import Repeating
from enlist.clients.grpc_connections import Connections
from enlist.clients.grpc_reaching import channel_options, connectivity
from enlist.errors import ClosedError
from enlist.finding.resolver import Resolver

__all__ = ["AsyncResolverChannel", "channel"]

_C = TypeVar("_C", bound=Call)
_Connectivity = grpc.ChannelConnectivity


def channel(  # noqa: PLR0913 - gRPC's own four, and two
    resolver: Resolver | AsyncResolver,
    *,
    credentials: grpc.ChannelCredentials | None = None,
    options: Sequence[tuple[str, Any]] = (),
    compression: grpc.Compression | None = None,
    interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
    repeatable: Collection[str] | bool = (),
    attempts: int = 3,
) -> AsyncResolverChannel:
    """Return a channel to the servers that a resolver shows. Connects to nobody yet.

    To be called in a coroutine; the channel belongs to its loop.

    Args:
        resolver: of the service, of either kind. It stays yours: close it after the channel.
        credentials: as for :func:`enlist.clients.grpc.channel`.
        options: as for :func:`enlist.clients.grpc.channel`.
        compression: as for ``grpc.aio.insecure_channel``.
        interceptors: of every channel underneath, as for ``grpc.aio.insecure_channel``. So they
            see each attempt as a call of its own.
        repeatable: as for :func:`enlist.clients.grpc.channel`.
        attempts: as for :func:`enlist.clients.grpc.channel`.

    Raises:
        InvalidOptionError: ``attempts`` is not 1 or more, or ``repeatable`` is a text.
        ClosedError: the resolver was closed.
    """
    repeating = Repeating(repeatable, attempts)
    chosen = channel_options(options)

    def connect(target: str) -> grpc.aio.Channel:
        if credentials is None:
            return grpc.aio.insecure_channel(target, chosen, compression, interceptors)
        return grpc.aio.secure_channel(target, credentials, chosen, compression, interceptors)

    if isinstance(resolver, Resolver):
        resolver = AsyncResolver(resolver)
    return AsyncResolverChannel(resolver, connect, repeating)


class AsyncResolverChannel(grpc.aio.Channel):
    """What :func:`channel` returns; to be used as any other ``grpc.aio.Channel``.

    A call raises what gRPC raises. Where nobody can be picked it raises, when it is awaited, what
    :meth:`enlist.Resolver.pick` raises, such as :exc:`enlist.NoInstanceError`.
    """

    def __init__(
        self,
        resolver: AsyncResolver,
        connect: Callable[[str], grpc.aio.Channel],
        repeating: Repeating,
    ) -> None:
        """Be made by :func:`channel`."""
        self._resolver = resolver
        self._connections = Connections(connect, self._close_soon)
        self._connections.follow(resolver.snapshot())
        self.finder = Finder(resolver, self._connections, repeating)
        self._closed = False
        self._changed = asyncio.Event()
        self._calls: WeakSet[Call] = WeakSet()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing: set[asyncio.Task[Any]] = set()
        _keep(asyncio.create_task(self._follow()), self._tasks)

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

    def get_state(
        self,
        try_to_connect: bool = False,  # noqa: ARG002 - servers are followed all the time
    ) -> _Connectivity:
        """Return READY if somebody can be picked, which does not mean that a connection is open."""
        return _Connectivity.SHUTDOWN if self._closed else connectivity(self._resolver.snapshot())

    async def wait_for_state_change(self, last_observed_state: _Connectivity) -> None:
        """Wait until the state is another one than this.

        Raises:
            ClosedError: the channel was closed, so that its state never changes again.
        """
        while self.get_state() is last_observed_state:
            await self._next_change()

    async def channel_ready(self) -> None:
        """Wait until there is a server to call.

        Raises:
            ClosedError: the channel was closed.
        """
        while self.get_state() is not _Connectivity.READY:
            await self._next_change()

    async def close(self, grace: float | None = None) -> None:
        """Refuse new calls, cancel those that run, and close every channel underneath.

        A second call finds nothing to do. If it is cancelled, it cancels the calls at once.

        Args:
            grace: how many seconds calls may go on before they are cancelled; None for none.
        """
        self._closed = True
        self._tell()
        self._connections.refuse()
        try:
            if grace and (running := [call.ended for call in self._calls if not call.done()]):
                await asyncio.wait(running, timeout=grace)
        finally:
            for call in list(self._calls):
                call.cancel()
            for task in self._tasks:
                task.cancel()
            self._connections.close()
        if ending := self._tasks | self._closing:
            await asyncio.wait(ending)

    async def __aenter__(self) -> Self:
        """Return the channel itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self.close()

    def hold(self, call: _C) -> _C:
        """Cancel this call when the channel is closed; return it. For the callables."""
        self._calls.add(call)
        _keep(call.begun, self._tasks)
        return call

    async def _follow(self) -> None:
        with suppress(ClosedError):  # the resolver's end is told to the next call
            async for snapshot in self._resolver:
                self._connections.follow(snapshot)
                self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _next_change(self) -> None:
        if self._closed:
            raise ClosedError(
                f"the channel to {self._resolver.service_name!r} was closed; open another one"
            )
        await self._changed.wait()

    def _close_soon(self, channel: grpc.aio.Channel) -> None:
        _keep(asyncio.create_task(channel.close()), self._closing)


def _keep(task: asyncio.Task[Any], kept: set[asyncio.Task[Any]]) -> None:
    """Hold a task until it has ended, which the loop does not."""
    kept.add(task)
    task.add_done_callback(kept.discard)
