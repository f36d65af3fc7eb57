"""Whole registries through outages of real agents, and of the servers behind one."""

import contextlib
import datetime as dt
from collections.abc import Callable
from http import HTTPStatus

import pytest

from enlist.errors import UnavailableError
from enlist.hookspecs import Why
from enlist.opening import open_registry
from enlist.registry import Registry
from plugins.consul.tests.making import CALL_S, MakeInfo, MakePlugin
from tests.servers.cluster import Cluster
from tests.servers.consul import ConsulServer
from tests.waiting import eventually

TTL_S = 15


def open_consul(server: ConsulServer) -> Registry:
    registry = open_registry(f"consul://{server.endpoint}?ttl={TTL_S}")
    assert isinstance(registry, Registry)
    return registry


def test_agent_that_forgets_everything_is_told_again(
    consul_dev_server: ConsulServer, make_info: MakeInfo, name: str
) -> None:
    """An agent in memory has lost hundreds of services; all are back without a call."""
    infos = [make_info() for _ in range(100)]
    with open_consul(consul_dev_server) as registry, open_consul(consul_dev_server) as client:
        registry.register_all(infos, timeout=dt.timedelta(seconds=20))
        consul_dev_server.kill()
        consul_dev_server.start()
        eventually(lambda: len(client.resolve(name)) == len(infos), within_s=30, why="all are back")


def test_service_that_is_removed_is_back(
    consul_server: ConsulServer, make_info: MakeInfo, name: str
) -> None:
    """Whether a reaper did it or somebody's clean-up, an interval later it is there again."""
    info = make_info()
    with open_consul(consul_server) as registry, open_consul(consul_server) as client:
        registry.register(info, timeout=dt.timedelta(seconds=CALL_S))
        consul_server.deregister(f"{name}:{info.addr}")
        eventually(lambda: client.resolve(name) == (info,), within_s=15, why="it is back")


def test_servers_without_a_leader_are_unavailable_and_lose_nothing(
    make_plugin: MakePlugin,
    consul_members: Cluster[ConsulServer],
    make_info: MakeInfo,
    name: str,
) -> None:
    """The agent goes on taking beats; what needs the catalogue fails until there is a leader."""
    server, agent = consul_members
    plugin = make_plugin(agent.endpoint, ttl=dt.timedelta(minutes=5))
    before, unnoticed, during = make_info(), make_info(), make_info()
    plugin.register(before, CALL_S)
    server.kill()
    # Nothing has shown yet that the servers are away; the agent may take it for them.
    with contextlib.suppress(UnavailableError):
        plugin.register(unnoticed, 3)
    calls: list[Callable[[], object]] = [
        lambda: plugin.resolve(name, 3),
        lambda: plugin.register(during, 3),
        lambda: plugin.probe(3),
        lambda: plugin.services(3),
    ]
    for call in calls:
        with pytest.raises(UnavailableError):
            call()
    # The agent itself lives, and so does what it holds.
    assert [plugin.keep_alive([before], CALL_S).lost for _ in range(2)] == [[], []]
    server.start()

    def found() -> object:
        try:
            return set(plugin.resolve(name, 3)) == {before, unnoticed, during}
        except UnavailableError:
            return False

    eventually(found, within_s=45, why="the catalogue has what the agent has")


def test_looks_of_the_keeper_notice_that_the_servers_are_away(
    make_plugin: MakePlugin, consul_members: Cluster[ConsulServer], make_info: MakeInfo
) -> None:
    """A register after such a look does not count as done unless readers see it."""
    server, agent = consul_members
    plugin = make_plugin(agent.endpoint, ttl=dt.timedelta(minutes=5))
    info = make_info()
    plugin.register(info, CALL_S)
    server.kill()
    assert [plugin.keep_alive([info], CALL_S).lost for _ in range(2)] == [[], []]
    with pytest.raises(UnavailableError):
        plugin.register(make_info(), 3)


def test_register_revives_what_an_agent_has_loaded_as_dead(
    make_plugin: MakePlugin, consul_server: ConsulServer, make_info: MakeInfo, name: str
) -> None:
    """An agent that starts with its data takes each check that was never beaten for critical."""
    plugin = make_plugin(consul_server.endpoint, ttl=dt.timedelta(minutes=5))
    infos = [make_info() for _ in range(3)]
    for info in infos:
        plugin.register(info, CALL_S)
    consul_server.kill()
    consul_server.start()
    eventually(lambda: plugin.resolve(name, CALL_S) == [], why="they count as dead")
    for info in infos:
        plugin.register(info, CALL_S)
        assert info in plugin.resolve(name, CALL_S)
    assert plugin.keep_alive(infos, CALL_S).lost == []


class Renamed(ConsulServer):
    """An agent whose machine has another name with each start, as that of a container."""

    starts = 0

    @property
    def node(self) -> str:
        """The name that it has now."""
        return f"{self.name}-{self.starts}"

    def _settings(self) -> dict[str, object]:
        self.starts += 1
        return {**super()._settings(), "node_name": self.node}

    def answers(self) -> bool:
        """Tell whether its servers have heard of it."""
        checks = self._request("GET", f"/v1/health/node/{self.node}")
        return checks.status == HTTPStatus.OK and bool(checks.json())


def test_agent_that_comes_back_under_another_name_is_recognised(
    make_plugin: MakePlugin, make_info: MakeInfo, name: str
) -> None:
    """What it lost is written again and seen there, and so is what the catalogue loses later."""
    infos = [make_info() for _ in range(20)]
    with Renamed("consul-renamed", dev=True) as server:
        plugin = make_plugin(server.endpoint)
        assert plugin.restore(infos, 20) == []
        server.kill()
        server.start()
        assert {one.why for one in plugin.keep_alive(infos, CALL_S).lost} == {Why.GONE}
        assert plugin.restore(infos, 20) == []
        assert set(plugin.resolve(name, CALL_S)) == set(infos)
        body = {"Node": server.node, "ServiceID": f"{name}:{infos[3].addr}"}
        server.call("PUT", "/v1/catalog/deregister", body)
        found = [one for _ in range(2) for one in plugin.keep_alive(infos, CALL_S).lost]
        assert [(one.info, one.why) for one in found] == [(infos[3], Why.GONE)]
