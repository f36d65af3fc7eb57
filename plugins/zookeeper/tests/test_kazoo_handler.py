"""How kazoo waits for its sockets here."""

import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from enlist_zookeeper.attempts import Attempts
from enlist_zookeeper.dialling import Dialler
from enlist_zookeeper.kazoo_handler import Handler
from enlist_zookeeper.options import ZooKeeperOptions
from tests.servers.certificates import Certificates


@pytest.fixture
def handler() -> Handler:
    attempts = Attempts(15.0, 1.0, lambda: None)
    return Handler(Dialler(ZooKeeperOptions(), 1.0), attempts)


@pytest.fixture
def tls_pair(certificates: Certificates) -> Iterator[tuple[ssl.SSLSocket, ssl.SSLSocket]]:
    """Two ends of one TLS connection."""
    identity = certificates.tls.server
    at_server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    at_server.load_cert_chain(identity.certificate, identity.key)
    at_client = ssl.create_default_context(cafile=certificates.tls.ca)
    ours, theirs = socket.socketpair()
    with ours, theirs, ThreadPoolExecutor(1) as pool:
        pending = pool.submit(at_server.wrap_socket, theirs, server_side=True)
        client = at_client.wrap_socket(ours, server_hostname="localhost")
        with client, pending.result(10) as server:
            yield client, server


def test_select_does_not_wait_for_what_was_decrypted(
    handler: Handler, tls_pair: tuple[ssl.SSLSocket, ssl.SSLSocket]
) -> None:
    """Of two answers that came in one piece the second one is there, though nothing is to come."""
    client, server = tls_pair
    server.sendall(b"onetwo")
    assert client.recv(3) == b"one"

    assert handler.select([client], [], [], 30.0) == ([client], [], [])

    assert client.recv(3) == b"two"
    assert handler.select([client], [], [], 0.01) == ([], [], [])


def test_select_tells_who_can_be_read_and_who_written(handler: Handler) -> None:
    """Each is named that is ready, and nobody else."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"x")

        assert handler.select([ours, theirs], [], [], 30.0) == ([ours], [], [])
        assert handler.select([], [ours], [], 30.0) == ([], [ours], [])
