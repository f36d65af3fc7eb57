"""A grpc.aio channel that follows a service: it calls as one of gRPC does."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc  # noqa: TID253 - the tests are gRPC's clients and servers
import grpc.aio  # noqa: TID253 - the same
import pytest

import enlist.aio
from core.tests.grpc_aio_world import ANSWERS, all_ways, run, server
from core.tests.grpc_world import CHAT, LISTEN, SAY, TELL, connections, dead_server
from enlist.clients.grpc_aio import channel
from enlist.errors import InvalidOptionError
from enlist.finding.resolver import Resolver
from enlist.opening import open_registry
from enlist.registry import Registry


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
