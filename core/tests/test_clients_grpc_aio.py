"""A grpc.aio channel that follows a service, with servers that come, leave, die and break."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final

import grpc  # noqa: TID253 - the tests are gRPC's clients and servers
import grpc.aio  # noqa: TID253 - the same
import pytest

import enlist.aio
from core.tests.grpc_world import (
    BEHIND,
    BREAK,
    CHAT,
    LISTEN,
    SAY,
    TELL,
    WEIGHTY,
    connections,
    dead_server,
    run_loop,
    seen_by,
)
from core.tests.scripted_source import unheard_resolver
from core.tests.serving_world import NO_TIME
from enlist.clients.grpc_aio import channel
from enlist.errors import ClosedError, InvalidOptionError, NoInstanceError, UnavailableError
from enlist.finding.resolver import Resolver
from enlist.frameworks.grpc import aenlisted
from enlist.info import Info
from enlist.opening import open_registry
from enlist.registry import Registry

ENDLESS: Final = b"endless"
UNAVAILABLE: Final = grpc.StatusCode.UNAVAILABLE
CANCELLED: Final = grpc.StatusCode.CANCELLED
DEADLINE_EXCEEDED: Final = grpc.StatusCode.DEADLINE_EXCEEDED


class Echo:
    """Answers with its name, in each of the four ways, and breaks when told to."""

    def __init__(self, name: str) -> None:
        self.name = name.encode()
        self.broken = 0
        self.running = 0
        self.chats = 0

    async def say(self, request: bytes, _: object) -> bytes:
        if request == ENDLESS:
            await self.endless()
        return self.name + request

    async def listen(self, request: bytes, _: object) -> AsyncIterator[bytes]:
        yield self.name
        if request == ENDLESS:
            await self.endless()
        yield request

    async def endless(self) -> None:
        self.running += 1
        try:
            await asyncio.sleep(20)
        finally:
            self.running -= 1

    async def tell(self, requests: AsyncIterator[bytes], _: object) -> bytes:
        return self.name + b"".join([request async for request in requests])

    async def chat(self, requests: AsyncIterator[bytes], _: object) -> AsyncIterator[bytes]:
        self.chats += 1
        async for request in requests:
            yield self.name + request

    async def broken_call(self, _: bytes, context: Any) -> bytes:  # noqa: ANN401 - gRPC's own
        self.broken += 1
        if self.name == b"breaking":
            await context.abort(UNAVAILABLE, "Socket closed")
        if self.name == b"gateway":
            await context.abort(UNAVAILABLE, BEHIND)
        return self.name

    def handler(self) -> grpc.GenericRpcHandler:
        handlers: dict[str, Any] = {
            "Say": grpc.unary_unary_rpc_method_handler(self.say),
            "Listen": grpc.unary_stream_rpc_method_handler(self.listen),
            "Tell": grpc.stream_unary_rpc_method_handler(self.tell),
            "Chat": grpc.stream_stream_rpc_method_handler(self.chat),
            "Break": grpc.unary_unary_rpc_method_handler(self.broken_call),
        }
        return grpc.method_handlers_generic_handler("echo.Echo", handlers)


@pytest.fixture
def place(tmp_path: Path) -> str:
    """The URL of a registry of this test's own."""
    return f"local:{tmp_path}/registry"


@pytest.fixture
def registry(place: str) -> Iterator[Registry]:
    """That registry."""
    with open_registry(place) as opened:
        assert isinstance(opened, Registry)
        yield opened


@pytest.fixture
def resolver(registry: Registry) -> Iterator[Resolver]:
    """A resolver of the servers that the test enlists."""
    with registry.resolver("echo") as opened:
        yield opened


@pytest.fixture
def unheard() -> Iterator[Resolver]:
    """A resolver that has no list, so that a pick waits for one."""
    with unheard_resolver() as (made, _):
        yield made


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run in a loop, which has to be left as empty as it was."""

    async def alone() -> None:
        await story()
        await until(lambda: len(asyncio.all_tasks()) == 1, "no task is left")

    run_loop(alone(), debug=True)


async def until(condition: Callable[[], object], why: str) -> None:
    """Wait for a condition without blocking the loop."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, f"Not in time: {why}."
        await asyncio.sleep(0.005)


def unconnected(info: Info) -> bool:
    """Whether no connection leads to a server, once nobody holds a call that has ended."""
    gc.collect()
    return not connections(info)


@asynccontextmanager
async def server(
    registry: Registry, resolver: Resolver, name: str, weight: int = 10
) -> AsyncIterator[tuple[Info, Echo]]:
    """A server that clients see, while the block runs."""
    echo = Echo(name)
    async with aenlisted(
        grpc.aio.server(handlers=[echo.handler()]),
        "echo",
        "127.0.0.1:0",
        registry=registry,
        registry_info=Info(weight=weight),
        drain=NO_TIME,
        grace=NO_TIME,
    ) as registration:
        await until(lambda: registration.info in resolver.instances, f"{name} is seen")
        yield registration.info, echo


async def each(*requests: bytes) -> AsyncIterator[bytes]:
    """Requests, one after another."""
    for request in requests:
        yield request


async def all_ways(made: grpc.aio.Channel) -> list[Any]:
    """Make one call in each way that grpc.aio has."""
    say: Any = made.unary_unary(SAY)
    listen: Any = made.unary_stream(LISTEN)
    tell: Any = made.stream_unary(TELL)
    chat: Any = made.stream_stream(CHAT)
    reading, writing, chatting = listen(b"3", timeout=20), tell(timeout=20), chat()
    await writing.write(b"5")
    await writing.done_writing()
    await chatting.write(b"8")
    chatted = await chatting.read()
    await chatting.done_writing()
    return [
        await say(b"1", timeout=20),
        [answer async for answer in listen(b"2", timeout=20)],
        [await reading.read(), await reading.read(), await reading.read()],
        await tell(each(b"4"), 20, (("key", "value"),)),
        await writing,
        await tell(iter([b"6"]), timeout=20),
        [answer async for answer in chat(each(b"7"), timeout=20)],
        [chatted, await chatting.read()],
    ]


EOF: Final = grpc.aio.EOF
ANSWERS: Final = [
    b"a1",
    [b"a", b"2"],
    [b"a", b"3", EOF],
    b"a4",
    b"a5",
    b"a6",
    [b"a7"],
    [b"a8", EOF],
]


def test_channel_calls_in_every_way(registry: Registry, resolver: Resolver) -> None:
    """Stubs get what they get from a channel of gRPC, on one connection for each server."""

    async def story() -> None:
        async with (
            server(registry, resolver, "a") as (info, _),
            channel(resolver) as following,
        ):
            assert await all_ways(following) == ANSWERS
            assert connections(info) == 1

    run(story)


def test_channel_takes_an_async_resolver(
    place: str, registry: Registry, resolver: Resolver
) -> None:
    """Also one that has no list yet: the call waits for it, and the loop does not."""

    async def story() -> None:
        async with (
            server(registry, resolver, "a"),
            enlist.aio.open_registry(place) as aregistry,
            aregistry.resolver("echo") as aresolver,
            channel(aresolver) as following,
        ):
            say: Any = following.unary_unary(SAY)
            assert await say(b"1", timeout=20) == b"a1"

    run(story)


def test_call_tells_what_one_of_grpc_tells(registry: Registry, resolver: Resolver) -> None:
    """Its state, status, metadata and time, before it has a server and after."""

    async def story() -> None:
        ended: list[object] = []
        async with server(registry, resolver, "a"), channel(resolver) as following:
            call: Any = following.unary_unary(SAY)(b"1", timeout=20)
            call.add_done_callback(ended.append)
            assert not call.done()
            assert 15 < call.time_remaining() <= 20
            await call.wait_for_connection()
            assert await call.code() is grpc.StatusCode.OK
            assert await call == b"a1"
            assert await call == b"a1"
            assert call.done()
            assert not call.cancelled()
            assert not call.cancel()
            assert (await call.details(), len(await call.trailing_metadata())) == ("", 0)
            assert await call.initial_metadata() is not None
            assert ended == [call]
            endless: Any = following.unary_stream(LISTEN)(b"")
            assert endless.time_remaining() is None
            endless.cancel()

    run(story)


def test_channel_takes_interceptors(registry: Registry, resolver: Resolver) -> None:
    """They see each attempt, and what they answer is the answer."""
    seen: list[str] = []

    class Noting(grpc.aio.UnaryUnaryClientInterceptor):
        async def intercept_unary_unary(
            self,
            continuation: Any,  # noqa: ANN401 - gRPC's own
            client_call_details: grpc.aio.ClientCallDetails,
            request: Any,  # noqa: ANN401 - gRPC's own
        ) -> Any:  # noqa: ANN401 - gRPC's own
            seen.append(client_call_details.method)
            return await continuation(client_call_details, request)

    async def story() -> None:
        async with (
            server(registry, resolver, "a", weight=1),
            channel(resolver, interceptors=[Noting()]) as following,
        ):
            with dead_server(registry, resolver):
                assert await following.unary_unary(SAY)(b"1", timeout=20) == b"a1"

    run(story)
    assert len(seen) == 2


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


def test_call_that_nobody_awaits_is_silent(
    registry: Registry, resolver: Resolver, caplog: pytest.LogCaptureFixture
) -> None:
    """That nobody could be picked is nobody's business then, and asyncio does not complain."""

    async def story() -> None:
        resolver.wait_for(0)
        async with channel(resolver) as following:
            calls: list[Any] = [
                following.unary_unary(SAY)(b""),
                following.unary_stream(LISTEN)(b""),
                following.stream_unary(TELL)(),
                following.stream_stream(CHAT)(),
            ]
            await asyncio.wait([call.ended for call in calls])
            del calls
            gc.collect()

    run(story)
    assert "never retrieved" not in caplog.text


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"attempts": "3"}, {"repeatable": SAY}])
def test_channel_refuses_wrong_options(resolver: Resolver, wrong: dict[str, Any]) -> None:
    """What would be misunderstood is refused at once."""
    with pytest.raises(InvalidOptionError, match=next(iter(wrong))):
        channel(resolver, **wrong)
