"""What the tests of the grpc.aio channel share: servers that come and leave, and a loop."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc  # noqa: TID253 - the tests are gRPC's clients and servers
import grpc.aio  # noqa: TID253 - the same

from core.tests.grpc_world import BEHIND, CHAT, LISTEN, SAY, TELL, connections, run_loop
from core.tests.serving_world import NO_TIME
from enlist.finding.resolver import Resolver
from enlist.frameworks.grpc import aenlisted
from enlist.info import Info
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
"""What a server "a" says to `all_ways`."""


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
