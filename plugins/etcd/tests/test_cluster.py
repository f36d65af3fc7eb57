"""A cluster of three whose leader is killed and frozen while registrations and watchers live."""

import datetime as dt

import pytest

from enlist.errors import UnavailableError
from enlist.info import Info
from enlist.opening import open_registry
from enlist.registry import Registry
from enlist.states import State
from plugins.etcd.tests.making import MakePlugin
from tests.following import Follower
from tests.servers.cluster import Cluster
from tests.servers.etcd import EtcdServer
from tests.waiting import eventually

TTL_S = 8
WITHIN_S = 40.0
pytestmark = pytest.mark.timeout(150)


def test_watch_on_a_member_without_a_majority_ends(
    etcd_members: Cluster[EtcdServer], make_plugin: MakePlugin, name: str
) -> None:
    """A member that is cut off hears of no change, and says so rather than keep silent."""
    survivor, *others = [*etcd_members.followers(), etcd_members.leader()]
    plugin = make_plugin(survivor.endpoint)
    follower = Follower(plugin, name)
    assert follower.next() == []
    for other in others:
        other.freeze()
    assert isinstance(follower.ended(), UnavailableError)
    with pytest.raises(UnavailableError):
        plugin.probe(2.0)


def open_cluster(members: Cluster[EtcdServer]) -> Registry:
    # The leader first, so that losing it matters.
    ordered = [members.leader(), *members.followers()]
    hosts = ",".join(member.endpoint for member in ordered)
    registry = open_registry(f"etcd://{hosts}?ttl={TTL_S}", timeout=dt.timedelta(seconds=10))
    assert isinstance(registry, Registry)
    return registry


@pytest.mark.parametrize("fault", ["kill", "freeze"])
def test_losing_the_leader_loses_no_registration_and_no_watch(
    etcd_members: Cluster[EtcdServer], name: str, fault: str
) -> None:
    """Registrations stay, new ones are made, and a watcher sees both, without an error."""
    info, later = (Info(service_name=name, addr=f"10.0.0.1:{port}") for port in (80, 81))
    with open_cluster(etcd_members) as server, open_cluster(etcd_members) as client:
        server.register(info)
        with client.resolver(name) as resolver:
            resolver.wait_for(1, timeout=dt.timedelta(seconds=10))
            leader = etcd_members.leader()
            getattr(leader, fault)()
            server.register(later, timeout=dt.timedelta(seconds=WITHIN_S))
            eventually(
                lambda: set(resolver.instances) == {info, later} and not resolver.stale,
                within_s=WITHIN_S,
                why="the watcher sees both",
            )
            eventually(
                lambda: {status.state for status in server.status()} == {State.ENLISTED},
                within_s=WITHIN_S,
                why="both are known to be registered",
            )
            leader.recover()
            eventually(
                lambda: set(client.resolve(name)) == {info, later}, why="both are still there"
            )
