"""Ready, register, serve, deregister, drain, stop: around a server, and with signals."""

from __future__ import annotations

import asyncio
import datetime as dt
import http.client
import logging
import os
import signal
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import enlist.aio
from core.tests.serving_world import (
    ENDS_WITHIN_S,
    LONG,
    NO_TIME,
    Hello,
    Program,
    answers,
    bound_and_deaf,
    found,
    fragile_backend,
    http_server,
    program,
)
from enlist.address import Address
from enlist.errors import (
    InvalidInfoError,
    InvalidOptionError,
    NotReadyError,
    ServingError,
    UnavailableError,
    UnknownBackendError,
)
from enlist.info import Info
from enlist.opening import open_registry
from enlist.serving.awaited import aenlisted
from enlist.serving.blocking import enlisted, serve
from enlist.serving.enlistment import Enlistment
from enlist.serving.listening import best_reached, listen_address
from enlist.serving.server_options import EndpointBasicInfo, ServerOptions
from tests.waiting import eventually

SHORT = dt.timedelta(milliseconds=300)


@pytest.fixture
def place(tmp_path: Path) -> str:
    """A registry of this test's own, by its URL."""
    return f"local:{tmp_path}/registry"


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    """A server that answers."""
    with http_server() as running:
        yield running


@pytest.mark.parametrize(
    "given,expected",
    [
        ("10.0.0.1:8888", "10.0.0.1:8888"),
        ("0.0.0.0:8888", "0.0.0.0:8888"),
        (":8888", "[::]:8888"),
        ("localhost:8888", "localhost:8888"),
        ("unix:/run/echo.sock", "unix:/run/echo.sock"),
        (Address.parse("[::1]:8888"), "[::1]:8888"),
    ],
)
def test_listen_address_understands_each_form(given: str | Address, expected: str) -> None:
    """Every way in which servers are told where to listen is understood."""
    assert str(listen_address(given)) == expected


@pytest.mark.parametrize("given", ["0.0.0.0:0", "8888", "", "http://a:80", None, 8888])
def test_listen_address_refuses_the_rest(given: Any) -> None:  # noqa: ANN401 - wrong on purpose
    """What is no address is refused in the name of the argument, port 0 with a hint."""
    with pytest.raises(InvalidOptionError, match=r"^listen_addr="):
        listen_address(given)


def test_listen_address_of_a_socket_that_is_not_bound_is_refused() -> None:
    """A socket has an address only after bind."""
    with socket.socket() as unbound, pytest.raises(InvalidOptionError, match="bind it first"):
        listen_address(unbound)


def test_listen_address_of_a_unix_socket_is_absolute(
    socket_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path that was relative to the server's folder means the same to clients elsewhere."""
    monkeypatch.chdir(socket_folder)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("api.sock")
        assert listen_address(listener) == Address.unix(f"{socket_folder}/api.sock")


def test_listen_address_asks_any_kind_of_socket() -> None:
    """The sockets of an asyncio server are of another type, and tell where they are bound."""

    async def run() -> None:
        server = await asyncio.start_server(lambda _, __: None, "127.0.0.1", 0)
        async with server:
            (listener,) = server.sockets
            assert str(listen_address(listener)) == f"127.0.0.1:{listener.getsockname()[1]}"

    asyncio.run(run())


@pytest.mark.parametrize(
    "addrs,best",
    [
        (["unix:/run/a.sock", "127.0.0.1:80"], "127.0.0.1:80"),
        (["127.0.0.1:80", "10.0.0.1:80"], "10.0.0.1:80"),
        (["10.0.0.1:80", "0.0.0.0:80", "[::]:80"], "0.0.0.0:80"),
        (["localhost:80", "10.0.0.1:80", "10.0.0.2:80"], "10.0.0.1:80"),
    ],
)
def test_best_reached_is_what_most_clients_can_call(addrs: list[str], best: str) -> None:
    """Of one server's addresses that is chosen which is known farthest, and of equals the first."""
    assert str(best_reached(map(Address.parse, addrs))) == best


def test_enlisted_registers_while_the_block_runs(place: str, server: ThreadingHTTPServer) -> None:
    """Clients find the server inside the block, all that was said of it, and not after it."""
    with enlisted(
        "echo",
        server.socket,
        registry=place,
        tags={"zone": "a"},
        registry_info=Info(weight=20),
        payload_codec="http",
        drain=NO_TIME,
    ) as registration:
        expected = Info(
            service_name="echo",
            addr=f"127.0.0.1:{server.server_port}",
            weight=20,
            tags={"zone": "a"},
            payload_codec="http",
        )
        assert registration.info == expected
        assert found(place) == (expected,)
        assert registration.registry.readiness()
    assert found(place) == ()


def test_enlisted_takes_server_options(place: str, server: ThreadingHTTPServer) -> None:
    """Options made beforehand do the same."""
    options = ServerOptions(
        basic_info=EndpointBasicInfo(service_name="other"), registry=place, drain=NO_TIME
    )
    with enlisted(options, f"127.0.0.1:{server.server_port}"):
        assert len(found(place, "other")) == 1


def test_enlisted_waits_until_the_port_accepts(place: str) -> None:
    """A server is not registered before somebody can connect to it (S1)."""
    registered = threading.Event()
    leave = threading.Event()

    def run(listener: socket.socket) -> None:
        with enlisted("echo", listener, registry=place, drain=NO_TIME):
            registered.set()
            leave.wait()

    with bound_and_deaf() as listener:
        thread = threading.Thread(target=run, args=(listener,))
        thread.start()
        try:
            assert not registered.wait(0.5)
            assert found(place) == ()
            listener.listen()
            assert registered.wait(20)
            assert len(found(place)) == 1
        finally:
            listener.listen()
            leave.set()
            thread.join()


def test_enlisted_waits_until_the_server_says_it_is_ready(
    place: str, server: ThreadingHTTPServer
) -> None:
    """While ready() says no, nobody finds the server (S1)."""
    seen: list[tuple[Info, ...]] = []

    def ready() -> bool:
        seen.append(found(place))
        return len(seen) >= 3

    with enlisted("echo", server.socket, registry=place, ready=ready, drain=NO_TIME):
        assert seen == [(), (), ()]
        assert len(found(place)) == 1


def test_enlisted_asks_for_readiness_only_after_the_port_accepts(place: str) -> None:
    """A health check is not called on a server that cannot be connected to."""
    asked: list[bool] = []
    with bound_and_deaf() as listener, pytest.raises(NotReadyError, match="refused"):
        start(place, listener, ready=lambda: asked.append(True))
    assert asked == []


def start(registry: object, listen: object, **settings: Any) -> None:  # noqa: ANN401 - any setting
    """Be enlisted and leave at once."""
    short: dict[str, Any] = {"ready_timeout": SHORT, "drain": NO_TIME, **settings}
    where: Any = listen
    with enlisted("echo", where, registry=registry, **short):
        pass


def test_enlisted_without_readiness_leaves_nothing_behind(
    place: str, server: ThreadingHTTPServer
) -> None:
    """A server that never becomes ready is an error that says so, and no record (S4)."""
    with pytest.raises(NotReadyError, match=r"not ready within 0\.3 s.*ready\(\) says no"):
        start(place, server.socket, ready=lambda: False)
    assert found(place) == ()


def test_enlisted_passes_on_what_ready_raises(place: str, server: ThreadingHTTPServer) -> None:
    """An error in the health check fails the start as what it is."""

    def broken() -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        start(place, server.socket, ready=broken)
    assert found(place) == ()


@pytest.mark.parametrize(
    "settings,error",
    [
        ({"registry": "nosuchbackend"}, UnknownBackendError),
        ({"basic_info": EndpointBasicInfo()}, InvalidInfoError),
        ({"advertise": "10.99.99.0/24"}, InvalidOptionError),
    ],
)
def test_enlisted_with_wrong_options_fails_before_it_waits(
    place: str, settings: dict[str, Any], error: type[Exception]
) -> None:
    """What can be refused at once is not refused after half a minute."""
    options = ServerOptions(
        basic_info=EndpointBasicInfo(service_name="echo"), registry=place, ready_timeout=LONG
    )
    with bound_and_deaf() as listener:
        where = f"0.0.0.0:{listener.getsockname()[1]}"
        with pytest.raises(error), enlisted(options, where, **settings):
            pass


def test_enlisted_raises_when_the_backend_is_down(server: ThreadingHTTPServer) -> None:
    """By default a server whose registry cannot be reached does not start (S5)."""
    backend, held, up = fragile_backend()
    up.clear()
    with pytest.raises(UnavailableError, match="fragile backend is down"):
        start(backend, server.socket)
    assert held == {}


def test_enlisted_with_retry_enlists_when_the_backend_is_back(server: ThreadingHTTPServer) -> None:
    """On request the server runs already, and is registered as soon as it can be (S5)."""
    backend, held, up = fragile_backend()
    up.clear()
    with enlisted(
        "echo", server.socket, registry=backend, on_unavailable="retry", drain=NO_TIME
    ) as registration:
        assert not registration.registry.readiness()
        up.set()
        eventually(lambda: len(held) == 1, within_s=30, why="the server is enlisted")
    assert held == {}


def test_enlisted_leaves_an_opened_registry_open(place: str, server: ThreadingHTTPServer) -> None:
    """Who opened a registry closes it; the server only leaves it."""
    with open_registry(place) as registry:
        start(registry, server.socket)
        assert registry.resolve("echo") == ()
        with pytest.raises(NotReadyError):
            start(registry, server.socket, ready=lambda: False)
        assert registry.status() == ()
        registry.probe()


def test_enlisted_in_several_registries(
    place: str, server: ThreadingHTTPServer, tmp_path: Path
) -> None:
    """A list of registries is one choice of a registry."""
    other = f"local:{tmp_path}/other"
    with enlisted("echo", server.socket, registry=[place, other], drain=NO_TIME):
        assert [len(found(each)) for each in (place, other)] == [1, 1]
    assert [len(found(each)) for each in (place, other)] == [0, 0]


def test_registration_updates_in_place(place: str, server: ThreadingHTTPServer) -> None:
    """Weight and tags change while the server runs, and it leaves as what it then is."""
    with enlisted("echo", server.socket, registry=place, drain=NO_TIME) as registration:
        registration.update(weight=0)
        assert registration.update(tags={"v": "2"}) == registration.info
        assert [(info.weight, info.tags) for info in found(place)] == [(0, {"v": "2"})]
    assert found(place) == ()


def test_registration_updates_without_blocking_the_loop(
    place: str, server: ThreadingHTTPServer
) -> None:
    """The asyncio twin does the same, raises the same, and is done also if it is cancelled."""

    async def story() -> None:
        async with aenlisted("echo", server.socket, registry=place, drain=NO_TIME) as registration:
            assert (await registration.aupdate(weight=3)).weight == 3
            assert [info.weight for info in found(place)] == [3]
            with pytest.raises(InvalidInfoError, match="weight=-1"):
                await registration.aupdate(weight=-1)
            task = asyncio.create_task(registration.aupdate(weight=0))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.to_thread(
                eventually,
                lambda: [info.weight for info in found(place)] == [0],
                within_s=10,
                why="the update goes on",
            )

    asyncio.run(story(), debug=True)


def test_asyncio_server_is_run_until_it_is_told_to_stop(place: str) -> None:
    """It is enlisted where it listens; what is connected at the stop has time to end."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()

    async def story() -> None:
        server = await asyncio.start_server(talk, "127.0.0.1", 0, start_serving=False)
        port = server.sockets[0].getsockname()[1]
        serving = asyncio.ensure_future(
            enlist.aio.serve(server, "echo", registry=place, drain=NO_TIME)
        )
        await asyncio.to_thread(eventually, lambda: found(place), within_s=10, why="it is enlisted")
        assert [str(info.addr) for info in found(place)] == [f"127.0.0.1:{port}"]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)

        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.to_thread(eventually, lambda: not found(place), within_s=10, why="it left")
        writer.write(b"still here\n")
        assert await reader.readline() == b"still here\n"
        writer.close()
        await serving

    asyncio.run(story(), debug=True)


def test_asyncio_server_that_was_closed_is_refused(place: str) -> None:
    """What listens nowhere cannot be enlisted, and the error says why."""

    async def story() -> None:
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        server.close()
        with pytest.raises(InvalidOptionError, match=r"runnable.*was closed"):
            await enlist.aio.serve(server, "echo", registry=place)

    asyncio.run(story(), debug=True)


def test_asyncio_server_does_not_wait_for_ever_for_a_silent_client(
    place: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A connection that is open after the grace is left, and that is said."""

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def story() -> None:
        server = await asyncio.start_server(hold, "127.0.0.1", 0)
        where = server.sockets[0].getsockname()[:2]
        serving = asyncio.ensure_future(
            enlist.aio.serve(
                server, "echo", registry=place, drain=NO_TIME, grace=dt.timedelta(seconds=0.1)
            )
        )
        await asyncio.to_thread(eventually, lambda: found(place), within_s=10, why="it is enlisted")
        _, writer = await asyncio.open_connection(*where)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        writer.close()
        await writer.wait_closed()

    asyncio.run(story(), debug=True)
    assert "connections were open" in caplog.text


def test_stop_serves_on_until_the_drain_is_over(place: str, server: ThreadingHTTPServer) -> None:
    """After leaving, the stop waits; the server answers meanwhile (S2)."""
    options = ServerOptions(
        basic_info=EndpointBasicInfo(service_name="echo"), registry=place, drain=LONG
    )
    enlistment = Enlistment(options, server.socket)
    enlistment.start()
    stopping = threading.Thread(target=enlistment.stop)
    stopping.start()
    try:
        eventually(lambda: found(place) == (), why="the server is deregistered")
        assert answers(server.server_port)
        assert stopping.is_alive()
    finally:
        enlistment.ask_to_stop()
        stopping.join()


def test_enlisted_drains_for_as_long_as_was_said(place: str, server: ThreadingHTTPServer) -> None:
    """The block's end is held up by the drain, which is counted from there."""
    with enlisted("echo", server.socket, registry=place, drain=SHORT):
        ended = time.monotonic()
    assert time.monotonic() - ended >= SHORT.total_seconds()


def test_stop_counts_the_drain_from_when_it_was_asked_for(
    place: str, server: ThreadingHTTPServer
) -> None:
    """What passes before and during the deregistration is part of the drain (S2)."""
    options = ServerOptions(
        basic_info=EndpointBasicInfo(service_name="echo"), registry=place, drain=LONG
    )
    enlistment = Enlistment(options, server.socket)
    enlistment.start()
    enlistment._asked._asked.put(time.monotonic() - 2 * LONG.total_seconds())
    before = time.monotonic()
    enlistment.stop()
    assert time.monotonic() - before < LONG.total_seconds() / 2
    assert found(place) == ()


def test_enlisted_does_not_drain_after_a_failure(place: str, server: ThreadingHTTPServer) -> None:
    """A block that failed has nothing to serve: the record goes at once, the error comes out."""
    with (
        pytest.raises(ZeroDivisionError),
        enlisted("echo", server.socket, registry=place, drain=LONG),
    ):
        raise ZeroDivisionError
    assert found(place) == ()


def test_stop_goes_on_when_the_backend_is_down(
    server: ThreadingHTTPServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A registry that is away at the end is logged; the server is stopped all the same."""
    backend, _, up = fragile_backend()
    with enlisted("echo", server.socket, registry=backend, drain=NO_TIME):
        up.clear()
    assert any(
        each.levelno == logging.WARNING and "could not deregister echo" in each.getMessage()
        for each in caplog.records
    )


def test_stop_twice_or_without_start_does_nothing(place: str, server: ThreadingHTTPServer) -> None:
    """A second stop waits for nothing and removes nothing."""
    options = ServerOptions(
        basic_info=EndpointBasicInfo(service_name="echo"), registry=place, drain=NO_TIME
    )
    enlistment = Enlistment(options, server.socket)
    enlistment.stop()
    enlistment.start()
    enlistment.stop()
    with open_registry(place) as other:
        other.register(Info(service_name="echo", addr=f"127.0.0.1:{server.server_port}"))
        enlistment.stop()
        assert len(found(place)) == 1


def test_enlisted_warns_of_an_addr_that_is_not_published(
    place: str, server: ThreadingHTTPServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Kitex replaces registry_info.addr in silence; here a line says what would keep it."""
    with enlisted(
        "echo",
        server.socket,
        registry=place,
        registry_info=Info(addr="10.0.0.1:80"),
        drain=NO_TIME,
    ) as registration:
        assert registration.info.addr == Address.tcp("127.0.0.1", server.server_port)
    assert any("10.0.0.1:80, which needs skip_listen_addr" in each for each in caplog.messages)


def test_enlisted_publishes_what_skip_listen_addr_says(
    place: str, server: ThreadingHTTPServer
) -> None:
    """The address that is published need not be the one that is waited for."""
    given = Info(addr="10.0.0.1:80", skip_listen_addr=True)
    with enlisted("echo", server.socket, registry=place, registry_info=given, drain=NO_TIME):
        assert [str(info.addr) for info in found(place)] == ["10.0.0.1:80"]


def test_enlisted_publishes_a_reachable_address_for_an_unspecified_one(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0.0.0.0 is what is listened on; what clients get is what the operator said."""
    monkeypatch.setenv("ENLIST_ADVERTISE_ADDR", "203.0.113.5")
    with socket.create_server(("0.0.0.0", 0)) as listener:
        port = listener.getsockname()[1]
        with enlisted("echo", f"0.0.0.0:{port}", registry=place, drain=NO_TIME):
            assert [str(info.addr) for info in found(place)] == [f"203.0.113.5:{port}"]


def test_enlisted_publishes_no_ipv4_for_a_server_that_takes_none(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is on :: and IPv6 alone gets such an address, or an error once that can be seen."""
    with socket.create_server(("::", 0), family=socket.AF_INET6) as listener:
        with enlisted("echo", listener, registry=place, drain=NO_TIME):
            assert [
                info.addr and info.addr.ip and info.addr.ip.version for info in found(place)
            ] == [6]
        monkeypatch.setenv("POD_IP", "203.0.113.5")
        with pytest.raises(InvalidOptionError, match=r"POD_IP='203\.0\.113\.5': is IPv4"):
            start(place, listener)
    assert found(place) == ()


def test_enlisted_serves_a_unix_socket(place: str, socket_folder: Path) -> None:
    """A server on a unix socket is waited for and published by its path."""
    path = f"{socket_folder}/echo.sock"
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(path)
        with pytest.raises(NotReadyError):
            start(place, listener)
        listener.listen()
        with enlisted("echo", listener, registry=place, drain=NO_TIME):
            assert [str(info.addr) for info in found(place)] == [f"unix:{path}"]


# --- serve, with signals -------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_leaves_on_a_signal_and_serves_on(place: str, number: signal.Signals) -> None:
    """The first signal deregisters and keeps serving, the second skips the rest (S2, S3)."""
    with program("serving_program", "plain", place) as child:
        port = int(child.says("port"))
        eventually(lambda: found(place), within_s=30, why="the server is enlisted")

        child.told(number)
        eventually(lambda: not found(place), why="the server is deregistered")
        assert answers(port)

        child.told(number)
        assert child.ended() == 0, child.errors
    assert "restored True" in child.said
    assert "threads []" in child.said
    assert not answers(port)


def test_serve_ends_by_itself_after_the_drain(place: str) -> None:
    """One signal is enough."""
    with program("serving_program", "quick", place) as child:
        child.says("port")
        eventually(lambda: found(place), within_s=30, why="the server is enlisted")
        child.told(signal.SIGTERM)
        assert child.ended() == 0, child.errors
    assert found(place) == ()


def test_serve_calls_the_handler_that_was_there(place: str) -> None:
    """A handler that the application installed hears of each signal too, and is put back."""
    with program("serving_program", "chain", place) as child:
        child.says("port")
        eventually(lambda: found(place), within_s=30, why="the server is enlisted")
        child.told(signal.SIGTERM)
        assert child.says("chained") == "SIGTERM"
        child.told(signal.SIGTERM)
        assert child.says("chained") == "SIGTERM"
        assert child.ended() == 0, child.errors
    assert "restored True" in child.said


def test_serve_leaves_an_ignored_signal_ignored(place: str) -> None:
    """A process that was started to ignore SIGINT, as by nohup, goes on ignoring it."""
    with program("serving_program", "ignore", place) as child:
        assert child.says("ignored") == "True"
        eventually(lambda: found(place), within_s=30, why="the server is enlisted")
        assert child.told_to_end(place) == 0, child.errors
    assert "restored True" in child.said


def test_serve_ends_on_a_signal_during_the_start(place: str) -> None:
    """A server that is not ready yet stops at once, and was never registered (S4)."""
    with program("serving_program", "unready", place) as child:
        child.says("asked")
        child.told(signal.SIGTERM)
        assert child.ended() == 0, child.errors
    assert "restored True" in child.said
    assert found(place) == ()


def test_serve_raises_what_ended_the_server(place: str) -> None:
    """A server that crashes is deregistered without a drain, and its error comes out."""
    with program("serving_program", "crash", place) as child:
        child.says("port")
        eventually(lambda: found(place), within_s=30, why="the server is enlisted")
        assert child.process.stdin is not None
        child.process.stdin.write("\n")
        child.process.stdin.flush()
        assert child.ended() == 1
    assert "RuntimeError: the server crashed" in child.errors
    assert "restored True" in child.said
    assert found(place) == ()


def test_serve_that_fails_to_start_leaves_nothing_behind() -> None:
    """No handler, thread or record stays when the registry refuses the server (S4)."""
    backend, held, up = fragile_backend()
    up.clear()
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with ThreadingHTTPServer(("127.0.0.1", 0), Hello) as server:
        with pytest.raises(UnavailableError):
            serve(server, "echo", registry=backend)
        assert not any(each.name.startswith("enlist") for each in threading.enumerate())
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
    assert held == {}


def test_serve_does_not_wait_for_ever_for_a_server_that_hangs(
    place: str, server: ThreadingHTTPServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that outlasts its grace is logged and left to the end of the process."""
    let_go = threading.Event()

    class Hanging:
        def serve_forever(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            let_go.wait()

        def shutdown(self) -> None:
            let_go.wait()

    try:
        serve(Hanging(), "echo", server.socket, registry=place, drain=NO_TIME, grace=NO_TIME)
    finally:
        let_go.set()
    assert any("has not ended 1 s after it was shut down" in each for each in caplog.messages)


def test_serve_waits_for_the_calls_that_run(place: str) -> None:
    """Calls in threads end before the process does, though the threads are daemons (S2)."""
    with (
        program("serving_program", "slow", place) as child,
        closing(called(child, place)) as client,
    ):
        child.told(signal.SIGTERM)
        assert child.says("shut") == "down"

        port = client.port
        eventually(lambda: not answers(port), why="who still connects is refused")
        with pytest.raises(subprocess.TimeoutExpired):
            child.process.wait(0.5)
        assert child.process.stdin is not None
        child.process.stdin.write("\n")
        child.process.stdin.flush()
        assert client.getresponse().read() == b"hello"
        assert child.ended() == 0, child.errors
    assert "open still" not in child.errors


def test_serve_leaves_the_calls_that_run_when_it_is_told_to_again(place: str) -> None:
    """Whoever asks for the stop once more, after the drain, does not wait for the grace."""
    with program("serving_program", "slow", place) as child, closing(called(child, place)):
        child.told(signal.SIGTERM)
        child.says("shut")
        child.told(signal.SIGTERM)
        child.process.wait(ENDS_WITHIN_S)  # the call goes on meanwhile
        assert child.ended() == 0, child.errors
    assert "open still are left: 1" in child.errors


def test_serve_does_not_wait_for_ever_for_a_silent_client(
    place: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A connection that is open after the grace is left, and that is said."""

    class Patient(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            if self.request.recv(1):  # the look whether the port accepts sends nothing
                os.kill(os.getpid(), signal.SIGTERM)
                self.request.recv(1)

    with (
        socketserver.ThreadingTCPServer(("127.0.0.1", 0), Patient) as server,
        socket.socket() as client,
    ):

        def ready() -> bool:
            client.connect(server.server_address)
            client.send(b"x")
            return True

        serve(server, "echo", registry=place, ready=ready, drain=NO_TIME, grace=SHORT)
        assert not {"process_request", "close_request"} & vars(server).keys()  # as it was
    assert "open still are left: 1" in caplog.text


def called(child: Program, place: str) -> http.client.HTTPConnection:
    """A connection on which a call runs, of a server that is enlisted."""
    connection = http.client.HTTPConnection("127.0.0.1", int(child.says("port")), timeout=50)
    eventually(lambda: found(place), within_s=30, why="the server is enlisted")
    connection.request("GET", "/")
    child.says("called")
    return connection


def test_serve_outside_the_main_thread_is_refused(place: str) -> None:
    """Signals reach the main thread alone, so a server elsewhere could never be stopped."""
    errors: list[BaseException] = []

    def run(server: ThreadingHTTPServer) -> None:
        try:
            serve(server, "echo", registry=place)
        except ServingError as exc:
            errors.append(exc)

    with ThreadingHTTPServer(("127.0.0.1", 0), Hello) as server:
        thread = threading.Thread(target=run, args=(server,))
        thread.start()
        thread.join()
    assert "main thread" in str(errors[0])
    assert found(place) == ()


def test_serve_refuses_what_does_not_serve() -> None:
    """The message names the method that is missing, and what to do for other servers."""
    with pytest.raises(InvalidOptionError, match=r"runnable=5: .*serve_forever.*enlist.enlisted"):
        serve(5, "echo", "127.0.0.1:8888")  # type: ignore[arg-type]  # what is wrong is the test


def test_enlisted_refuses_a_readiness_that_cannot_be_asked(place: str) -> None:
    """Before anything is opened: the server is not even waited for."""
    with (
        pytest.raises(InvalidOptionError, match="ready=True: must be a function"),
        enlisted("echo", "127.0.0.1:8888", registry=place, ready=True),  # type: ignore[arg-type]  # the same
    ):
        pytest.fail("never enlisted")


def test_serve_without_an_address_asks_for_it() -> None:
    """A server that has no socket to ask must be given its address."""

    class Bare:
        def serve_forever(self) -> None:
            raise AssertionError("never started")

        def shutdown(self) -> None:
            raise AssertionError("never started")

    with pytest.raises(InvalidOptionError, match=r"listen_addr=None: must be given.*Bare"):
        serve(Bare(), "echo")
