"""How a call of asyncio finds its server: one after another, until one can be called."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import grpc
import grpc.aio

from enlist.aio.resolver import AsyncResolver
from enlist.clients.grpc_attempts import Attempts, Repeating
from enlist.clients.grpc_connections import Connection, Connections
from enlist.clients.grpc_reaching import aaccepts, left_until
from enlist.errors import NoInstanceError
from enlist.info import Info
from enlist.own_thread import in_own_thread

__all__ = ["Begin", "Finder"]

Begin: TypeAlias = Callable[[grpc.aio.Channel, float | None], Any]
"""Begins a call on a channel of gRPC's own, to last so many seconds."""


class Finder:
    """Picks for each call. What a coroutine of it has borrowed it gives back also if cancelled."""

    def __init__(
        self,
        resolver: AsyncResolver,
        connections: Connections[grpc.aio.Channel],
        repeating: Repeating,
    ) -> None:
        """Pick from the resolver, and lend from the connections."""
        self._resolver = resolver
        self._connections = connections
        self._repeating = repeating

    async def repeat(self, method: str, begin: Begin, end: float | None) -> Any:
        """Make a call on one server after another, until one could be called; it has ended then.

        Args:
            method: which.
            begin: begins it, and is called again for each server.
            end: when all of it has to be over, in monotonic seconds; None for never.
        """
        attempts = Attempts(method, self._repeating)
        failed: Any = None
        while True:
            try:
                connection = await self._next(attempts.tried, end)
            except NoInstanceError:
                if failed is None:
                    raise
                return failed
            call = self._begun(connection, begin, left_until(end))
            try:
                await call
            except grpc.RpcError as exc:
                if not await _another_may_be_tried(attempts, exc, connection):
                    return call
                failed = call
            else:
                connection.answered()
                return call

    async def start(self, begin: Begin, end: float | None) -> Any:
        """Begin a call on the first server that accepts connections; on any if none does.

        Args:
            begin: begins it, and is called once.
            end: when all of it has to be over, in monotonic seconds; None for never.
        """
        tried: list[Info] = []
        while True:
            try:
                connection = await self._next(tried, end)
            except NoInstanceError:
                if not tried:
                    raise
                # Nobody accepts: gRPC's own error, from any of them, says why.
                return self._begun(await self._next([], end), begin, left_until(end))
            if await self._accepts(connection, left_until(end)):
                return self._begun(connection, begin, left_until(end))

    async def _next(self, tried: list[Info], end: float | None) -> Connection[grpc.aio.Channel]:
        """Return a connection that was not tried yet."""
        waits = not self._resolver.snapshot().listed
        try:
            async with asyncio.timeout(left_until(end) if waits else None):
                info = await self._resolver.pick(exclude=list(tried))
        except TimeoutError as exc:
            raise _out_of_time(self._resolver.service_name) from exc
        tried.append(info)
        return self._connections.borrow(info)

    async def _accepts(self, connection: Connection[grpc.aio.Channel], left: float | None) -> bool:
        """Return whether its server accepts connections; if not, it is given back."""
        accepts = connection.trusted
        try:
            if not accepts:
                accepts = connection.answered(yes=await aaccepts(connection.addr, left))
        finally:
            if not accepts:
                self._connections.give_back(connection)
        return accepts

    def _begun(
        self, connection: Connection[grpc.aio.Channel], begin: Begin, left: float | None
    ) -> Any:
        try:
            call = begin(connection.channel, left)
        except BaseException:
            self._connections.give_back(connection)
            raise
        call.add_done_callback(lambda _: self._connections.give_back(connection))
        return call


def _out_of_time(service_name: str) -> grpc.aio.AioRpcError:
    nothing = grpc.aio.Metadata()
    return grpc.aio.AioRpcError(
        grpc.StatusCode.DEADLINE_EXCEEDED,
        nothing,
        nothing,
        f"the time was over before the first list of {service_name!r} had come",
    )


async def _another_may_be_tried(
    attempts: Attempts, error: grpc.RpcError, connection: Connection[grpc.aio.Channel]
) -> bool:
    judge = partial(attempts.failed, error, connection)
    if connection.addr.ip is None:  # then a name may be looked up
        return await in_own_thread(judge, "enlist-grpc-aio")
    return judge()
