"""What the tests of this plugin share: plugin objects and clients that are closed again."""

import contextlib
import itertools
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from enlist.info import Info
from enlist_zookeeper.plugin import ZooKeeperRegistry
from plugins.zookeeper.tests.making import CALL_S, Admin, MakeInfo, MakePlugin, options_for
from tests.servers.zookeeper import ZooKeeperServer


@pytest.fixture
def make_plugin() -> Iterator[MakePlugin]:
    """Make plugin objects, closed after the test."""
    with contextlib.ExitStack() as stack:

        def make(hosts: str, **options: Any) -> ZooKeeperRegistry:  # noqa: ANN401 - as above
            plugin = ZooKeeperRegistry(options_for(hosts, **options), secrets.token_hex(16))
            stack.callback(plugin.close, CALL_S)
            return plugin

        yield make


@pytest.fixture
def admin(zookeeper_server: ZooKeeperServer) -> Iterator[Admin]:
    """Somebody else's client of the lone server."""
    with Admin(zookeeper_server.endpoint) as client:
        yield client


@pytest.fixture
def name() -> str:
    """A service name that no other test uses."""
    return f"test-{secrets.token_hex(4)}"


@pytest.fixture
def make_info(name: str) -> MakeInfo:
    """Make Infos of the test's service, each at another address."""
    ports = itertools.count(8_001)

    def make(**fields: Any) -> Info:  # noqa: ANN401 - each field has its own type
        return Info(**{"service_name": name, "addr": f"10.0.0.1:{next(ports)}", **fields})

    return make
