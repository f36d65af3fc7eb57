"""Whole registries through outages of real agents, and of the servers behind one."""

import datetime as dt
from collections.abc import Callable

import pytest

from enlist.errors import UnavailableError
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
    before, during = make_info(), make_info()
    plugin.register(before, CALL_S)
    server.kill()
    calls: list[Callable[[], object]] = [
        lambda: plugin.register(during, 3),
        lambda: plugin.resolve(name, 3),
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
            return set(plugin.resolve(name, 3)) == {before, during}
        except UnavailableError:
            return False

    eventually(found, within_s=45, why="the catalogue has what the agent has")
