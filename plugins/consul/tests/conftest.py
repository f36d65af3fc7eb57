"""What the tests of this plugin share: plugin objects that are closed again."""

import contextlib
import datetime as dt
import itertools
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from enlist.info import Info
from enlist_consul.options import ConsulOptions
from enlist_consul.plugin import ConsulRegistry
from plugins.consul.tests.making import MakeInfo, MakePlugin


@pytest.fixture
def make_plugin() -> Iterator[MakePlugin]:
    """Make plugin objects, closed after the test; a busy machine does not let records die."""
    with contextlib.ExitStack() as stack:

        def make(address: str, **options: Any) -> ConsulRegistry:  # noqa: ANN401 - as above
            chosen = ConsulOptions(address=address, **{"ttl": dt.timedelta(seconds=30), **options})
            plugin = ConsulRegistry(chosen, secrets.token_hex(16))
            stack.callback(plugin.close)
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
