"""Real servers as pytest fixtures; a plugin that the workspace's pyproject.toml loads.

A server starts with the first test that asks for it and stays for the session, a cluster
for the module. They are shared: a test uses service names of its own. Whatever a test does
to one (freeze, kill, stop), it answers again before the next test begins. A server that
cannot be had fails the test.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

import pytest

from tests.servers.certificates import Certificates, make_certificates
from tests.servers.cluster import Cluster
from tests.servers.consul import ConsulServer, consul_pair
from tests.servers.etcd import Auth, EtcdServer, User, etcd_cluster
from tests.servers.process import Server
from tests.servers.proxy import Proxy
from tests.servers.zookeeper import ZooKeeperServer, zookeeper_ensemble

ETCD_AUTH: Final = Auth(
    users={
        "service": User("service-password"),
        "writer": User("writer-password", permission="WRITE"),
        "reader": User("reader-password", permission="READ"),
        "elsewhere": User("elsewhere-password", prefix="elsewhere/"),
    },
    token_ttl_s=6,
)


S = TypeVar("S", bound=Server | Cluster[Any])


class ServerPool:
    """The servers that run now, to be brought back after each test."""

    def __init__(self) -> None:
        self._servers: list[Server | Cluster[Any]] = []

    @contextlib.contextmanager
    def run(self, server: S) -> Iterator[S]:
        """Start a server or cluster, keep it answering between tests, and close it."""
        with server:
            self._servers.append(server)
            try:
                yield server
            finally:
                self._servers.remove(server)

    def recover(self) -> None:
        """Bring back all that a test left frozen or dead."""
        for server in self._servers:
            server.recover()


@pytest.fixture(scope="session")
def server_pool() -> ServerPool:
    """The servers of this session."""
    return ServerPool()


@pytest.fixture(autouse=True)
def _servers_recover(server_pool: ServerPool) -> Iterator[None]:
    """Bring the servers back after each test; costs nothing where none runs."""
    yield
    server_pool.recover()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority, a server's and a client's certificate, and a stranger's."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def make_proxy() -> Iterator[Callable[[str], Proxy]]:
    """Start a `Proxy` for a host:port; all are closed after the test."""
    with contextlib.ExitStack() as stack:

        def make(target: str) -> Proxy:
            return stack.enter_context(Proxy(target))

        yield make


@pytest.fixture(scope="session")
def etcd_server(server_pool: ServerPool) -> Iterator[EtcdServer]:
    """One etcd, plain and open to all."""
    with server_pool.run(EtcdServer()) as server:
        yield server


@pytest.fixture(scope="session")
def etcd_tls_server(server_pool: ServerPool, certificates: Certificates) -> Iterator[EtcdServer]:
    """One etcd that demands TLS with a client certificate."""
    with server_pool.run(EtcdServer("etcd-tls", tls=certificates.tls)) as server:
        yield server


@pytest.fixture(scope="session")
def etcd_auth_server(server_pool: ServerPool) -> Iterator[EtcdServer]:
    """One etcd with the users of `ETCD_AUTH`, whose tokens expire after 6 s."""
    with server_pool.run(EtcdServer("etcd-auth", auth=ETCD_AUTH)) as server:
        yield server


@pytest.fixture(scope="module")
def etcd_members(server_pool: ServerPool) -> Iterator[Cluster[EtcdServer]]:
    """Three etcd that form a cluster."""
    with server_pool.run(etcd_cluster()) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def zookeeper_server(server_pool: ServerPool) -> Iterator[ZooKeeperServer]:
    """One ZooKeeper whose sessions may be as short as 1 s."""
    with server_pool.run(ZooKeeperServer()) as server:
        yield server


@pytest.fixture(scope="session")
def zookeeper_tls_server(
    server_pool: ServerPool, certificates: Certificates
) -> Iterator[ZooKeeperServer]:
    """One ZooKeeper that also listens with TLS and there demands a client certificate."""
    with server_pool.run(ZooKeeperServer("zookeeper-tls", tls=certificates.tls)) as server:
        yield server


@pytest.fixture(scope="module")
def zookeeper_members(server_pool: ServerPool) -> Iterator[Cluster[ZooKeeperServer]]:
    """Three ZooKeepers that form an ensemble."""
    with server_pool.run(zookeeper_ensemble()) as ensemble:
        yield ensemble


@pytest.fixture(scope="session")
def consul_server(server_pool: ServerPool) -> Iterator[ConsulServer]:
    """One Consul server that keeps its data."""
    with server_pool.run(ConsulServer()) as server:
        yield server


@pytest.fixture(scope="session")
def consul_dev_server(server_pool: ServerPool) -> Iterator[ConsulServer]:
    """One Consul server in memory, which forgets all when it ends."""
    with server_pool.run(ConsulServer("consul-dev", dev=True)) as server:
        yield server


@pytest.fixture(scope="session")
def consul_acl_server(server_pool: ServerPool) -> Iterator[ConsulServer]:
    """One Consul server that denies by default; its `token` may do everything."""
    with server_pool.run(ConsulServer("consul-acl", acl=True)) as server:
        yield server


@pytest.fixture(scope="session")
def consul_tls_server(
    server_pool: ServerPool, certificates: Certificates
) -> Iterator[ConsulServer]:
    """One Consul server that speaks HTTPS only and demands a client certificate."""
    with server_pool.run(ConsulServer("consul-tls", tls=certificates.tls)) as server:
        yield server


@pytest.fixture(scope="module")
def consul_members(server_pool: ServerPool) -> Iterator[Cluster[ConsulServer]]:
    """A Consul server and, second, a client agent of it."""
    with server_pool.run(consul_pair()) as pair:
        yield pair
