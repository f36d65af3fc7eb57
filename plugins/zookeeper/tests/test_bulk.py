"""Many records at a time while others write too, or the line breaks in the middle."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from enlist.errors import UnavailableError
from enlist.hookspecs import Lost, Why
from enlist.info import Info
from enlist_zookeeper.client import Change
from enlist_zookeeper.deadline import Deadline
from enlist_zookeeper.plugin import ZooKeeperRegistry
from plugins.zookeeper.tests.making import CALL_S, Admin, MakeInfo, MakePlugin, path_of, session_of
from tests.servers.proxy import Proxy
from tests.servers.zookeeper import ZooKeeperServer
from tests.waiting import eventually


@pytest.fixture
def plugin(make_plugin: MakePlugin, zookeeper_server: ZooKeeperServer) -> ZooKeeperRegistry:
    return make_plugin(zookeeper_server.endpoint)


@pytest.fixture
def other(make_plugin: MakePlugin, zookeeper_server: ZooKeeperServer) -> ZooKeeperRegistry:
    """Another process, as far as the server can tell."""
    return make_plugin(zookeeper_server.endpoint)


def test_two_who_register_at_once_leave_one_record(
    plugin: ZooKeeperRegistry, other: ZooKeeperRegistry, admin: Admin, make_info: MakeInfo
) -> None:
    """Whoever loses a race looks again: neither fails, and the record is one of theirs."""
    for _ in range(30):
        info = make_info()
        start = threading.Barrier(2)
        register = partial(_register, info=info, start=start)
        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(register, (plugin, other))) == [None, None]
        owners = {session_of(one)[0] for one in (plugin, other)}
        assert admin.get(path_of(info))[1].ephemeralOwner in owners


def _register(plugin: ZooKeeperRegistry, info: Info, start: threading.Barrier) -> None:
    start.wait(10)
    plugin.register(info, CALL_S)


Act = Callable[[ZooKeeperRegistry, Info], object]


def restored(plugin: ZooKeeperRegistry, info: Info) -> None:
    assert [one.why for one in plugin.restore([info], CALL_S)] == [Why.SUPERSEDED]


def deregistered(plugin: ZooKeeperRegistry, info: Info) -> None:
    plugin.deregister(info, CALL_S)


def withdrawn(plugin: ZooKeeperRegistry, info: Info) -> None:
    assert list(plugin.withdraw([info], CALL_S)) == []


@pytest.fixture
def overtaken(
    plugin: ZooKeeperRegistry, other: ZooKeeperRegistry, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[Info]]:
    """Have the other one register each of these just before the plugin replaces or removes it."""
    infos: list[Info] = []
    begin = plugin._client.begin

    def late(changes: Iterable[Change], deadline: Deadline) -> object:
        changes = list(changes)
        if infos and changes[0].version is not None:
            other.register(infos.pop(), CALL_S)
        return begin(changes, deadline)

    monkeypatch.setattr(plugin._client, "begin", late)
    yield infos
    assert infos == []


@pytest.mark.parametrize("act", [restored, deregistered, withdrawn])
@pytest.mark.parametrize("takers", ["ours", "theirs ours", "ours theirs ours"])
def test_record_taken_over_before_the_last_step_stays(
    plugin: ZooKeeperRegistry,
    other: ZooKeeperRegistry,
    overtaken: list[Info],
    make_info: MakeInfo,
    act: Act,
    takers: str,
) -> None:
    """What was ours when we looked, and another's when we write or remove, is not touched."""
    info = make_info()
    for taker in takers.split():
        {"ours": plugin, "theirs": other}[taker].register(info, CALL_S)
    overtaken.append(info)

    act(plugin, info)

    assert other.keep_alive([info], CALL_S).lost == []


def test_restore_and_removal_by_hand_at_once_lose_nothing(
    plugin: ZooKeeperRegistry, admin: Admin, make_info: MakeInfo
) -> None:
    """Records that vanish while they are repaired are written, or told to be missing."""
    infos = [make_info() for _ in range(400)]
    assert plugin.restore(infos, CALL_S) == []
    ended = threading.Event()

    def delete() -> None:
        while not ended.is_set():
            for info in infos[::40]:
                admin.delete(path_of(info))

    deleter = threading.Thread(target=delete)
    deleter.start()
    try:
        for _ in range(5):
            lost = plugin.restore(infos, 20)
            assert {one.why for one in lost} <= {Why.GONE, Why.FAILED}
            assert {one.info for one in lost} <= set(infos[::40])
    finally:
        ended.set()
        deleter.join(10)

    assert plugin.restore(infos, CALL_S) == []
    assert plugin.keep_alive(infos, CALL_S).lost == []


def test_restore_that_is_cut_off_says_what_was_not_written(
    make_plugin: MakePlugin,
    zookeeper_server: ZooKeeperServer,
    make_proxy: Callable[[str], Proxy],
    admin: Admin,
    make_info: MakeInfo,
    name: str,
) -> None:
    """What is not reported is there; where nothing is known to be written it raises."""
    proxy = make_proxy(zookeeper_server.endpoint)
    plugin = make_plugin(proxy.endpoint)
    infos = [make_info() for _ in range(4_000)]
    plugin.register(infos[0], CALL_S)
    proxy.delay(0.05)

    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(plugin.restore, infos, 20)
        eventually(lambda: len(admin.kazoo.get_children(f"/{name}")) > 300, why="it has begun")
        proxy.refuse()
        lost = _outcome(partial(pending.result, 30), infos)

    there = set(admin.kazoo.get_children(f"/{name}"))
    assert len(there) < len(infos)
    reported = {one.info for one in lost}
    assert {str(info.addr) for info in infos if info not in reported} <= there


def _outcome(call: Callable[[], Sequence[Lost]], infos: list[Info]) -> Sequence[Lost]:
    """Return what was reported; everything where it raised."""
    try:
        return call()
    except UnavailableError as exc:
        return [Lost(info, Why.FAILED, exc) for info in infos]


def test_withdraw_that_is_cut_off_says_what_may_remain(
    make_plugin: MakePlugin,
    zookeeper_server: ZooKeeperServer,
    make_proxy: Callable[[str], Proxy],
    admin: Admin,
    make_info: MakeInfo,
    name: str,
) -> None:
    """Whatever it does not report is gone."""
    proxy = make_proxy(zookeeper_server.endpoint)
    plugin = make_plugin(proxy.endpoint)
    infos = [make_info() for _ in range(4_000)]
    assert plugin.restore(infos, 20) == []
    proxy.delay(0.05)

    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(plugin.withdraw, infos, 20)
        eventually(
            lambda: len(admin.kazoo.get_children(f"/{name}")) < len(infos), why="it has begun"
        )
        proxy.refuse()
        try:
            remaining = set(pending.result(30))
        except UnavailableError:
            remaining = set(infos)

    there = set(admin.kazoo.get_children(f"/{name}"))
    assert there <= {str(info.addr) for info in remaining}
