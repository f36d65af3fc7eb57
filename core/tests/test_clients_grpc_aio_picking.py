"""A grpc.aio channel picks a server for each call, and another one where the first is of no use."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc  # noqa: TID253 - the tests are gRPC's clients and servers
import grpc.aio  # noqa: TID253 - the same
import pytest

from core.tests.grpc_aio_world import (
    ANSWERS,
    DEADLINE_EXCEEDED,
    ENDLESS,
    UNAVAILABLE,
    all_ways,
    each,
    run,
    server,
)
from core.tests.grpc_world import (
    BEHIND,
    BREAK,
    CHAT,
    LISTEN,
    SAY,
    TELL,
    WEIGHTY,
    dead_server,
    seen_by,
)
from core.tests.scripted_source import unheard_resolver
from enlist.clients.grpc_aio import channel
from enlist.errors import ClosedError, NoInstanceError, UnavailableError
from enlist.finding.resolver import Resolver
from enlist.info import Info
from enlist.registry import Registry


def test_channel_picks_by_weight(registry: Registry, resolver: Resolver) -> None:
    """A server of three times the weight gets about three times the calls."""

    async def story() -> None:
        async with (
            server(registry, resolver, "light", 10),
            server(registry, resolver, "heavy", 30),
            channel(resolver) as following,
        ):
            say: Any = following.unary_unary(SAY)
            served = Counter(await asyncio.gather(*(say(b"", timeout=50) for _ in range(200))))
            assert served.total() == 200
            assert 120 <= served[b"heavy"] <= 180

    run(story)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_channel_tries_another_server_when_one_has_died(
    registry: Registry, resolver: Resolver, host: str
) -> None:
    """Whoever cannot be connected to has not seen the call: no call fails for it."""

    async def story() -> None:
        async with server(registry, resolver, "a", weight=1), channel(resolver) as following:
            with (
                dead_server(registry, resolver, host),
                dead_server(registry, resolver, host),
                dead_server(registry, resolver, host),
                dead_server(registry, resolver, host),
            ):
                assert await all_ways(following) == ANSWERS

    run(story)


def test_channel_fails_when_all_have_died(registry: Registry, resolver: Resolver) -> None:
    """The error is gRPC's own, and says why nobody could be connected to."""

    async def story() -> None:
        with dead_server(registry, resolver):
            async with channel(resolver) as following:
                for call in (
                    following.unary_unary(SAY)(b"", timeout=20),
                    following.stream_unary(TELL)(each(b"1"), timeout=20),
                ):
                    with pytest.raises(grpc.aio.AioRpcError, match="failed to connect") as caught:
                        await call
                    assert caught.value.code() is await call.code() is UNAVAILABLE
                    assert await call.details() == caught.value.details()

    run(story)


def test_channel_repeats_what_broke_only_if_it_may(registry: Registry, resolver: Resolver) -> None:
    """A call whose outcome nobody knows is made again for a repeatable method alone."""

    async def story() -> None:
        async with (
            server(registry, resolver, "a", weight=1),
            server(registry, resolver, "breaking", WEIGHTY) as (_, echo),
            channel(resolver) as careful,
            channel(resolver, repeatable=[BREAK]) as named,
            channel(resolver, repeatable=True) as bold,
            channel(resolver, repeatable=True, attempts=1) as hasty,
        ):
            for refused in (careful, hasty):
                echo.broken = 0
                with pytest.raises(grpc.aio.AioRpcError, match="Socket closed"):
                    await refused.unary_unary(BREAK)(b"", timeout=20)
                assert echo.broken == 1
            for repeated in (named, bold):
                assert await repeated.unary_unary(BREAK)(b"", timeout=20) == b"a"

    run(story)


def test_channel_does_not_repeat_what_was_answered(registry: Registry, resolver: Resolver) -> None:
    """Neither what a gateway passes on as a call that went nowhere, nor a refusal."""

    async def story() -> None:
        async with (
            server(registry, resolver, "gateway", WEIGHTY) as (_, gateway),
            server(registry, resolver, "a", weight=1),
            channel(resolver) as careful,
            channel(resolver, repeatable=True) as bold,
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await careful.unary_unary(BREAK)(b"", timeout=20)
            assert (caught.value.details(), gateway.broken) == (BEHIND, 1)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await bold.unary_unary("/echo.Echo/Unknown")(b"", timeout=20)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED

    run(story)


def test_channel_does_not_begin_a_stream_again(registry: Registry, resolver: Resolver) -> None:
    """What was written may have been read, so a stream whose server ends has failed."""

    async def story() -> None:
        async with (
            server(registry, resolver, "a", weight=1) as (_, other),
            channel(resolver, repeatable=True) as bold,
        ):
            async with server(registry, resolver, "ends", WEIGHTY):
                chatting: Any = bold.stream_stream(CHAT)()
                await chatting.write(b"1")
                assert await chatting.read() == b"ends1"
            with pytest.raises(grpc.aio.AioRpcError):
                await chatting.read()
            assert other.chats == 0

    run(story)


@contextmanager
def hung_server(registry: Registry, resolver: Resolver, path: str) -> Iterator[None]:
    """A unix socket that nobody accepts on, with a full queue."""
    with (
        socket.socket(socket.AF_UNIX) as listener,
        socket.socket(socket.AF_UNIX) as waiting,
    ):
        listener.bind(path)
        listener.listen(0)
        waiting.connect(path)
        hung = Info(service_name="echo", addr=f"unix:{path}", weight=WEIGHTY)
        registry.register(hung)
        seen_by(resolver, hung)
        yield


def test_channel_does_not_wait_for_a_unix_socket_that_nobody_accepts_on(
    registry: Registry, resolver: Resolver, socket_folder: Path
) -> None:
    """A hung server whose queue is full does not hold up a call beyond its time."""

    async def story() -> None:
        async with server(registry, resolver, "a", weight=1), channel(resolver) as following:
            with hung_server(registry, resolver, f"{socket_folder}/hung"):
                listen: Any = following.unary_stream(LISTEN)
                assert [answer async for answer in listen(b"", timeout=5)] == [b"a", b""]

    run(story)


def test_channel_keeps_to_the_timeout(registry: Registry, resolver: Resolver) -> None:
    """A call has its time, whatever is tried in it."""

    async def story() -> None:
        async with server(registry, resolver, "a", weight=1), channel(resolver) as following:
            say: Any = following.unary_unary(SAY)
            with dead_server(registry, resolver):
                began = time.monotonic()
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await say(ENDLESS, timeout=0.5)
                assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
                assert 0.4 < time.monotonic() - began < 10

    run(story)


def test_channel_tells_whether_somebody_can_be_picked(
    registry: Registry, resolver: Resolver
) -> None:
    """A state can be waited for: that of the first server, of the last one's end, of the close."""
    ready, failing = grpc.ChannelConnectivity.READY, grpc.ChannelConnectivity.TRANSIENT_FAILURE

    async def story() -> None:
        following = channel(resolver)
        waiting = asyncio.create_task(following.channel_ready())
        async with server(registry, resolver, "a"):
            await asyncio.wait_for(waiting, 20)
            assert following.get_state(try_to_connect=True) is ready
        await asyncio.wait_for(following.wait_for_state_change(ready), 20)
        assert following.get_state() is failing
        waiting = asyncio.create_task(following.wait_for_state_change(failing))
        await asyncio.sleep(0)  # it waits
        await following.close()
        await asyncio.wait_for(waiting, 20)
        assert following.get_state() is grpc.ChannelConnectivity.SHUTDOWN
        with pytest.raises(ClosedError):
            await following.channel_ready()

    run(story)


def test_channel_says_why_nobody_can_be_picked(registry: Registry, resolver: Resolver) -> None:
    """A call raises what a pick raises, when it is awaited."""

    async def story() -> None:
        resolver.wait_for(0)
        async with channel(resolver) as following:
            with pytest.raises(NoInstanceError):
                await following.unary_unary(SAY)(b"")
            calls: list[Any] = [
                following.stream_stream(CHAT)(),
                following.unary_stream(LISTEN)(b""),
            ]
            with pytest.raises(NoInstanceError):
                await calls[0].write(b"")
            with pytest.raises(NoInstanceError):
                await calls[1].read()
            with pytest.raises(NoInstanceError):
                await calls[1].code()
            assert [call.done() for call in calls] == [True, True]
            assert not calls[0].cancelled()

    run(story)


def test_channel_keeps_to_the_timeout_before_the_first_list(unheard: Resolver) -> None:
    """A call that waits for the registry ends as gRPC's own does whose time is over."""

    async def story() -> None:
        async with channel(unheard) as following:
            began = time.monotonic()
            for call in (
                following.unary_unary(SAY)(b"", timeout=0.2),
                following.stream_unary(TELL)(timeout=0.2),
            ):
                with pytest.raises(grpc.aio.AioRpcError, match="first list of 'echo'") as caught:
                    await call
                assert caught.value.code() is await call.code() is DEADLINE_EXCEEDED
                assert await call.details() == caught.value.details()
                assert len(await call.trailing_metadata()) == 0
            assert 0.1 < time.monotonic() - began < 10

    run(story)


def test_channel_waits_for_the_first_list_no_longer_than_the_registry() -> None:
    """A call that has more time raises what a pick raises."""

    async def story() -> None:
        with unheard_resolver(timeout_s=0.1) as (resolver, _):
            async with channel(resolver) as following:
                for timeout in (20, None):
                    with pytest.raises(UnavailableError, match="nothing is known of 'echo' yet"):
                        await following.unary_unary(SAY)(b"", timeout=timeout)

    run(story)


def test_calls_that_wait_for_the_first_list_take_no_thread() -> None:
    """However many there are, whatever else the registry is asked to do has its threads."""

    async def story() -> None:
        with unheard_resolver() as (resolver, source):
            async with channel(resolver) as following:
                calls = [following.unary_unary(SAY)(b"", timeout=20) for _ in range(9)]
                for _ in range(9):
                    await asyncio.sleep(0)
                assert not any("enlist-grpc-aio" in each.name for each in threading.enumerate())
                assert not any(call.done() for call in calls)
                source.opened(1).list()
                for call in calls:
                    with pytest.raises(NoInstanceError):
                        await call

    run(story)
