"""Whole registries through outages of a real etcd, and two processes at one address."""

import datetime as dt
import subprocess
import sys

from enlist.info import Info
from enlist.opening import open_registry
from enlist.registry import Registry
from enlist.states import State
from plugins.etcd.tests.making import MakeInfo, key_of, lease_of
from tests.servers.etcd import EtcdServer
from tests.waiting import eventually

TTL_S = 6

OTHER_PROCESS = """
import sys
from enlist.info import Info
from enlist.opening import open_registry
with open_registry(sys.argv[1]) as registry:
    registry.register(Info(service_name=sys.argv[2], addr=sys.argv[3], weight=99))
    print("registered", flush=True)
    sys.stdin.readline()
"""

AFTER_MAIN = """
import sys, threading
from datetime import timedelta
from enlist.info import Info
from enlist.opening import open_registry
registry = open_registry(sys.argv[1])
infos = [Info(service_name=sys.argv[2], addr=f"10.0.0.1:{1001 + n}") for n in range(300)]
registry.register_all(infos, timeout=timedelta(seconds=20))
def serve():
    threading.main_thread().join()
    print("serving", flush=True)
    sys.stdin.readline()
    registry.close()
threading.Thread(target=serve).start()
"""


def open_etcd(server: EtcdServer) -> Registry:
    registry = open_registry(url(server))
    assert isinstance(registry, Registry)
    return registry


def url(server: EtcdServer) -> str:
    return f"etcd://{server.endpoint}?ttl={TTL_S}"


def test_thousands_are_back_after_an_empty_restart(
    etcd_server: EtcdServer, make_info: MakeInfo, name: str
) -> None:
    """Etcd comes back with nothing, and within two intervals it has everything again."""
    infos = [make_info() for _ in range(3_000)]
    with open_etcd(etcd_server) as registry, open_etcd(etcd_server) as client:
        registry.register_all(infos, timeout=dt.timedelta(seconds=20))
        etcd_server.kill()
        etcd_server.wipe()
        etcd_server.start()
        eventually(
            lambda: len(client.resolve(name)) == len(infos),
            within_s=2 * TTL_S / 3 + 10,
            why="all are back",
        )


def test_restart_with_its_data_is_no_absence(
    etcd_server: EtcdServer, make_info: MakeInfo, name: str
) -> None:
    """A watcher never sees the instance missing."""
    info = make_info()
    seen: list[set[Info]] = []
    with open_etcd(etcd_server) as registry, open_etcd(etcd_server) as client:
        registry.register(info)
        with client.resolver(name) as resolver:
            resolver.wait_for(1, timeout=dt.timedelta(seconds=10))
            forget = resolver.on_change(lambda snapshot: seen.append(set(snapshot.instances)))
            etcd_server.kill()
            eventually(lambda: resolver.stale, why="the outage is noticed")
            etcd_server.start()
            eventually(lambda: not resolver.stale, within_s=20, why="the outage is over")
            forget()
    assert seen  # it became stale, and then was not
    assert all(instances == {info} for instances in seen)


def test_records_are_back_after_the_main_thread_has_ended(
    etcd_server: EtcdServer, name: str
) -> None:
    """A program whose threads go on keeps its records: one alone, and several batches of them."""
    arguments = [sys.executable, "-c", AFTER_MAIN, url(etcd_server), name]
    with (
        open_etcd(etcd_server) as client,
        subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other,
    ):

        def are_back() -> bool:
            return len(client.resolve(name)) == 300

        assert other.stdout is not None
        assert other.stdout.readline() == "serving\n"
        deleted, *_ = client.resolve(name)
        etcd_server.delete(key_of(deleted))
        eventually(are_back, within_s=TTL_S + 5, why="the one that was deleted is back")
        etcd_server.revoke(lease_of(etcd_server, deleted))
        eventually(are_back, within_s=TTL_S + 5, why="all are back")
        other.communicate("leave\n", timeout=20)
        assert other.returncode == 0


def test_two_processes_at_one_address_do_not_fight(
    etcd_server: EtcdServer, make_info: MakeInfo, name: str
) -> None:
    """The newer one holds the address; the older one has it back when the newer one leaves."""
    info = make_info()
    with open_etcd(etcd_server) as registry, open_etcd(etcd_server) as client:
        registry.register(info)
        arguments = [sys.executable, "-c", OTHER_PROCESS, url(etcd_server), name, str(info.addr)]
        with subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
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
