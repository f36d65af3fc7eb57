"""Watches: what a follower is told, at what cost, and how it ends."""

import datetime as dt
import itertools
import threading
from collections.abc import Callable

import pytest

from enlist.errors import UnavailableError
from enlist.info import Info
from enlist_zookeeper.plugin import ZooKeeperRegistry
from plugins.zookeeper.tests.making import (
    CALL_S,
    Admin,
    MakeInfo,
    MakePlugin,
    path_of,
    session_of,
)
from tests.following import Follower
from tests.servers.proxy import Proxy
from tests.servers.zookeeper import ZooKeeperServer
from tests.waiting import eventually

STOP_S = 1.2  # the contract says 0.2 s; the rest is for a busy machine


@pytest.fixture
def plugin(make_plugin: MakePlugin, zookeeper_server: ZooKeeperServer) -> ZooKeeperRegistry:
    return make_plugin(zookeeper_server.endpoint)


@pytest.fixture
def other(make_plugin: MakePlugin, zookeeper_server: ZooKeeperServer) -> ZooKeeperRegistry:
    """Another process, as far as the server can tell."""
    return make_plugin(zookeeper_server.endpoint)


def test_watch_follows_every_kind_of_change(
    plugin: ZooKeeperRegistry, other: ZooKeeperRegistry, admin: Admin, make_info: MakeInfo
) -> None:
    """From a service that nobody knows to records that come, change, change hands and go."""
    first, second = make_info(), make_info()
    follower = Follower(plugin, first.service_name)
    assert list(follower.next()) == []
    other.register(first, CALL_S)
    follower.until([first])
    heavier = Info(service_name=first.service_name, addr=first.addr, weight=99)
    other.register(heavier, CALL_S)
    follower.until([heavier])
    plugin.register(first, CALL_S)
    follower.until([first])
    other.register(second, CALL_S)
    follower.until([first, second])
    admin.kazoo.set(path_of(second), b'{"Weight":3,"Tags":null}')
    follower.until([first, Info(service_name=second.service_name, addr=second.addr, weight=3)])
    plugin.deregister(first, CALL_S)
    admin.delete(path_of(second))
    follower.until([])
    follower.end()


def test_watch_follows_a_folder_that_goes_and_comes_back(
    plugin: ZooKeeperRegistry, other: ZooKeeperRegistry, admin: Admin, make_info: MakeInfo
) -> None:
    """Somebody who clears the tree by hand does not blind those who watch it."""
    info = make_info()
    other.register(info, CALL_S)
    follower = Follower(plugin, info.service_name)
    follower.until([info])
    for _ in range(3):
        admin.kazoo.delete(f"/{info.service_name}", recursive=True)
        follower.until([])
        other.register(info, CALL_S)
        follower.until([info])
    follower.end()


def test_watch_says_nothing_when_nothing_changes(
    plugin: ZooKeeperRegistry, other: ZooKeeperRegistry, admin: Admin, make_info: MakeInfo
) -> None:
    """A record written again as it was, a folder and a malformed record are no news."""
    info, last = make_info(), make_info()
    other.register(info, CALL_S)
    follower = Follower(plugin, info.service_name)
    follower.until([info])

    other.register(info, CALL_S)
    plugin.register(info, CALL_S)
    admin.put(f"/{info.service_name}/nested/10.0.0.1:80", b'{"Weight":1}')
    admin.put(f"/{info.service_name}/10.0.0.9:80", b"broken")
    other.register(last, CALL_S)

    assert set(follower.next()) == {info, last}
    follower.end()


def test_watch_reads_only_what_changed(
    plugin: ZooKeeperRegistry,
    other: ZooKeeperRegistry,
    zookeeper_server: ZooKeeperServer,
    make_info: MakeInfo,
) -> None:
    """One change among hundreds costs a few requests, not hundreds."""
    infos = [make_info() for _ in range(300)]
    assert other.restore(infos, CALL_S) == []
    follower = Follower(plugin, infos[0].service_name)
    follower.until(infos)
    before = packets_of(zookeeper_server, plugin)

    changed = Info(service_name=infos[0].service_name, addr=infos[0].addr, weight=99)
    other.register(changed, CALL_S)
    follower.until([changed, *infos[1:]])
    other.deregister(changed, CALL_S)
    follower.until(infos[1:])

    assert packets_of(zookeeper_server, plugin) - before <= 10
    follower.end()


def packets_of(server: ZooKeeperServer, plugin: ZooKeeperRegistry) -> int:
    """Count the packets that the server has had from the plugin's connection."""
    wanted = f"sid={session_of(plugin)[0]:#x}"
    (line,) = (line for line in server.four_letters("cons").splitlines() if wanted in line)
    return int(line.partition("recved=")[2].partition(",")[0])


def test_watch_of_a_thousand_ends_right_after_churn(
    plugin: ZooKeeperRegistry, other: ZooKeeperRegistry, make_info: MakeInfo
) -> None:
    """However fast they come and go, few lists are made of it, and the last is the truth.

    There are 3,200 changes, each of which might have made a list.
    """
    infos = [make_info() for _ in range(1_000)]
    assert other.restore(infos, 30) == []
    follower = Follower(plugin, infos[0].service_name)
    follower.until(infos)

    for _ in range(3):
        assert list(other.withdraw(infos[:500], 30)) == []
        assert other.restore(infos[:500], 30) == []
    last = [Info(service_name=info.service_name, addr=info.addr, weight=7) for info in infos[:100]]
    for info in last:
        other.register(info, CALL_S)
    assert list(other.withdraw(infos[900:], 30)) == []

    lists = itertools.takewhile(
        lambda found: set(found) != {*last, *infos[100:900]}, iter(follower.next, None)
    )
    assert len(list(lists)) < 320
    assert follower.lists.qsize() == 0
    follower.end()


def test_watches_share_the_session_s_threads(
    plugin: ZooKeeperRegistry, other: ZooKeeperRegistry, make_info: MakeInfo, name: str
) -> None:
    """Fifty watches add no thread to kazoo's three, and each hears of its own service only."""
    plugin.probe(CALL_S)
    other.probe(CALL_S)
    before = threading.active_count()
    followers = [Follower(plugin, f"{name}-{number}") for number in range(50)]
    assert [list(follower.next()) for follower in followers] == [[]] * 50

    assert threading.active_count() == before + len(followers)
    info = make_info(service_name=f"{name}-7")
    other.register(info, CALL_S)
    followers[7].until([info])
    assert sum(follower.lists.qsize() for follower in followers) == 0
    for follower in followers:
        follower.end()


def test_watches_do_not_pile_up_in_kazoo(
    plugin: ZooKeeperRegistry, other: ZooKeeperRegistry, make_info: MakeInfo
) -> None:
    """A watch that is opened again and again leaves one function for each node, not many."""
    info = make_info()
    other.register(info, CALL_S)
    for _ in range(20):
        follower = Follower(plugin, info.service_name)
        follower.until([info])
        follower.end()

    link = plugin._session._link
    assert link is not None
    kept = [*link.kazoo._data_watchers.values(), *link.kazoo._child_watchers.values()]
    assert {len(functions) for functions in kept} == {1}


@pytest.mark.parametrize("frozen", [False, True])
def test_watch_ends_at_once(
    plugin: ZooKeeperRegistry,
    zookeeper_server: ZooKeeperServer,
    make_info: MakeInfo,
    *,
    frozen: bool,
) -> None:
    """Waiting for a change or for an answer, it ends when told to."""
    info = make_info()
    plugin.register(info, CALL_S)
    follower = Follower(plugin, info.service_name)
    follower.until([info])
    if frozen:
        zookeeper_server.freeze()
        watch = next(iter(plugin._watches._watches[f"/{info.service_name}"]))
        watch.note(None)
        eventually(lambda: watch._awaited is not None, why="it waits for an answer")

    assert follower.end() < STOP_S
    assert follower.error is None


def test_watch_ends_at_once_while_connecting(
    make_plugin: MakePlugin, zookeeper_server: ZooKeeperServer, name: str
) -> None:
    """Also while there is no connection yet, since the server does not answer."""
    zookeeper_server.freeze()
    plugin = make_plugin(zookeeper_server.endpoint)
    follower = Follower(plugin, name)
    eventually(lambda: plugin._session._link is not None, why="it connects")

    assert follower.end() < STOP_S
    assert follower.error is None


def test_watch_of_a_name_that_cannot_be_is_empty(
    plugin: ZooKeeperRegistry,
) -> None:
    """Nobody can be registered there, which is an empty list and no error."""
    for service_name in ("echo-\U0001f388", "zookeeper"):
        assert list(plugin.resolve(service_name, CALL_S)) == []
        follower = Follower(plugin, service_name)
        assert list(follower.next()) == []
        assert follower.end() < STOP_S


def test_watch_raises_when_the_connection_is_lost(
    make_plugin: MakePlugin,
    zookeeper_server: ZooKeeperServer,
    make_proxy: Callable[[str], Proxy],
    make_info: MakeInfo,
) -> None:
    """It does not go on by itself; opened anew it begins with what is there now."""
    proxy = make_proxy(zookeeper_server.endpoint)
    plugin = make_plugin(proxy.endpoint)
    info = make_info()
    follower = Follower(plugin, info.service_name)
    assert list(follower.next()) == []

    proxy.cut()

    assert isinstance(follower.ended(), UnavailableError)
    eventually(lambda: _registers(plugin, info), why="the connection is back")
    again = Follower(plugin, info.service_name)
    assert list(again.next()) == [info]
    again.end()


def test_watch_opened_during_an_outage_is_not_lost_with_the_old_session(
    make_plugin: MakePlugin, zookeeper_server: ZooKeeperServer, make_info: MakeInfo, name: str
) -> None:
    """It waits for the connection, whatever becomes of the session meanwhile, and then follows."""
    plugin = make_plugin(zookeeper_server.endpoint, ttl=dt.timedelta(seconds=8))
    plugin.register(make_info(), CALL_S)
    zookeeper_server.kill()
    zookeeper_server.wipe()
    link = plugin._session._link
    assert link is not None
    eventually(lambda: not link.kazoo.connected, why="the outage is noticed")
    zookeeper_server.spawn()
    eventually(lambda: link.attempts._refused_at is not None, within_s=30, why="we are refused")

    follower = Follower(plugin, name)
    assert list(follower.next()) == []

    info = make_info()
    plugin.register(info, CALL_S)
    follower.until([info])
    follower.end()


def _registers(plugin: ZooKeeperRegistry, info: Info) -> bool:
    try:
        plugin.register(info, CALL_S)
    except UnavailableError:
        return False
    return True
