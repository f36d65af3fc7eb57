"""Each kind of server keeps, loses and regains its data as the tests of plugins rely on.

Seen through simple clients that have nothing to do with the plugins: etcd's HTTP gateway,
kazoo, and Consul's HTTP API.
"""

import abc
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.servers.consul import ConsulServer
from tests.servers.etcd import EtcdServer
from tests.servers.ports import HOST
from tests.servers.process import Server
from tests.servers.proxy import Proxy
from tests.servers.zookeeper import ZooKeeperServer
from tests.waiting import eventually

if TYPE_CHECKING:
    from kazoo.client import KazooClient

KINDS = ("etcd", "zookeeper", "consul")


class Raw(abc.ABC):
    """Write and read one name on a server, however it calls that."""

    server: Server
    port: int

    @abc.abstractmethod
    def write(self, name: str) -> None: ...

    @abc.abstractmethod
    def has(self, name: str) -> bool: ...


class RawEtcd(Raw):
    def __init__(self, server: EtcdServer) -> None:
        self.server, self.port, self._etcd = server, server.port, server

    def write(self, name: str) -> None:
        self._etcd.put(name, "value of " + name)

    def has(self, name: str) -> bool:
        return self._etcd.get(name) == "value of " + name


class RawZooKeeper(Raw):
    def __init__(self, server: ZooKeeperServer) -> None:
        self.server, self.port, self._endpoint = server, server.port, server.endpoint

    @contextmanager
    def _client(self) -> Iterator["KazooClient"]:
        from kazoo.client import KazooClient

        client = KazooClient(self._endpoint, timeout=5)
        client.start(timeout=10)
        try:
            yield client
        finally:
            client.stop()
            client.close()

    def write(self, name: str) -> None:
        with self._client() as client:
            client.create(f"/{name}", b"value")

    def has(self, name: str) -> bool:
        with self._client() as client:
            return client.exists(f"/{name}") is not None


class RawConsul(Raw):
    def __init__(self, server: ConsulServer) -> None:
        self.server, self.port, self._consul = server, server.port, server

    def write(self, name: str) -> None:
        self._consul.register({"Name": name, "ID": f"{name}-1", "Port": 1})

    def has(self, name: str) -> bool:
        return [one["Service"]["ID"] for one in self._consul.instances(name)] == [f"{name}-1"]


@pytest.fixture(scope="module", params=KINDS)
def raw(request: pytest.FixtureRequest) -> Raw:
    """Each kind of server in turn, as its fixture gives it."""
    kinds: dict[str, Callable[..., Raw]] = {
        "etcd": RawEtcd,
        "zookeeper": RawZooKeeper,
        "consul": RawConsul,
    }
    return kinds[request.param](request.getfixturevalue(f"{request.param}_server"))


def test_write_is_read_by_another_client(raw: Raw) -> None:
    """The server really serves: what was not there is there once it is written."""
    assert not raw.has("written")

    raw.write("written")

    eventually(lambda: raw.has("written"), why="the other client sees it")


def test_thawed_server_goes_on(raw: Raw) -> None:
    """A frozen server accepts and is silent; thawed it has all its data."""
    raw.write("before-freeze")
    raw.server.freeze()
    with socket.create_connection((HOST, raw.port), timeout=0.5) as connection:
        connection.sendall(b"ruokGET / HTTP/1.0\r\n\r\n")
        with pytest.raises(TimeoutError):
            connection.recv(1)

    raw.server.thaw()

    raw.server.wait_ready()
    eventually(lambda: raw.has("before-freeze"), why="the data is there")


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_restart_keeps_the_data(raw: Raw, end: str) -> None:
    """Ended in order or by SIGKILL, it is back on the same port with its data."""
    raw.write(f"kept-{end}")
    eventually(lambda: raw.has(f"kept-{end}"), why="it is written")
    port = raw.port
    getattr(raw.server, end)()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, port), timeout=1)

    raw.server.start()

    assert raw.port == port
    eventually(lambda: raw.has(f"kept-{end}"), why="the data is back")


def test_restart_with_wipe_loses_the_data(raw: Raw) -> None:
    """Wiped, it is back on the same port, empty, and takes new data."""
    raw.write("wiped")
    eventually(lambda: raw.has("wiped"), why="it is written")

    raw.server.restart(wipe=True)

    assert not raw.has("wiped")
    raw.write("new")
    eventually(lambda: raw.has("new"), why="the new data is there")


def test_server_answers_again_in_the_test_after_a_fault(raw: Raw) -> None:
    """A test may leave a server frozen; this one does, for the next."""
    raw.server.freeze()

    assert raw.server.frozen


def test_server_answers_again_after_a_fault(raw: Raw) -> None:
    """The server that the test before left frozen answers."""
    assert not raw.server.frozen
    assert raw.server.answers()


def test_killed_server_leaves_nothing(raw: Raw) -> None:
    """After SIGKILL there is neither the process nor a child of it."""
    process = psutil.Process(raw.server.pid)
    family = [process, *process.children(recursive=True)]

    raw.server.kill()

    assert not any(member.is_running() for member in family)


def test_proxy_hides_the_server(raw: Raw, make_proxy: Callable[[str], Proxy]) -> None:
    """A real server behind the proxy is reached, cut off, and reached again."""
    proxy = make_proxy(f"{HOST}:{raw.port}")
    question = b"ruok" if isinstance(raw, RawZooKeeper) else b"GET / HTTP/1.0\r\n\r\n"

    def answered() -> bool:
        with socket.create_connection((HOST, proxy.port), timeout=10) as connection:
            connection.sendall(question)
            return bool(connection.recv(1))

    assert answered()
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        answered()
    proxy.restore()
    assert answered()
