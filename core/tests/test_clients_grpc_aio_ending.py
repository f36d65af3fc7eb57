"""A grpc.aio channel leaves servers that leave, and ends what is cancelled or closed."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import Any

import grpc  # noqa: TID253 - the tests are gRPC's clients and servers
import grpc.aio  # noqa: TID253 - the same
import pytest

from core.tests.grpc_aio_world import CANCELLED, ENDLESS, run, server, unconnected, until
from core.tests.grpc_world import LISTEN, SAY, TELL, WEIGHTY, connections
from enlist.clients.grpc_aio import channel
from enlist.errors import ClosedError
from enlist.finding.resolver import Resolver
from enlist.registry import Registry


def test_channel_leaves_a_server_that_leaves_after_its_calls(
    registry: Registry, resolver: Resolver
) -> None:
    """A server that leaves gets no new call, keeps those that run, and then its connection ends."""

    async def story() -> None:
        async with (
            server(registry, resolver, "leaves", WEIGHTY) as (info, _),
            server(registry, resolver, "stays", 1),
            channel(resolver) as following,
        ):
            running: Any = following.unary_stream(LISTEN)(ENDLESS, timeout=20)
            assert await running.read() == b"leaves"
            registry.deregister(info)
            await until(lambda: info not in resolver.instances, "it has left")

            say: Any = following.unary_unary(SAY)
            assert {await say(b"", timeout=20) for _ in range(20)} == {b"stays"}
            assert connections(info) == 1
            running.cancel()
            del running  # a call of grpc.aio holds its connection for as long as it is held itself
            await until(lambda: unconnected(info), "its connection is closed")

    run(story)


def test_channel_closes_the_idle_connection_of_a_server_that_leaves(
    registry: Registry, resolver: Resolver
) -> None:
    """Nothing has to be called for that."""

    async def story() -> None:
        async with (
            server(registry, resolver, "leaves") as (info, _),
            channel(resolver) as following,
        ):
            assert await following.unary_unary(SAY)(b"", timeout=20) == b"leaves"
            registry.deregister(info)
            await until(lambda: unconnected(info), "its connection is closed")

    run(story)


def test_cancelling_who_waits_cancels_the_call(registry: Registry, resolver: Resolver) -> None:
    """The server's end of the call is cancelled too, and the channel goes on."""

    async def story() -> None:
        async with server(registry, resolver, "a") as (_, echo), channel(resolver) as following:
            calls: list[Any] = [
                following.unary_unary(SAY)(ENDLESS),
                following.stream_unary(TELL)(),
                following.unary_stream(LISTEN)(ENDLESS),
            ]
            waits: list[Any] = [calls[0], calls[1], anext(aiter(calls[2]))]
            waiting = [asyncio.ensure_future(wait) for wait in waits[:2]]
            assert await waits[2] == b"a"
            waiting.append(asyncio.ensure_future(anext(aiter(calls[2]))))
            await asyncio.sleep(0)
            await until(lambda: echo.running == 2, "they have begun")
            for task in waiting:
                task.cancel()
            ends = await asyncio.gather(*waiting, return_exceptions=True)
            assert {type(end) for end in ends} == {asyncio.CancelledError}
            assert [call.cancelled() for call in calls] == [True] * 3
            assert [await call.code() for call in calls] == [CANCELLED] * 3
            await until(lambda: echo.running == 0, "the server has heard of it")
            assert await following.unary_unary(SAY)(b"1", timeout=20) == b"a1"

    run(story)


def test_other_channels_can_be_closed_while_a_task_reads(
    registry: Registry, resolver: Resolver
) -> None:
    """Then gRPC looks for its calls in all tasks, and leaves alone what is not one of its own."""

    async def story() -> None:
        async with server(registry, resolver, "a"), channel(resolver) as following:
            call: Any = following.unary_stream(LISTEN)(ENDLESS, timeout=20)
            assert await call.read() == b"a"
            reading = asyncio.create_task(call.read())
            await asyncio.sleep(0)
            async with grpc.aio.insecure_channel("127.0.0.1:1"):
                pass
            assert not call.done()
            reading.cancel()
            await asyncio.wait([reading])

    run(story)


def test_call_can_be_cancelled_before_it_has_a_server(unheard: Resolver) -> None:
    """It is over at once, and says so."""

    async def story() -> None:
        ended: list[object] = []
        async with channel(unheard) as following:
            call: Any = following.stream_unary(TELL)()
            call.add_done_callback(ended.append)
            await asyncio.sleep(0)
            assert call.cancel()
            assert not call.cancel()
            assert call.cancelled()
            assert call.done()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert await call.code() is CANCELLED
            assert "before a server" in await call.details()
            assert len(await call.initial_metadata()) == 0
            assert ended == [call]

    run(story)


def test_close_cancels_what_runs_and_refuses_what_comes(
    registry: Registry, resolver: Resolver
) -> None:
    """A closed channel holds no connection, and says that it was closed."""

    async def story() -> None:
        async with server(registry, resolver, "a") as (info, echo):
            made = channel(resolver)
            running: Any = made.unary_stream(LISTEN)(ENDLESS, timeout=20)
            assert await running.read() == b"a"
            said = asyncio.ensure_future(made.unary_unary(SAY)(ENDLESS))
            await until(lambda: echo.running == 2, "they have begun")
            await made.close()
            await made.close()
            assert await running.code() is CANCELLED
            with pytest.raises(asyncio.CancelledError):
                await said
            del running, said
            await until(lambda: unconnected(info), "its connection is closed")
            with pytest.raises(ClosedError, match="channel to 'echo' was closed"):
                await made.unary_unary(SAY)(b"")

    run(story)


@pytest.mark.parametrize("cancelled", [False, True])
def test_close_gives_calls_their_grace(
    registry: Registry, resolver: Resolver, *, cancelled: bool
) -> None:
    """What ends within it ends well; to cancel the close cuts it short."""

    async def story() -> None:
        async with server(registry, resolver, "a"):
            made = channel(resolver)
            writing: Any = made.stream_unary(TELL)()
            await writing.write(b"1")
            closing = asyncio.create_task(made.close(20))
            await until(lambda: made.get_state() is grpc.ChannelConnectivity.SHUTDOWN, "it closes")
            with pytest.raises(ClosedError):
                await made.unary_unary(SAY)(b"")
            if cancelled:
                closing.cancel()
            else:
                await writing.done_writing()
            with pytest.raises(asyncio.CancelledError) if cancelled else nullcontext():
                assert await writing == b"a1"
            await asyncio.wait([closing])
            assert closing.cancelled() is cancelled

    run(story)


def test_channel_can_be_closed_while_a_call_waits_for_the_first_list(unheard: Resolver) -> None:
    """Nobody has said yet who is there, and neither the loop nor the close waits for it."""

    async def story() -> None:
        made = channel(unheard)
        assert made.get_state() is grpc.ChannelConnectivity.CONNECTING
        call = made.unary_unary(SAY)(b"")
        await asyncio.sleep(0)
        await asyncio.wait_for(made.close(), 10)
        with pytest.raises(asyncio.CancelledError):
            await call

    run(story)
