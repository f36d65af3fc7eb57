"""The gRPC channels that follow a service, over TLS."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc  # noqa: TID253 - what is tested here
import pytest

import enlist.clients.grpc
import enlist.clients.grpc_aio
from core.tests.grpc_world import LISTEN, SAY, run_loop
from enlist.finding.resolver import Resolver
from enlist.info import Info
from enlist.opening import open_registry
from tests.servers.certificates import Authority

HANDLERS: dict[str, Any] = {
    "Say": grpc.unary_unary_rpc_method_handler(lambda request, _: request),
    "Listen": grpc.unary_stream_rpc_method_handler(lambda request, _: iter([request])),
}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Whoever has issued the server's certificate."""
    return Authority(tmp_path, "authority")


@pytest.fixture
def resolver(tmp_path: Path, authority: Authority) -> Iterator[Resolver]:
    """A resolver of one server, which speaks TLS alone."""
    pair = authority.issue("server")
    own = (pair.key.read_bytes(), pair.certificate.read_bytes())
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("echo.Echo", HANDLERS),))
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([own]))
    server.start()
    with open_registry(f"local:{tmp_path}/registry") as registry:
        registry.register(Info(service_name="echo", addr=f"127.0.0.1:{port}"))
        with registry.resolver("echo") as opened:
            opened.wait_for(1)
            yield opened
    server.stop(None).wait()


def trust(authority: Authority) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(authority.certificate.read_bytes())


def test_channel_speaks_tls(resolver: Resolver, authority: Authority) -> None:
    """Its credentials are those of every call, also where a server is looked at before."""
    with enlist.clients.grpc.channel(resolver, credentials=trust(authority)) as channel:
        say: Any = channel.unary_unary(SAY)
        listen: Any = channel.unary_stream(LISTEN)
        assert say(b"one", timeout=20) == b"one"
        assert list(listen(b"two", timeout=20)) == [b"two"]


def test_aio_channel_speaks_tls(resolver: Resolver, authority: Authority) -> None:
    """The twin for asyncio does the same."""

    async def story() -> None:
        credentials = trust(authority)
        async with enlist.clients.grpc_aio.channel(resolver, credentials=credentials) as channel:
            say: Any = channel.unary_unary(SAY)
            listen: Any = channel.unary_stream(LISTEN)
            assert await say(b"one", timeout=20) == b"one"
            assert [each async for each in listen(b"two", timeout=20)] == [b"two"]

    run_loop(story())


def test_channel_trusts_no_stranger(resolver: Resolver, tmp_path: Path) -> None:
    """A server whose certificate another authority has issued gets no call."""
    stranger = Authority(tmp_path, "stranger")
    with enlist.clients.grpc.channel(resolver, credentials=trust(stranger)) as channel:
        say: Any = channel.unary_unary(SAY)
        with pytest.raises(grpc.RpcError) as caught:
            say(b"one", timeout=20)
    error: Any = caught.value
    assert error.code() is grpc.StatusCode.UNAVAILABLE
