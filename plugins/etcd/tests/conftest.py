"""What the tests of this plugin share: plugin objects that are closed again."""

import contextlib
import itertools
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from enlist.backend_options import parse_hosts
from enlist.info import Info
from enlist_etcd.options import EtcdOptions
from enlist_etcd.plugin import EtcdRegistry
from plugins.etcd.tests.making import CALL_S, MakeInfo, MakePlugin


@pytest.fixture
def make_plugin() -> Iterator[MakePlugin]:
    """Make plugin objects, closed after the test."""
    with contextlib.ExitStack() as stack:

        def make(endpoints: str, **options: Any) -> EtcdRegistry:  # noqa: ANN401 - as above
            chosen = EtcdOptions(endpoints=parse_hosts(endpoints), **options)
            plugin = EtcdRegistry(chosen, secrets.token_hex(16))
            stack.callback(plugin.close, CALL_S)
            return plugin

        yield make


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
