"""Three ZooKeepers: members die, freeze and elect a leader, and registrations outlive it."""

import datetime as dt
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from enlist.errors import UnavailableError
from enlist.info import Info
from enlist.opening import open_registry
from enlist.registry import Registry
from enlist_zookeeper.plugin import ZooKeeperRegistry
from plugins.zookeeper.tests.making import CALL_S, MakeInfo, MakePlugin
from tests.following import Follower
from tests.servers.cluster import Cluster
from tests.servers.zookeeper import ZooKeeperServer
from tests.waiting import eventually

TTL_S = 10

Ensemble = Cluster[ZooKeeperServer]


def hosts(ensemble: Ensemble) -> str:
    return ",".join(member.endpoint for member in ensemble)


def open_ensemble(ensemble: Ensemble) -> Registry:
    registry = open_registry(f"zookeeper://{hosts(ensemble)}?ttl={TTL_S}")
    assert isinstance(registry, Registry)
    return registry


def test_written_at_one_member_is_found_at_each(
    zookeeper_members: Ensemble, make_plugin: MakePlugin, make_info: MakeInfo, name: str
) -> None:
    """When register has returned no member shows an older list, however far it lags behind."""
    writer = make_plugin(zookeeper_members[0].endpoint)
    readers = [make_plugin(member.endpoint) for member in zookeeper_members]
    infos: list[Info] = []
    for _ in range(20):
        infos.append(make_info())
        writer.register(infos[-1], CALL_S)
        assert all(set(reader.resolve(name, CALL_S)) == set(infos) for reader in readers)


def resolved(plugin: ZooKeeperRegistry, name: str) -> set[Info]:
    return set(plugin.resolve(name, CALL_S))


def first_of_a_watch(plugin: ZooKeeperRegistry, name: str) -> set[Info]:
    follower = Follower(plugin, name)
    try:
        return set(follower.next())
    finally:
        follower.end()


@pytest.mark.parametrize("look", [resolved, first_of_a_watch])
def test_lagging_member_shows_no_older_list(
    zookeeper_members: Ensemble,
    make_plugin: MakePlugin,
    make_info: MakeInfo,
    name: str,
    look: Callable[[ZooKeeperRegistry, str], set[Info]],
) -> None:
    """A member that was behind when it was asked catches up before it answers."""
    leader = zookeeper_members.leader()
    behind = next(member for member in zookeeper_members if member is not leader)
    writer, reader = make_plugin(leader.endpoint), make_plugin(behind.endpoint)
    infos: list[Info] = []
    for _ in range(5):
        reader.probe(CALL_S)
        behind.freeze()
        infos += [make_info() for _ in range(50)]
        assert writer.restore(infos, CALL_S) == []
        with ThreadPoolExecutor(1) as pool:
            looking = pool.submit(look, reader, name)
            eventually(lambda: _is_asking(reader), why="the member was asked")
            behind.thaw()
            assert looking.result(20) == set(infos)


def _is_asking(plugin: ZooKeeperRegistry) -> bool:
    link = plugin._session._link
    assert link is not None
    return len(link.kazoo._pending) > 0


@pytest.mark.parametrize("harm", ["kill", "freeze"])
def test_registrations_outlive_the_leader(
    zookeeper_members: Ensemble, make_info: MakeInfo, name: str, harm: str
) -> None:
    """The leader dies or falls silent: nothing is lost, and new registrations are taken soon."""
    infos = [make_info() for _ in range(20)]
    with open_ensemble(zookeeper_members) as registry, open_ensemble(zookeeper_members) as client:
        registry.register_all(infos)
        with client.resolver(name) as resolver:
            resolver.wait_for(20, timeout=dt.timedelta(seconds=10))
            old = zookeeper_members.leader()

            getattr(old, harm)()

            eventually(
                lambda: zookeeper_members.leader() is not old, within_s=40, why="another one leads"
            )
            late = make_info()
            eventually(lambda: _registers(registry, late), within_s=20, why="it is taken")
            eventually(
                lambda: set(resolver.instances) == {*infos, late} and not resolver.stale,
                within_s=20,
                why="all are seen",
            )


def _registers(registry: Registry, info: Info) -> bool:
    try:
        registry.register(info, timeout=dt.timedelta(seconds=5))
    except UnavailableError:
        return False
    return True


def test_session_moves_from_a_dead_member_to_another(
    zookeeper_members: Ensemble, make_plugin: MakePlugin, make_info: MakeInfo
) -> None:
    """A client of a follower that dies keeps its session, and with it its records."""
    plugin = make_plugin(hosts(zookeeper_members))
    info = make_info()
    plugin.register(info, CALL_S)
    session = plugin._session.current_id
    server = _server_of(zookeeper_members, plugin)

    server.kill()

    eventually(lambda: _beats(plugin, info), within_s=30, why="another member answers")
    assert plugin._session.current_id == session


def _server_of(ensemble: Ensemble, plugin: ZooKeeperRegistry) -> ZooKeeperServer:
    wanted = f"sid={plugin._session.current_id:#x}"
    (found,) = (member for member in ensemble if wanted in member.four_letters("cons"))
    return found


def _beats(plugin: ZooKeeperRegistry, info: Info) -> bool:
    try:
        return plugin.keep_alive([info], CALL_S).lost == []
    except UnavailableError:
        return False


def test_registrations_are_back_after_the_ensemble_was_emptied(
    zookeeper_members: Ensemble, make_info: MakeInfo, name: str
) -> None:
    """All members come back with nothing; none of them takes our old session."""
    infos = [make_info() for _ in range(20)]
    with open_ensemble(zookeeper_members) as registry:
        registry.register_all(infos)

        zookeeper_members.restart(wipe=True)

        with open_ensemble(zookeeper_members) as client:
            eventually(
                lambda: set(client.resolve(name)) == set(infos), within_s=30, why="all are back"
            )
