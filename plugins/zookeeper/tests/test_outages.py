"""Whole registries through outages of a real ZooKeeper, and two processes at one address."""

import datetime as dt
import subprocess
import sys
import threading
import time

from enlist.info import Info
from enlist.opening import open_registry
from enlist.registry import Registry
from enlist.states import State
from plugins.zookeeper.tests.making import MakeInfo, client_id, expire
from tests.servers.zookeeper import ZooKeeperServer
from tests.waiting import eventually

TTL_S = 6
LONG = dt.timedelta(seconds=60)

OTHER_PROCESS = """
import sys
from enlist.info import Info
from enlist.opening import open_registry
with open_registry(sys.argv[1]) as registry:
    registry.register(Info(service_name=sys.argv[2], addr=sys.argv[3], weight=99))
    print("registered", flush=True)
    sys.stdin.readline()
"""


def url(server: ZooKeeperServer) -> str:
    return f"zookeeper://{server.endpoint}?ttl={TTL_S}"


def open_zookeeper(server: ZooKeeperServer) -> Registry:
    registry = open_registry(url(server))
    assert isinstance(registry, Registry)
    return registry


def test_thousands_are_back_after_an_empty_restart(
    zookeeper_server: ZooKeeperServer, make_info: MakeInfo, name: str
) -> None:
    """ZooKeeper comes back with nothing, and soon has everything again, once."""
    infos = [make_info() for _ in range(3_000)]
    with open_zookeeper(zookeeper_server) as registry:
        registry.register_all(infos, timeout=LONG)
        zookeeper_server.kill()
        zookeeper_server.wipe()
        zookeeper_server.start()
        with open_zookeeper(zookeeper_server) as client:
            eventually(
                lambda: len(client.resolve(name, timeout=LONG)) == len(infos),
                within_s=2 * TTL_S / 3 + 10,
                why="all are back",
            )


def test_thousands_are_back_after_an_expired_session(
    zookeeper_server: ZooKeeperServer, make_info: MakeInfo, name: str
) -> None:
    """All that hung on the session is gone at once, and soon hangs on the next one."""
    infos = [make_info() for _ in range(3_000)]
    with open_zookeeper(zookeeper_server) as registry, open_zookeeper(zookeeper_server) as client:
        registry.register_all(infos, timeout=LONG)
        for _ in range(2):
            old = client_id(registry)
            expire(zookeeper_server, old)
            eventually(
                lambda: len(client.resolve(name, timeout=LONG)) == len(infos),
                within_s=2 * TTL_S / 3 + 10,
                why="all are back",
            )


def test_restart_with_its_data_is_no_absence(
    zookeeper_server: ZooKeeperServer, make_info: MakeInfo, name: str
) -> None:
    """A watcher never sees the instance missing."""
    info = make_info()
    seen: list[set[Info]] = []
    with open_zookeeper(zookeeper_server) as registry, open_zookeeper(zookeeper_server) as client:
        registry.register(info)
        session = client_id(registry)
        with client.resolver(name) as resolver:
            resolver.wait_for(1, timeout=dt.timedelta(seconds=10))
            forget = resolver.on_change(lambda snapshot: seen.append(set(snapshot.instances)))
            zookeeper_server.kill()
            eventually(lambda: resolver.stale, why="the outage is noticed")
            zookeeper_server.start()
            eventually(lambda: not resolver.stale, within_s=20, why="the outage is over")
            forget()
        eventually(
            lambda: registry.status()[0].state is State.ENLISTED,
            within_s=20,
            why="a beat was answered",
        )
        assert client_id(registry) == session
    assert seen  # it became stale, and then was not
    assert all(instances == {info} for instances in seen)


def test_frozen_server_is_noticed_and_forgiven(
    zookeeper_server: ZooKeeperServer, make_info: MakeInfo, name: str
) -> None:
    """A server that accepts and never answers makes the view stale, and nothing else."""
    info = make_info()
    with open_zookeeper(zookeeper_server) as registry, open_zookeeper(zookeeper_server) as client:
        registry.register(info)
        with client.resolver(name) as resolver:
            resolver.wait_for(1, timeout=dt.timedelta(seconds=10))
            zookeeper_server.freeze()
            eventually(lambda: resolver.stale, within_s=2 * TTL_S / 3 + 5, why="it is noticed")
            assert resolver.instances == (info,)
            zookeeper_server.thaw()
            eventually(lambda: not resolver.stale, within_s=30, why="it is over")
            eventually(
                lambda: resolver.instances == (info,) and not resolver.stale,
                within_s=30,
                why="the instance is there",
            )


def test_churn_of_a_thousand_ends_in_the_right_view(
    zookeeper_server: ZooKeeperServer, make_info: MakeInfo, name: str
) -> None:
    """A thousand instances come, change and go while a client follows."""
    infos = [make_info() for _ in range(1_000)]
    with open_zookeeper(zookeeper_server) as registry, open_zookeeper(zookeeper_server) as client:
        with client.resolver(name) as resolver:
            registry.register_all(infos, timeout=LONG)
            changed = [registry.update(info, weight=77) for info in infos[:200]]
            for info in infos[200:400]:
                registry.deregister(info)
            expected = {*changed, *infos[400:]}
            eventually(
                lambda: set(resolver.instances) == expected, within_s=20, why="the view is right"
            )
            assert not resolver.stale
        assert set(client.resolve(name, timeout=LONG)) == expected


def test_two_processes_at_one_address_do_not_fight(
    zookeeper_server: ZooKeeperServer, make_info: MakeInfo, name: str
) -> None:
    """The newer one holds the address; the older one has it back when the newer one leaves."""
    info = make_info()
    with open_zookeeper(zookeeper_server) as registry, open_zookeeper(zookeeper_server) as client:
        registry.register(info)
        arguments = [sys.executable, "-c", OTHER_PROCESS, url(zookeeper_server), name]
        with subprocess.Popen(
            [*arguments, str(info.addr)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other:
            assert other.stdout is not None
            assert other.stdin is not None
            assert other.stdout.readline() == "registered\n"
            eventually(
                lambda: registry.status()[0].state is State.SUPERSEDED,
                within_s=TTL_S + 5,
                why="the older one knows that it is superseded",
            )
            (found,) = client.resolve(name)
            assert found.weight == 99
            other.stdin.write("leave\n")
            other.stdin.flush()
            other.wait(20)
        eventually(
            lambda: client.resolve(name) == (info,), within_s=TTL_S + 5, why="the older one is back"
        )


def test_closing_a_registry_with_watches_is_quick_and_complete(
    zookeeper_server: ZooKeeperServer, make_info: MakeInfo, name: str
) -> None:
    """A thousand records are removed before the end, and no thread stays."""
    threads = threading.active_count()
    registry = open_zookeeper(zookeeper_server)
    registry.register_all([make_info() for _ in range(1_000)], timeout=LONG)
    view = registry.resolver(name)
    view.wait_for(1_000, timeout=LONG)

    began = time.monotonic()
    registry.close()

    assert time.monotonic() - began < 6.0
    assert threading.active_count() == threads
    with open_zookeeper(zookeeper_server) as client:
        assert client.resolve(name) == ()
