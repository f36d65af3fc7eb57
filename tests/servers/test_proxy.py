"""The faulty network: forwards, delays, holds, loses, cuts, refuses, and is whole again."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.servers.echo import EchoServer
from tests.servers.fixtures import ServerPool
from tests.servers.ports import HOST
from tests.servers.proxy import Mode, Proxy
from tests.waiting import eventually

_PIECE = 4096  # smaller than what asyncio holds back


@pytest.fixture(scope="module")
def echo(server_pool: ServerPool) -> Iterator[EchoServer]:
    """A server that sends back what it gets, brought back after each test."""
    with server_pool.run(EchoServer()) as server:
        yield server


@pytest.fixture
def proxy(make_proxy: Callable[[str], Proxy], echo: EchoServer) -> Proxy:
    """A proxy in front of it."""
    return make_proxy(echo.endpoint)


@pytest.fixture
def connection(proxy: Proxy) -> Iterator[socket.socket]:
    """A connection through the proxy that has carried a byte."""
    with connect(proxy) as connection:
        assert ask(connection, b"0") == b"0"
        yield connection


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection((HOST, proxy.port), timeout=10)


def ask(connection: socket.socket, data: bytes) -> bytes:
    connection.sendall(data)
    return receive(connection, len(data))


def receive(connection: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length and (more := connection.recv(length - len(data))):
        data += more
    return data


def is_silent(connection: socket.socket) -> bool:
    """Tell whether nothing comes, not even an end, for a while."""
    connection.settimeout(0.3)
    try:
        connection.recv(1)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(10)
    return False


def test_proxy_forwards_both_ways(connection: socket.socket) -> None:
    """A megabyte comes back unchanged."""
    data = bytes(range(256)) * 4096
    sender = threading.Thread(target=connection.sendall, args=(data,))
    sender.start()

    assert receive(connection, len(data)) == data
    sender.join()


def test_proxy_forwards_the_end(proxy: Proxy, connection: socket.socket) -> None:
    """A client that has finished gets the server's end, and the link is forgotten."""
    connection.shutdown(socket.SHUT_WR)

    assert connection.recv(1) == b""
    eventually(lambda: proxy.connections == 0, why="the link is forgotten")
    assert proxy.accepted == 1


def test_delay_holds_each_direction_back(proxy: Proxy, connection: socket.socket) -> None:
    """A round trip takes at least twice the delay, and none after restore."""
    proxy.delay(0.2)
    before = time.monotonic()

    assert ask(connection, b"1") == b"1"
    assert time.monotonic() - before >= 0.4

    proxy.restore()
    assert ask(connection, b"2") == b"2"


def test_cut_resets_connections_and_takes_new_ones(proxy: Proxy, connection: socket.socket) -> None:
    """Every open connection is reset; the next one works."""
    proxy.cut()

    with pytest.raises(ConnectionResetError):
        connection.recv(1)
    with connect(proxy) as again:
        assert ask(again, b"1") == b"1"


def test_stall_holds_bytes_until_restore(proxy: Proxy, connection: socket.socket) -> None:
    """Nothing is lost in a stall: old and new connections go on where they were."""
    proxy.stall()
    connection.sendall(b"1")
    with connect(proxy) as new:
        new.sendall(b"2")
        assert is_silent(connection)
        assert is_silent(new)

        proxy.restore()

        assert connection.recv(1) == b"1"
        assert new.recv(1) == b"2"


def test_swallow_is_half_open(proxy: Proxy, connection: socket.socket) -> None:
    """Bytes of old and new connections vanish; after restore these are reset, new ones work."""
    proxy.swallow()
    connection.sendall(b"1")
    with connect(proxy) as new:
        new.sendall(b"2")
        assert is_silent(connection)
        assert is_silent(new)

        proxy.restore()

        for broken in (connection, new):
            with pytest.raises(ConnectionResetError):
                broken.recv(1)
    with connect(proxy) as again:
        assert ask(again, b"3") == b"3"


def test_swallow_hides_the_death_of_the_server(proxy: Proxy, echo: EchoServer) -> None:
    """The client learns nothing of a server that dies behind a swallowing network."""
    with connect(proxy) as connection:
        assert ask(connection, b"1") == b"1"
        proxy.swallow()

        echo.restart()

        assert is_silent(connection)


def test_swallow_keeps_a_connection_that_lost_nothing(
    proxy: Proxy, connection: socket.socket
) -> None:
    """A connection that was idle meanwhile is as good as before."""
    proxy.swallow()
    proxy.restore()

    assert ask(connection, b"1") == b"1"


def test_refuse_resets_and_refuses(proxy: Proxy, connection: socket.socket) -> None:
    """Nobody listens until restore, which listens on the same port."""
    proxy.refuse()

    with pytest.raises(ConnectionResetError):
        connection.recv(1)
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)

    proxy.restore()
    with connect(proxy) as again:
        assert ask(again, b"1") == b"1"


def test_proxy_resets_when_the_server_is_down(
    make_proxy: Callable[[str], Proxy], echo: EchoServer
) -> None:
    """A refusal behind the proxy shows as a reset in front of it, and ends with the outage."""
    proxy = make_proxy(echo.endpoint)
    echo.kill()
    # The reset may come as early as in connect.
    with pytest.raises(ConnectionResetError), connect(proxy) as connection:
        connection.recv(1)

    echo.start()

    with connect(proxy) as again:
        assert ask(again, b"1") == b"1"


@pytest.mark.parametrize("mode", ["restore", "stall", "swallow", "refuse"])
def test_close_ends_everything_in_every_mode(echo: EchoServer, mode: str) -> None:
    """Closing, twice, leaves no thread and no listener, and resets what is open."""
    with Proxy(echo.endpoint) as proxy, connect(proxy) as connection:
        assert ask(connection, b"1") == b"1"
        getattr(proxy, mode)()
        proxy.close()
        proxy.close()

        with pytest.raises(ConnectionResetError):
            connection.recv(1)
        with pytest.raises(ConnectionRefusedError):
            connect(proxy)


@pytest.mark.parametrize("turns", range(6))
def test_refuse_resets_who_has_just_come(proxy: Proxy, turns: int) -> None:
    """However far a new connection has come in the proxy's loop, it is reset, and none is left."""
    proxy.stall()

    async def connect_and_refuse() -> socket.socket:
        connection = connect(proxy)
        for _ in range(turns):
            await asyncio.sleep(0)
        await proxy._enter(Mode.REFUSE)
        return connection

    refusing = asyncio.run_coroutine_threadsafe(connect_and_refuse(), proxy._loop)
    with refusing.result(10) as connection, pytest.raises(ConnectionResetError):
        connection.recv(1)
    eventually(lambda: proxy.connections == 0, why="the link is forgotten")


def test_close_resets_who_does_not_read_to_the_end() -> None:
    """A connection whose end was sent, and waits for its client to read, is no reason to wait."""
    passed: list[int] = []
    with (
        socket.create_server((HOST, 0)) as listener,
        Proxy(
            f"{HOST}:{listener.getsockname()[1]}",
            tap=lambda _number, _by_client, data: passed.append(len(data)),
        ) as proxy,
        connect(proxy) as connection,
    ):
        served, _ = listener.accept()
        with served:
            (link,) = proxy._links
            while not link.client.transport.get_write_buffer_size():
                passed.clear()
                served.sendall(bytes(_PIECE))
                eventually(lambda: sum(passed) == _PIECE, why="it has passed")
            connection.shutdown(socket.SHUT_WR)
            assert served.recv(1) == b""
        eventually(link.client.transport.is_closing, why="both ends have ended")
        assert proxy.connections == 1

    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
