"""The backends with both sides at them, and the table of what was measured."""

import json
import socket
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop.building import build_peer
from tests.interop.table import MEASURED
from tests.interop.world import Peer, World

SERVERS = {
    "etcd": ("etcd_server", "etcd://{}?ttl=3s"),
    "zookeeper": ("zookeeper_server", "zookeeper://{}?ttl=3s"),
    "consul": ("consul_dev_server", "consul://{}?ttl=3s"),
}
_measured: dict[str, dict[str, str]] = {}


@pytest.fixture(scope="session")
def peer_program() -> Path:
    """Kitex's program, built from the sources of this checkout."""
    return build_peer()


@pytest.fixture(scope="session", params=SERVERS)
def world(request: pytest.FixtureRequest, peer_program: Path) -> World:
    """Each backend in turn."""
    fixture, url = SERVERS[request.param]
    server = request.getfixturevalue(fixture)
    peer = Peer(peer_program, request.param, server.endpoint)
    return World(request.param, url.format(server.endpoint), server, peer, peer_program)


@pytest.fixture
def service() -> str:
    """A service name that no other test has."""
    return f"interop-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def measured(world: World) -> Callable[[str, str], None]:
    """Note what a row of the table says of this backend; two tests must not disagree."""

    def note(row: str, value: str) -> None:
        assert _measured.setdefault(row, {}).setdefault(world.name, value) == value

    return note


@pytest.fixture
def listener() -> Iterator[str]:
    """The address of somebody who accepts, for checks that call it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def pytest_sessionfinish() -> None:
    """Keep what was measured for `python -m tests.interop.table`."""
    MEASURED.parent.mkdir(parents=True, exist_ok=True)
    MEASURED.write_text(json.dumps(_measured), encoding="utf-8")
