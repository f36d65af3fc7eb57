"""The registry itself is killed and comes back empty, under clients that go on calling (V8)."""

from __future__ import annotations

import pytest

from enlist.opening import AnyRegistry, open_registry
from tests.lifecycle import SERVER_TAG, fleet, load
from tests.rpc_fleet import KINDS, Kind
from tests.servers.etcd import EtcdServer
from tests.waiting import eventually

pytestmark = pytest.mark.flaky(reruns=0)  # a second try would hide a lost call
DRAIN_S = 3.0  # half of the default; clients on a busy machine learn late
TTL_S = 10


def names_in(registry: AnyRegistry) -> set[str]:
    """The servers that the registry itself has now, without what a client holds."""
    return {(info.tags or {}).get(SERVER_TAG, "") for info in registry.resolve("echo")}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.timeout(180)
def test_emptied_registry_loses_no_call(etcd_server: EtcdServer, kind: Kind) -> None:
    """While etcd is away, and while it is empty, no call fails, nor in a restart after that."""
    place = f"etcd://{etcd_server.endpoint}?ttl={TTL_S}&prefix=lifecycle/{kind.name}"
    with (
        fleet(kind.command(place, DRAIN_S), place, 3) as servers,
        kind.client(place) as call,
        load(call) as calls,
    ):
        calls.reaches(servers.names)
        etcd_server.kill()
        calls.go_on()
        etcd_server.wipe()
        etcd_server.start()
        with open_registry(place) as registry:
            eventually(
                lambda: names_in(registry) == set(servers.names),
                within_s=30,
                why="all servers are back in the registry",
            )
        calls.go_on()
        servers.roll()
        calls.reaches(servers.names)
    calls.check(servers)
