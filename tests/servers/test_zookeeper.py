"""The variants of ZooKeeper: TLS, an ensemble, sessions that expire on demand."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.servers.certificates import Certificates
from tests.servers.cluster import Cluster
from tests.servers.web import Identity
from tests.servers.zookeeper import ZooKeeperServer
from tests.waiting import eventually

if TYPE_CHECKING:
    from kazoo.client import KazooClient

MakeClient = Callable[..., "KazooClient"]


@pytest.fixture
def make_client() -> Iterator[MakeClient]:
    """Make kazoo clients that are closed after the test."""
    from kazoo.client import KazooClient

    with ExitStack() as stack:

        def make(hosts: str, **options: Any) -> "KazooClient":  # noqa: ANN401 - kazoo's options
            client = KazooClient(hosts, **options)
            stack.callback(client.close)
            stack.callback(client.stop)
            client.start(timeout=20)
            return client

        yield make


def tls_options(certificates: Certificates, identity: Identity) -> dict[str, object]:
    return {
        "use_ssl": True,
        "ca": str(certificates.tls.ca),
        "certfile": str(identity.certificate),
        "keyfile": str(identity.key),
    }


def test_session_may_last_one_second(
    zookeeper_server: ZooKeeperServer, make_client: MakeClient
) -> None:
    """A killed client's ephemeral is gone within seconds: sessions are as short as asked for."""
    owner = make_client(zookeeper_server.endpoint, timeout=1.0)
    watcher = make_client(zookeeper_server.endpoint, timeout=10.0)
    owner.create("/short", b"", ephemeral=True)

    assert owner._session_timeout == 1000
    owner.stop()
    eventually(lambda: watcher.exists("/short") is None, why="the ephemeral is gone")


def test_expire_ends_a_session(zookeeper_server: ZooKeeperServer, make_client: MakeClient) -> None:
    """The victim's ephemeral goes, and the victim learns that its session is lost."""
    victim = make_client(zookeeper_server.endpoint, timeout=30.0)
    watcher = make_client(zookeeper_server.endpoint)
    states: list[str] = []
    victim.add_listener(states.append)
    victim.create("/mortal", b"", ephemeral=True)
    assert victim.client_id is not None

    zookeeper_server.expire(*victim.client_id)

    eventually(lambda: watcher.exists("/mortal") is None, why="the ephemeral is gone")
    eventually(lambda: "LOST" in states, why="the victim knows")


def test_expire_refuses_an_unknown_session(zookeeper_server: ZooKeeperServer) -> None:
    """A test that expires nobody is told so."""
    with pytest.raises(RuntimeError, match="has no session 0xabc"):
        zookeeper_server.expire(0xABC, bytes(16))


def test_tls_server_answers_our_client(
    zookeeper_tls_server: ZooKeeperServer, certificates: Certificates, make_client: MakeClient
) -> None:
    """A client with our certificate reads over TLS what was written without."""
    make_client(f"127.0.0.1:{zookeeper_tls_server.port}").create("/plain", b"x")
    options = tls_options(certificates, certificates.tls.client)

    secure = make_client(zookeeper_tls_server.endpoint, **options)

    assert secure.get("/plain")[0] == b"x"


def test_tls_server_refuses_a_stranger(
    zookeeper_tls_server: ZooKeeperServer, certificates: Certificates
) -> None:
    """A client of an unrelated authority gets no session."""
    from kazoo.client import KazooClient
    from kazoo.handlers.threading import KazooTimeoutError

    options = tls_options(certificates, certificates.stranger_client)
    client = KazooClient(zookeeper_tls_server.endpoint, timeout=2.0, **options)

    with pytest.raises(KazooTimeoutError):
        client.start(timeout=3)
    client.close()


def test_ensemble_serves_from_each_member(
    zookeeper_members: Cluster[ZooKeeperServer], make_client: MakeClient
) -> None:
    """What one member takes the others give."""
    make_client(zookeeper_members[0].endpoint).create("/shared", b"x")

    for member in zookeeper_members:
        client = make_client(member.endpoint)
        client.sync("/shared")
        assert client.get("/shared")[0] == b"x"


@pytest.mark.parametrize("harm", ["kill", "freeze"])
def test_ensemble_elects_anew_when_its_leader_fails(
    zookeeper_members: Cluster[ZooKeeperServer], harm: str
) -> None:
    """Two of three go on, whether the leader died or fell silent."""
    old = zookeeper_members.leader()

    getattr(old, harm)()

    assert eventually(
        lambda: zookeeper_members.leader() is not old, within_s=40, why="another one leads"
    )


def test_ensemble_restarts_empty(
    zookeeper_members: Cluster[ZooKeeperServer], make_client: MakeClient
) -> None:
    """Wiped as a whole it forms anew, without its data."""
    make_client(zookeeper_members[0].endpoint).create("/wiped", b"x")

    zookeeper_members.restart(wipe=True)

    assert make_client(zookeeper_members[1].endpoint).exists("/wiped") is None
