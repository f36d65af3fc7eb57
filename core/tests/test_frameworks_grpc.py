"""gRPC servers, sync and asyncio: enlisted where they listen, and left without a failed call."""

from __future__ import annotations

import asyncio
import datetime as dt
import errno
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc  # noqa: TID253 - the tests are gRPC's clients and servers
import grpc.aio  # noqa: TID253 - the same
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from core.tests.grpc_program import PID, Who, handlers
from core.tests.grpc_world import run_loop
from core.tests.serving_world import (
    LONG,
    NO_TIME,
    found,
    fragile_backend,
    only_this_task_is_left,
    program,
)
from enlist.address import Address
from enlist.errors import InvalidOptionError, NotReadyError, ServingError, UnavailableError
from enlist.frameworks.grpc import aenlisted, aserve, bind, enlisted, serve
from tests.servers.ports import free_port
from tests.waiting import eventually

WHO = "/echo.Echo/Who"
SERVING = health_pb2.HealthCheckResponse.SERVING
HEALTH_DRAIN = dt.timedelta(seconds=1)
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
def place(tmp_path: Path) -> str:
    """A registry of this test's own, by its URL."""
    return f"local:{tmp_path}/registry"


def not_started() -> Iterator[grpc.Server]:
    with ThreadPoolExecutor(2) as pool:
        made = grpc.server(pool, handlers=handlers(Who(PID).who))
        yield made
        made.stop(None).wait()


@pytest.fixture
def server() -> Iterator[grpc.Server]:
    """A server that was not started yet."""
    yield from not_started()


@pytest.fixture
def other() -> Iterator[grpc.Server]:
    """Another one."""
    yield from not_started()


def call(target: str) -> bytes:
    """Call a server as a client does."""
    with grpc.insecure_channel(target) as channel:
        return ask(channel)


def ask(channel: grpc.Channel) -> bytes:
    who_is_there: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(WHO)
    return who_is_there(b"", timeout=20)


@pytest.mark.parametrize(
    "listen,host", [("127.0.0.1:0", "127.0.0.1"), ("localhost:0", "localhost")]
)
def test_bind_returns_the_port_that_was_chosen(server: grpc.Server, listen: str, host: str) -> None:
    """Port 0 is replaced by the port on which clients reach the server."""
    addr = bind(server, listen)
    server.start()
    assert (addr.host, call(str(addr))) == (host, PID.encode())


def test_bind_takes_a_unix_socket(server: grpc.Server, socket_folder: Path) -> None:
    """A unix socket has no port to choose."""
    addr = bind(server, f"unix:{socket_folder}/s")
    server.start()
    assert addr == Address.unix(f"{socket_folder}/s")
    assert call(str(addr)) == PID.encode()


@pytest.mark.parametrize("listen", ["", "8888", "127.0.0.1", "127.0.0.1:x", "dns:///a:1"])
def test_bind_refuses_what_is_no_address(server: grpc.Server, listen: str) -> None:
    """A malformed address is refused before gRPC sees it."""
    with pytest.raises(InvalidOptionError, match=r"^listen="):
        bind(server, listen)


def test_bind_to_a_port_in_use_says_so(server: grpc.Server) -> None:
    """The address that could not be bound is in the error."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServingError, match=f"could not bind to '127.0.0.1:{port}'"):
            bind(server, f"127.0.0.1:{port}")


def test_bind_to_what_is_not_this_machine_says_so(server: grpc.Server) -> None:
    """What gRPC itself cannot bind to is in the error too, with what to look at."""
    with pytest.raises(ServingError, match=r"'192\.0\.2\.1:50051'.* address of this machine"):
        bind(server, "192.0.2.1:50051")
    server.start()


HOSTS = [
    ("127.0.0.1", "127.0.0.1"),
    ("[::1]", "[::1]"),
    ("localhost", "localhost"),
    ("127.0.0.1", "localhost"),
    ("127.0.0.1", ""),
    ("[::1]", ""),
    ("", "127.0.0.1"),
    ("0.0.0.0", "0.0.0.0"),
]


@pytest.mark.parametrize("first,second", HOSTS)
def test_bind_to_another_grpc_server_s_port_says_so(
    server: grpc.Server, other: grpc.Server, first: str, second: str
) -> None:
    """A server that is started twice does not take a share of the first one's calls."""
    port = bind(other, f"{first}:0").port
    other.start()
    with pytest.raises(ServingError, match=rf"could not bind to '.*:{port}': somebody listens"):
        bind(server, f"{second}:{port}")


def test_bind_shares_a_port_on_purpose(server: grpc.Server, other: grpc.Server) -> None:
    """Several processes that say so listen on one port."""
    addr = bind(other, "127.0.0.1:0", reuse_port=True)
    assert bind(server, str(addr), reuse_port=True) == addr
    for each in (server, other):
        each.start()


def test_bind_takes_a_port_whose_last_connection_is_just_over(server: grpc.Server) -> None:
    """A server that is started again does not wait for the system to forget the one before."""
    port = free_port()
    with (
        socket.create_server(("127.0.0.1", port)) as before,
        socket.create_connection(before.getsockname()) as client,
    ):
        connection, _ = before.accept()
        connection.close()  # first, so that its end stays for a while
        assert client.recv(1) == b""
    assert bind(server, f"127.0.0.1:{port}").port == port
    server.start()


def test_bind_does_not_take_a_unix_socket_from_another_server(
    server: grpc.Server, other: grpc.Server, socket_folder: Path
) -> None:
    """The file of a server that is there stays its own; one that is left over is replaced."""
    path = f"{socket_folder}/s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    addr = bind(other, f"unix:{path}")
    other.start()
    for reuse_port in (False, True):
        with pytest.raises(ServingError, match="somebody listens there already"):
            bind(server, f"unix:{path}", reuse_port=reuse_port)
    assert call(str(addr)) == PID.encode()


def test_enlisted_publishes_and_stops_the_server(server: grpc.Server, place: str) -> None:
    """Clients reach the server at the published address inside the block, and not after it."""
    with enlisted(server, "echo", "127.0.0.1:0", registry=place, drain=NO_TIME) as registration:
        (info,) = found(place)
        assert info == registration.info
        assert info.payload_codec == "protobuf"
        assert call(str(info.addr)) == PID.encode()
    assert found(place) == ()
    with pytest.raises(grpc.RpcError):
        call(str(info.addr))


def test_enlisted_that_fails_stops_the_server(server: grpc.Server) -> None:
    """A server that could not be enlisted does not go on serving (S4)."""
    backend, held, up = fragile_backend()
    up.clear()
    with (
        pytest.raises(UnavailableError),
        enlisted(server, "echo", "127.0.0.1:0", registry=backend),
    ):
        pass
    assert server.wait_for_termination(0) is False  # it has ended
    assert held == {}


def test_serve_outside_the_main_thread_stops_the_server(server: grpc.Server, place: str) -> None:
    """A refused serve leaves no running server behind (S4)."""
    errors: list[ServingError] = []

    def run() -> None:
        try:
            serve(server, "echo", "127.0.0.1:0", registry=place)
        except ServingError as exc:
            errors.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert "main thread" in str(errors[0])
    assert server.wait_for_termination(0) is False


def test_serve_ends_when_the_server_is_stopped(server: grpc.Server, place: str) -> None:
    """A server that is stopped from elsewhere is deregistered without a drain."""

    def stop() -> None:
        eventually(lambda: found(place), within_s=30, why="the server is enlisted")
        server.stop(None)

    stopping = threading.Thread(target=stop)
    stopping.start()
    serve(server, "echo", "127.0.0.1:0", registry=place, drain=LONG)
    stopping.join()
    assert found(place) == ()


def test_sync_and_async_servers_are_told_apart(server: grpc.Server, place: str) -> None:
    """The wrong form for a server is an error that names the right one."""
    wrong: Any = grpc.aio.server  # made inside a loop below, as grpc.aio wants it

    async def swapped() -> None:
        with pytest.raises(InvalidOptionError, match="use aserve or aenlisted"):
            serve(wrong(), "echo", "127.0.0.1:0", registry=place)
        sync: Any = server
        with pytest.raises(InvalidOptionError, match="use serve or enlisted"):
            await aserve(sync, "echo", "127.0.0.1:0", registry=place)

    run_loop(swapped())


def test_aenlisted_publishes_and_stops_the_server(place: str) -> None:
    """The asyncio form does the same."""

    async def run() -> None:
        server = grpc.aio.server(handlers=handlers(Who(PID).awho))
        async with aenlisted(
            server, "echo", "127.0.0.1:0", registry=place, drain=NO_TIME
        ) as registration:
            (info,) = await asyncio.to_thread(found, place)
            assert info == registration.info
            async with grpc.aio.insecure_channel(str(info.addr)) as channel:
                ask: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(WHO)
                assert await ask(b"", timeout=20) == PID.encode()
        assert found(place) == ()
        assert await server.wait_for_termination(0) is False  # it has ended

    run_loop(run())


def test_aenlisted_does_not_block_the_loop(place: str) -> None:
    """While the start waits in its thread, the event loop runs on: here it ends that wait."""
    asked, go_on = threading.Event(), threading.Event()

    def ready() -> bool:
        asked.set()
        return go_on.wait(20)

    async def run() -> None:
        async def unblock() -> None:
            await asyncio.to_thread(asked.wait)
            go_on.set()

        server = grpc.aio.server(handlers=handlers(Who(PID).awho))
        unblocking = asyncio.create_task(unblock())
        async with aenlisted(
            server, "echo", "127.0.0.1:0", registry=place, ready=ready, drain=NO_TIME
        ):
            assert unblocking.done()

    run_loop(run())


def test_aenlisted_cancelled_during_the_start_leaves_nothing(place: str) -> None:
    """A cancelled start ends its wait, stops the server and has registered nothing (S4)."""
    asked = threading.Event()

    def ready() -> bool:
        asked.set()
        return False

    async def run() -> None:
        server = grpc.aio.server(handlers=handlers(Who(PID).awho))

        async def start() -> None:
            async with aenlisted(
                server, "echo", "127.0.0.1:0", registry=place, ready=ready, ready_timeout=LONG
            ):
                raise AssertionError("it was never ready")

        starting = asyncio.create_task(start())
        await asyncio.to_thread(asked.wait)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert await server.wait_for_termination(0) is False  # it has ended

    run_loop(run())
    assert found(place) == ()


def test_aenlisted_cancelled_in_the_block_leaves_and_again_skips_the_drain(place: str) -> None:
    """Cancellation is a stop like any other, and a second one ends the drain."""

    async def run() -> None:
        inside = asyncio.Event()

        async def serving() -> None:
            server = grpc.aio.server(handlers=handlers(Who(PID).awho))
            async with aenlisted(server, "echo", "127.0.0.1:0", registry=place, drain=LONG):
                inside.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(serving())
        await inside.wait()
        task.cancel()
        await asyncio.to_thread(
            eventually, lambda: not found(place), why="the server is deregistered"
        )
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run_loop(run())


@pytest.mark.parametrize("steps", range(6))
def test_aserve_cancelled_at_once_leaves_no_server(place: str, steps: int) -> None:
    """Wherever the start is cancelled, nobody is served any more, and no task is left (S4)."""

    async def run() -> None:
        server = grpc.aio.server(handlers=handlers(Who(PID).awho))
        number = free_port()
        starting = asyncio.create_task(
            aserve(server, "echo", f"127.0.0.1:{number}", registry=place, drain=NO_TIME)
        )
        for _ in range(steps):
            await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert refuses(f"127.0.0.1:{number}")
        await only_this_task_is_left()

    run_loop(run())
    assert found(place) == ()


def test_aserve_cancelled_within_the_grace_cuts_the_calls(place: str) -> None:
    """Whoever cancels the stop does not want to wait for a call that goes on; no task is left."""

    async def run() -> None:
        calls = asyncio.Event()
        cut = asyncio.Event()

        async def endless(_: bytes, __: object) -> bytes:
            calls.set()
            try:
                await asyncio.Event().wait()
            finally:
                cut.set()
            return b""

        server = grpc.aio.server(handlers=handlers(endless))
        serving = asyncio.create_task(
            aserve(server, "echo", "127.0.0.1:0", registry=place, drain=NO_TIME, grace=LONG)
        )
        (info,) = await asyncio.to_thread(
            eventually, lambda: found(place), why="the server is enlisted"
        )
        async with grpc.aio.insecure_channel(str(info.addr)) as channel:
            who: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(WHO)
            call = who(b"")
            await calls.wait()
            serving.cancel()
            await asyncio.to_thread(
                eventually, lambda: refuses(str(info.addr)), why="the grace has begun"
            )
            assert not serving.done()
            serving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await serving
            with pytest.raises(grpc.aio.AioRpcError):
                await call
            await cut.wait()
        await only_this_task_is_left()

    run_loop(run())


def refuses(target: str) -> bool:
    """Tell whether nobody accepts connections there."""
    host, _, port = target.rpartition(":")
    with socket.socket() as client:
        return client.connect_ex((host, int(port))) == errno.ECONNREFUSED


def test_aenlisted_that_is_not_ready_stops_the_server(place: str) -> None:
    """The asyncio form fails as the other does (S4)."""

    async def run() -> None:
        server = grpc.aio.server(handlers=handlers(Who(PID).awho))
        with pytest.raises(NotReadyError):
            async with aenlisted(
                server,
                "echo",
                "127.0.0.1:0",
                registry=place,
                ready=lambda: False,
                ready_timeout=dt.timedelta(milliseconds=200),
            ):
                pass
        assert await server.wait_for_termination(0) is False  # it has ended

    run_loop(run())
    assert found(place) == ()


@pytest.mark.parametrize("mode", ["sync", "aio"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_skips_the_drain_on_a_second_signal(
    place: str, mode: str, number: signal.Signals
) -> None:
    """Both forms leave on the first signal and end on the second, with status 0 (S3)."""
    with program("grpc_program", mode, place, str(LONG.total_seconds())) as child:
        (info,) = eventually(lambda: found(place), within_s=30, why="the server is enlisted")
        child.told(number)
        eventually(lambda: not found(place), why="the server is deregistered")
        assert call(str(info.addr)) == str(child.process.pid).encode()
        child.told(number)
        assert child.ended() == 0, child.errors
    assert child.said == ["ended"]


def test_import_of_the_module_does_not_import_grpc() -> None:
    """A process that has no gRPC server does not pay for gRPC."""
    code = "import sys, enlist.frameworks.grpc; print('grpc' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"


def status(target: str) -> int:
    """What the health service says of the server as a whole."""
    with grpc.insecure_channel(target) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)  # its types leave the methods out
        return int(stub.Check(health_pb2.HealthCheckRequest(), timeout=20).status)


class Watch(threading.Thread):
    """A client that watches a server's health until the watch is ended."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self.seen: queue.SimpleQueue[tuple[int, float]] = queue.SimpleQueue()
        self.ended = ""
        self._target = target
        self.start()

    def run(self) -> None:
        with grpc.insecure_channel(self._target) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            try:
                for news in stub.Watch(health_pb2.HealthCheckRequest()):
                    self.seen.put((news.status, time.monotonic()))
            except grpc.RpcError as exc:
                self.ended = str(exc)
            else:
                self.ended = "well"

    def sees(self, wanted: int) -> float:
        """Wait for the next news, and return when it came."""
        status, at = self.seen.get(timeout=20)
        assert status == wanted
        return at


def test_health_is_told_while_enlisted_and_watches_end_with_the_drain(
    server: grpc.Server, place: str
) -> None:
    """Who watches sees the server leave before the drain, and does not hold up its stop."""
    well = threading.Event()
    well.set()
    with enlisted(
        server,
        "echo",
        "127.0.0.1:0",
        health=True,
        registry=place,
        healthy=well.is_set,
        health_interval=dt.timedelta(milliseconds=20),
        drain=HEALTH_DRAIN,
        grace=LONG,
    ) as registration:
        target = str(registration.info.addr)
        assert status(target) == SERVING
        watch = Watch(target)
        watch.sees(SERVING)
        well.clear()
        watch.sees(NOT_SERVING)
        eventually(lambda: not found(place), why="an unhealthy server is out")
        well.set()
        watch.sees(SERVING)
        began = time.monotonic()
    ended = time.monotonic()
    assert watch.sees(NOT_SERVING) < ended - HEALTH_DRAIN.total_seconds() / 2
    watch.join()
    assert watch.ended == "well"
    assert ended - began < LONG.total_seconds() / 2


def test_health_is_not_serving_before_the_server_is_enlisted(
    server: grpc.Server, place: str
) -> None:
    """A server that listens and is not ready yet says so."""
    said: list[int] = []
    target = f"127.0.0.1:{free_port()}"

    def ready() -> bool:
        said.append(status(target))
        return True

    with enlisted(server, "echo", target, health=True, ready=ready, registry=place, drain=NO_TIME):
        assert said == [NOT_SERVING]
        assert status(target) == SERVING


def test_health_of_a_servicer_that_was_added_is_told(server: grpc.Server, place: str) -> None:
    """A server's own servicer goes on saying what it says of single services, until the stop."""
    mine = health.HealthServicer()
    mine.set("echo.Echo", SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(mine, server)
    with enlisted(server, "echo", "127.0.0.1:0", health=mine, registry=place, drain=NO_TIME) as it:
        assert status(str(it.info.addr)) == SERVING
    context: Any = None  # it has none but in a call, and needs none
    asked = health_pb2.HealthCheckRequest(service="echo.Echo")
    assert mine.Check(asked, context).status == NOT_SERVING


def test_health_without_its_package_says_what_to_install(
    server: grpc.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the package, and nothing was started."""
    monkeypatch.setitem(sys.modules, "grpc_health.v1", None)
    with (
        pytest.raises(InvalidOptionError, match="pip install grpcio-health-checking"),
        enlisted(server, "echo", "127.0.0.1:0", health=True),
    ):
        pass


def test_health_of_an_aio_server_is_told_and_watches_end(place: str) -> None:
    """The asyncio form does the same."""

    async def run() -> None:
        server = grpc.aio.server(handlers=handlers(Who(PID).awho))
        async with aenlisted(
            server,
            "echo",
            "127.0.0.1:0",
            health=True,
            registry=place,
            drain=HEALTH_DRAIN,
            grace=LONG,
        ) as registration:
            watch = Watch(str(registration.info.addr))
            await asyncio.to_thread(watch.sees, SERVING)
            began = time.monotonic()
        ended = time.monotonic()
        assert watch.sees(NOT_SERVING) < ended - HEALTH_DRAIN.total_seconds() / 2
        await asyncio.to_thread(watch.join)
        assert watch.ended == "well"
        assert ended - began < LONG.total_seconds() / 2

    run_loop(run())
