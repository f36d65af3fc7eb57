"""Our records at a real agent: written, looked at, taken over and removed."""

import datetime as dt
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest

from enlist.errors import InvalidInfoError
from enlist.hookspecs import Why
from enlist.info import Info
from enlist_consul.connection import Answer
from enlist_consul.deadline import Deadline
from enlist_consul.operations import Request, service_and_checks
from enlist_consul.plugin import ConsulRegistry
from enlist_consul.records import check_id
from plugins.consul.tests.making import CALL_S, MakeInfo, MakePlugin, foreign, id_of
from tests.servers.consul import ConsulServer
from tests.waiting import eventually


@pytest.fixture
def plugin(make_plugin: MakePlugin, consul_server: ConsulServer) -> ConsulRegistry:
    return make_plugin(consul_server.endpoint)


@pytest.fixture
def other(make_plugin: MakePlugin, consul_server: ConsulServer) -> ConsulRegistry:
    return make_plugin(consul_server.endpoint)


def passing(server: ConsulServer, name: str) -> list[Any]:
    """Ask as Kitex's resolver does."""
    return list(server.call("GET", f"/v1/health/service/{quote(name, safe='')}?passing=1"))


def fail(server: ConsulServer, plugin: ConsulRegistry, info: Info) -> None:
    """Turn the check of a record critical, as if its process had died."""
    key = quote(check_id(info, plugin._owner), safe="")
    server.call("PUT", f"/v1/agent/check/fail/{key}?note=TTL%20expired")


def lost(beat_or_lost: Any) -> dict[Info, Why]:  # noqa: ANN401 - a Beat, or what restore returns
    found = getattr(beat_or_lost, "lost", beat_or_lost)
    return {one.info: one.why for one in found}


def test_register_shows_a_new_weight_to_plain_readers_at_once(
    plugin: ConsulRegistry, consul_server: ConsulServer, make_info: MakeInfo, name: str
) -> None:
    """From weight 0 to another and back, whoever asks for passing instances sees it so."""
    info = make_info(weight=5)
    plugin.register(info, CALL_S)
    assert len(passing(consul_server, name)) == 1
    plugin.register(replace(info, weight=0), CALL_S)
    assert not passing(consul_server, name)
    assert plugin.resolve(name, CALL_S) == [replace(info, weight=0)]
    assert not lost(plugin.keep_alive([replace(info, weight=0)], CALL_S))
    assert not passing(consul_server, name)
    plugin.register(info, CALL_S)
    eventually(lambda: len(passing(consul_server, name)) == 1, why="it is passing again")


def test_register_takes_a_record_of_kitex_over(
    plugin: ConsulRegistry, consul_server: ConsulServer, make_info: MakeInfo, name: str
) -> None:
    """One record stays, ours, and its older check is gone."""
    info = make_info(weight=3)
    consul_server.register(foreign(info))
    eventually(lambda: plugin.resolve(name, CALL_S) == [info], why="Kitex's record is read")
    plugin.register(info, CALL_S)
    (found,) = consul_server.instances(name)
    assert len([check for check in found["Checks"] if check["ServiceID"]]) == 1
    assert not lost(plugin.keep_alive([info], CALL_S))


def test_service_of_another_tool_is_read_sensibly(
    plugin: ConsulRegistry, consul_server: ConsulServer, name: str
) -> None:
    """Without an address it is at its node, without weights it has Consul's own, 1."""
    consul_server.register({"Name": name, "Port": 5432, "Tags": ["primary", "zone:a"]})
    wanted = Info(service_name=name, addr="127.0.0.1:5432", weight=1, tags={"zone": "a"})
    eventually(lambda: plugin.resolve(name, CALL_S) == [wanted], why="it is read")
    consul_server.deregister(name)


def test_register_revives_a_record_whose_time_was_over(
    make_plugin: MakePlugin, consul_server: ConsulServer, make_info: MakeInfo, name: str
) -> None:
    """A process that slept past its ttl is seen when register returns."""
    plugin, info = make_plugin(consul_server.endpoint, ttl=dt.timedelta(seconds=1)), make_info()
    plugin.register(info, CALL_S)
    eventually(lambda: plugin.resolve(name, CALL_S) == [], why="its time is over")
    plugin.register(info, CALL_S)
    assert plugin.resolve(name, CALL_S) == [info]


@pytest.mark.parametrize("weight", [3, 0])
def test_takeover_by_kitex_is_noticed_and_left_alone(
    make_plugin: MakePlugin,
    consul_server: ConsulServer,
    make_info: MakeInfo,
    name: str,
    weight: int,
) -> None:
    """Our check stays at a record that Kitex overwrites, and its beats succeed; two rounds tell.

    Then nothing of ours is there that could hide its server, or remove it once we are gone.
    """
    seldom = dt.timedelta(hours=1)
    plugin = make_plugin(consul_server.endpoint, check="tcp", check_interval=seldom)
    info, ours = make_info(addr="127.0.0.1:1", weight=weight), make_info(addr="127.0.0.1:2")
    for one in (info, ours):
        plugin.register(one, CALL_S)
    theirs = replace(info, weight=7)
    consul_server.register(foreign(theirs))
    rounds = [lost(plugin.keep_alive([info, ours], CALL_S)) for _ in range(2)]
    assert {info: Why.SUPERSEDED} in rounds
    assert checks_of(consul_server, info) == [f"service:{id_of(info)}"]
    assert lost(plugin.keep_alive([info, ours], CALL_S)) == {info: Why.SUPERSEDED}
    assert lost(plugin.restore([info], CALL_S)) == {info: Why.SUPERSEDED}
    eventually(
        lambda: set(plugin.resolve(name, CALL_S)) == {theirs, ours}, why="readers see Kitex's"
    )
    consul_server.deregister(id_of(info))
    assert lost(plugin.keep_alive([info, ours], CALL_S)) == {info: Why.GONE}
    assert lost(plugin.restore([info], CALL_S)) == {}


def test_register_beside_a_look_keeps_its_check(
    plugin: ConsulRegistry,
    consul_server: ConsulServer,
    make_info: MakeInfo,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The keeper has read that Kitex has the record with our check; a register takes it back."""
    info = make_info()
    plugin.register(info, CALL_S)
    consul_server.register(foreign(info))
    client, registering = plugin._open().client, [info]
    call, look = client.call, service_and_checks(id_of(info))

    def overtaken(request: Request, deadline: Deadline) -> Answer:
        answer = call(request, deadline)
        if request == look and registering:
            plugin.register(registering.pop(), CALL_S)
        return answer

    monkeypatch.setattr(client, "call", overtaken)
    for _ in range(2):
        plugin.keep_alive([info], CALL_S)
    assert not registering
    assert checks_of(consul_server, info) == [check_id(info, plugin._owner)]
    assert [lost(plugin.keep_alive([info], CALL_S)) for _ in range(2)] == [{}, {}]


@pytest.mark.parametrize("leave", ["deregister", "withdraw"])
def test_a_beat_that_learns_of_a_takeover_lets_nobody_remove_the_record(
    leave: str,
    plugin: ConsulRegistry,
    make_plugin: MakePlugin,
    consul_server: ConsulServer,
    make_info: MakeInfo,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It comes while whoever leaves looks whose the record is."""
    info = make_info()
    plugin.register(info, CALL_S)
    make_plugin(consul_server.endpoint).register(info, CALL_S)
    client, beating = plugin._open().client, [info]
    call, look = client.call, service_and_checks(id_of(info))

    def overtaken(request: Request, deadline: Deadline) -> Answer:
        answer = call(request, deadline)
        if request == look and beating:
            assert not plugin._open().store.beat(beating.pop(), deadline)
        return answer

    monkeypatch.setattr(client, "call", overtaken)
    if leave == "withdraw":
        assert plugin.withdraw([info], CALL_S) == []
    else:
        plugin.deregister(info, CALL_S)
    assert not beating
    assert plugin.resolve(info.service_name, CALL_S) == [info]


def checks_of(server: ConsulServer, info: Info) -> list[str]:
    """List the checks that the agent has of a record."""
    checks = server.call("GET", "/v1/agent/checks").values()
    return [check["CheckID"] for check in checks if check["ServiceID"] == id_of(info)]


@pytest.mark.parametrize("how", ["deregister", "withdraw"])
def test_leaving_a_record_that_kitex_has_taken_takes_our_check_along(
    plugin: ConsulRegistry, consul_server: ConsulServer, make_info: MakeInfo, how: str
) -> None:
    """The agent removes a service with any check that has been critical for long enough."""
    info = make_info()
    plugin.register(info, CALL_S)
    consul_server.register(foreign(info))
    if how == "deregister":
        plugin.deregister(info, CALL_S)
    else:
        assert plugin.withdraw([info], CALL_S) == []
    assert checks_of(consul_server, info) == [f"service:{id_of(info)}"]


def test_record_of_kitex_that_the_agent_has_not_called_yet_is_not_dead(
    plugin: ConsulRegistry, consul_server: ConsulServer, make_info: MakeInfo
) -> None:
    """A check without a state begins as critical, and ours that is critical is not Kitex's."""
    info = make_info()
    plugin.register(info, CALL_S)
    unjudged = {"HTTP": "http://127.0.0.1:1", "Interval": "1h"}
    consul_server.register(foreign(info, Check=unjudged))
    fail(consul_server, plugin, info)
    assert lost(plugin.restore([info], CALL_S)) == {info: Why.SUPERSEDED}


def test_restore_replaces_the_dead_and_leaves_the_living(
    plugin: ConsulRegistry,
    other: ConsulRegistry,
    consul_server: ConsulServer,
    make_info: MakeInfo,
) -> None:
    """A critical record stands in nobody's way; a live one stays, whoever wrote it."""
    dead, living, kitex, free = (make_info() for _ in range(4))
    for info in (dead, living):
        other.register(info, CALL_S)
    fail(consul_server, other, dead)
    consul_server.register(foreign(kitex))
    assert lost(plugin.restore([dead, living, kitex, free], CALL_S)) == {
        living: Why.SUPERSEDED,
        kitex: Why.SUPERSEDED,
    }
    assert lost(plugin.keep_alive([dead, living, free], CALL_S)) == {living: Why.SUPERSEDED}


def test_restore_of_many_looks_at_all_of_them_at_once(
    plugin: ConsulRegistry, other: ConsulRegistry, make_info: MakeInfo, name: str
) -> None:
    """Among many, too, another owner's record stays, and the rest is seen on return."""
    infos = [make_info(weight=number % 3) for number in range(40)]
    other.register(infos[7], CALL_S)
    assert lost(plugin.restore(infos, 30)) == {infos[7]: Why.SUPERSEDED}
    assert set(plugin.resolve(name, CALL_S)) == set(infos)
    assert plugin.withdraw(infos, 30) == []
    assert plugin.resolve(name, CALL_S) == [infos[7]]


def test_removal_from_the_catalogue_alone_is_noticed(
    plugin: ConsulRegistry,
    other: ConsulRegistry,
    consul_server: ConsulServer,
    make_info: MakeInfo,
    name: str,
) -> None:
    """The agent goes on taking beats for what its servers have lost; a look finds it.

    That another record has been taken over for good keeps nobody from looking.
    """
    info, taken_over = make_info(), make_info()
    plugin.register(info, CALL_S)
    plugin.register(taken_over, CALL_S)
    other.register(taken_over, CALL_S)
    body = {"Node": consul_server.name, "ServiceID": id_of(info)}
    consul_server.call("PUT", "/v1/catalog/deregister", body)
    eventually(lambda: plugin.resolve(name, CALL_S) == [taken_over], why="it was removed")
    beats = [lost(plugin.keep_alive([info, taken_over], CALL_S)) for _ in range(2)]
    assert {info: Why.GONE, taken_over: Why.SUPERSEDED} in beats
    assert lost(plugin.restore([info], CALL_S)) == {}
    assert set(plugin.resolve(name, CALL_S)) == {info, taken_over}


def test_record_that_another_has_taken_makes_no_other_seem_gone(
    plugin: ConsulRegistry, other: ConsulRegistry, make_info: MakeInfo
) -> None:
    """Not even while the agent's node is looked for, by the first of the records."""
    taken, ours = make_info(), make_info()
    for info in (taken, ours):
        plugin.register(info, CALL_S)
    other.register(taken, CALL_S)
    for _ in range(4):
        assert lost(plugin.keep_alive([taken, ours], CALL_S)) == {taken: Why.SUPERSEDED}
        plugin._open().store._catalog._node = None  # as after an answer that did not come in time


def test_removal_of_the_whole_node_is_noticed(
    make_plugin: MakePlugin, consul_dev_server: ConsulServer, make_info: MakeInfo, name: str
) -> None:
    """What the agent has is written again, though the catalogue does not know the agent any more.

    Afterwards nothing is missing, even while the node has no sign of life of its own yet.
    """
    plugin, infos = make_plugin(consul_dev_server.endpoint), [make_info() for _ in range(20)]
    assert lost(plugin.restore(infos, 20)) == {}
    consul_dev_server.call("PUT", "/v1/catalog/deregister", {"Node": consul_dev_server.name})
    eventually(lambda: plugin.resolve(name, CALL_S) == [], why="it was removed")
    rounds = [lost(plugin.keep_alive(infos, CALL_S)) for _ in range(2)]
    # A newer agent may tell its servers of some by itself when their checks are beaten.
    told = set(plugin.resolve(name, CALL_S))
    assert {info for each in rounds for info in each} >= set(infos) - told
    assert all(why is Why.GONE for each in rounds for why in each.values())
    assert lost(plugin.restore(infos, 20)) == {}
    assert set(plugin.resolve(name, CALL_S)) == set(infos)
    assert [lost(plugin.keep_alive(infos, CALL_S)) for _ in range(4)] == [{}] * 4


def test_removed_check_is_a_lost_record(
    plugin: ConsulRegistry, consul_server: ConsulServer, make_info: MakeInfo, name: str
) -> None:
    """Without its check a record would outlive its process."""
    info = make_info()
    plugin.register(info, CALL_S)
    key = quote(check_id(info, plugin._owner), safe="")
    consul_server.call("PUT", f"/v1/agent/check/deregister/{key}")
    assert lost(plugin.keep_alive([info], CALL_S)) == {info: Why.GONE}
    assert lost(plugin.restore([info], CALL_S)) == {}
    assert lost(plugin.keep_alive([info], CALL_S)) == {}


def test_service_in_maintenance_can_be_registered_and_is_not_shown(
    plugin: ConsulRegistry, consul_server: ConsulServer, make_info: MakeInfo, name: str
) -> None:
    """What an operator hides is hidden, and is no failure of register."""
    info = make_info()
    plugin.register(info, CALL_S)
    path = f"/v1/agent/service/maintenance/{quote(id_of(info), safe='')}?enable=true"
    consul_server.call("PUT", path)
    eventually(lambda: plugin.resolve(name, CALL_S) == [], why="it is hidden")
    assert not lost(plugin.keep_alive([info], CALL_S))


@pytest.mark.parametrize(
    "changed, field",
    [({"addr": "unix:/run/echo.sock"}, "addr"), ({"service_name": "a\u00a0b"}, "service_name")],
)
def test_validate_names_the_limit(
    plugin: ConsulRegistry, make_info: MakeInfo, changed: dict[str, str], field: str
) -> None:
    """What Consul cannot carry is refused before anything is written."""
    with pytest.raises(InvalidInfoError) as refusal:
        plugin.validate(make_info(**changed))
    assert refusal.value.field == field


def test_services_lists_names_as_they_were_written(
    plugin: ConsulRegistry, make_info: MakeInfo, name: str
) -> None:
    """Upper case is not lost, although Consul compares without it."""
    upper = name.upper()
    plugin.register(make_info(), CALL_S)
    plugin.register(make_info(service_name=upper), CALL_S)
    assert {name, upper} <= set(plugin.services(CALL_S))
