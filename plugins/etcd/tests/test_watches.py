"""Watches on a real etcd: many on one stream, and each ends when it has to."""

import gc
import threading
import time
from collections.abc import Callable

import pytest

from enlist.errors import UnavailableError
from enlist.stopping import StopToken
from enlist_etcd.plugin import EtcdRegistry
from enlist_etcd.watches import Watch
from plugins.etcd.tests.making import CALL_S, PREFIX, MakeInfo, MakePlugin
from tests.following import Follower
from tests.servers.etcd import EtcdServer
from tests.servers.proxy import Proxy
from tests.waiting import eventually

STOP_S = 0.2
STREAM_THREAD = "enlist-etcd-watch"
ALL = f"{PREFIX}/".encode()


def stream_threads() -> int:
    """Count the threads that read streams."""
    return sum(thread.name == STREAM_THREAD for thread in threading.enumerate())


@pytest.fixture
def plugin(make_plugin: MakePlugin, etcd_server: EtcdServer) -> EtcdRegistry:
    return make_plugin(etcd_server.endpoint)


def test_watches_share_one_stream_and_the_last_one_closes_it(
    plugin: EtcdRegistry, name: str, make_info: MakeInfo
) -> None:
    """Two hundred watched services need one thread that reads; each hears of its own alone."""
    followers = [Follower(plugin, f"{name}-{number}") for number in range(200)]
    assert [follower.next() for follower in followers] == [[]] * 200
    assert stream_threads() == 1
    info = make_info(service_name=f"{name}-7")
    plugin.register(info, CALL_S)
    assert followers[7].next() == [info]
    assert all(follower.lists.empty() for follower in followers if follower is not followers[7])
    for follower in followers:
        follower.end()
    assert stream_threads() == 0


def test_idle_watches_cost_next_to_nothing(plugin: EtcdRegistry, name: str) -> None:
    """Two hundred of them stay far below 2 % of a core."""
    followers = [Follower(plugin, f"{name}-{number}") for number in range(200)]
    for follower in followers:
        follower.next()
    shares = [_share_of_a_core(followers[0].stop) for _ in range(4)]
    for follower in followers:
        follower.end()
    assert min(shares) < 0.02  # the first of them has the end of the beginning in it


def _share_of_a_core(stop: StopToken) -> float:
    began, spent = time.monotonic(), time.process_time()
    assert not stop.wait(1.5)  # nothing is to happen meanwhile
    return (time.process_time() - spent) / (time.monotonic() - began)


def test_watch_yields_nothing_for_a_record_that_says_the_same(
    plugin: EtcdRegistry, make_info: MakeInfo, name: str
) -> None:
    """A repeated write and a take-over with an equal Info are no change."""
    info, other = make_info(), make_info()
    plugin.register(info, CALL_S)
    follower = Follower(plugin, name)
    assert follower.next() == [info]
    plugin.register(info, CALL_S)
    plugin.register(other, CALL_S)
    assert follower.next() == [info, other]
    follower.end()


def test_watch_decodes_only_what_changed(
    plugin: EtcdRegistry, make_info: MakeInfo, name: str
) -> None:
    """In the list after a change all other Infos are the same objects as before."""
    infos = [make_info() for _ in range(500)]
    plugin.restore(infos, 10.0)
    follower = Follower(plugin, name)
    before = {info.addr: info for info in follower.next()}
    changed = make_info(addr=infos[3].addr, weight=99)
    plugin.register(changed, CALL_S)
    after = follower.next()
    follower.end()
    assert [info for info in after if info is not before[info.addr]] == [changed]
    assert len(after) == 500


def test_watch_coalesces_what_piled_up(
    plugin: EtcdRegistry, make_info: MakeInfo, name: str, etcd_server: EtcdServer
) -> None:
    """A reader that is slow gets the newest list, not each one in between."""
    stop = StopToken()
    lists = plugin.watch(name, stop)
    assert next(lists) == []
    info = make_info()
    for weight in range(100):
        plugin.register(make_info(addr=info.addr, weight=weight), CALL_S)
    last = make_info()
    plugin.register(last, CALL_S)
    seen = 0
    for infos in lists:
        seen += 1
        if last in infos:
            stop.set()
    assert seen < 50


@pytest.mark.parametrize("frozen", [False, True])
def test_watch_ends_soon_after_stop(
    plugin: EtcdRegistry, name: str, etcd_server: EtcdServer, *, frozen: bool
) -> None:
    """Within 200 ms of it, from a blocked state, also when etcd does not answer."""
    follower = Follower(plugin, name)
    follower.next()
    if frozen:
        etcd_server.freeze()
    assert follower.end() < STOP_S + 1.0  # what a busy machine may add
    assert follower.error is None
    assert stream_threads() == 0


def test_watch_that_waits_for_its_first_list_ends_soon_after_stop(
    plugin: EtcdRegistry, name: str, etcd_server: EtcdServer
) -> None:
    """The list itself is given up as well."""
    plugin.probe(CALL_S)
    etcd_server.freeze()
    follower = Follower(plugin, name)
    eventually(lambda: follower.stop._callbacks, why="the list has been asked for")
    assert follower.end() < STOP_S + 1.0
    assert follower.error is None


def test_watch_raises_when_etcd_is_killed(
    plugin: EtcdRegistry, name: str, etcd_server: EtcdServer
) -> None:
    """The core is told, rather than left with an old list."""
    follower = Follower(plugin, name)
    follower.next()
    etcd_server.kill()
    assert isinstance(follower.ended(), UnavailableError)


def test_watch_from_a_compacted_revision_raises(
    plugin: EtcdRegistry, make_info: MakeInfo, etcd_server: EtcdServer
) -> None:
    """Events that etcd has forgotten are not waited for; the core lists anew."""
    for weight in range(3):
        plugin.register(make_info(weight=weight), CALL_S)
    revision = int(etcd_server.call("kv/range", {"key": "YQ=="})["header"]["revision"])
    etcd_server.call("kv/compaction", {"revision": str(revision), "physical": True})
    with (
        plugin._open().watches.following(ALL, revision - 2, token="") as watch,
        pytest.raises(UnavailableError, match="compacted"),
    ):
        next(iter(watch))


def test_watch_lives_through_a_compaction(
    plugin: EtcdRegistry, make_info: MakeInfo, name: str, etcd_server: EtcdServer
) -> None:
    """One that has had all events needs none of the forgotten ones."""
    follower = Follower(plugin, name)
    follower.next()
    infos = [make_info(), make_info()]
    plugin.register(infos[0], CALL_S)
    follower.until(infos[:1])
    revision = etcd_server.call("kv/range", {"key": "YQ=="})["header"]["revision"]
    etcd_server.call("kv/compaction", {"revision": revision, "physical": True})
    plugin.register(infos[1], CALL_S)
    follower.until(infos)
    follower.end()


def test_watch_from_a_revision_that_etcd_does_not_have_yet_raises(plugin: EtcdRegistry) -> None:
    """An etcd that lost its data between list and watch would keep silent for ever."""
    with (
        plugin._open().watches.following(ALL, 10**12, token="") as watch,
        pytest.raises(UnavailableError, match="lost its data"),
    ):
        next(iter(watch))


def test_watch_keeps_no_second_copy_of_its_first_list(
    plugin: EtcdRegistry, name: str, make_info: MakeInfo
) -> None:
    """What ends the first call lives as long as the watch, and etcd's answer does not."""
    plugin.restore([make_info() for _ in range(10)], CALL_S)
    stop = StopToken()
    lists = plugin.watch(name, stop)
    assert len(next(lists)) == 10
    answers = plugin._open().client.classes["RangeResponse"]

    def kept() -> list[object]:
        gc.collect()
        return [one for one in gc.get_objects() if isinstance(one, answers) and len(one.kvs) == 10]

    eventually(lambda: not kept(), why="a thread of gRPC's has let go of it")
    stop.set()
    assert list(lists) == []


def test_watch_is_not_woken_by_progress(plugin: EtcdRegistry) -> None:
    """An answer that only says how far etcd is changes nothing, and the next change comes."""
    response = plugin._open().client.classes["WatchResponse"]
    progress, change = response(watch_id=7), response(watch_id=7)
    progress.header.revision = 9
    change.events.add().kv.key = b"k"
    watch = Watch(7, revision=1)
    for answer in (progress, change, progress):
        watch.deliver(answer)
    changes = iter(watch)
    assert next(changes) == {b"k": b""}
    watch.deliver(progress)
    watch.stop()
    assert list(changes) == []


def test_watch_over_a_half_open_connection_ends_once_another_one_answers(
    make_plugin: MakePlugin,
    make_proxy: Callable[[str], Proxy],
    etcd_server: EtcdServer,
    name: str,
) -> None:
    """A connection whose other end is gone without a word does not keep a watch silent."""
    proxy = make_proxy(etcd_server.endpoint)
    plugin = make_plugin(proxy.endpoint)
    follower = Follower(plugin, name)
    follower.next()
    proxy.swallow()
    for _ in range(2):  # one silence may be a busy server
        with pytest.raises(UnavailableError):
            plugin.probe(0.3)
    assert isinstance(follower.ended(), UnavailableError)


def test_close_ends_a_watch_on_a_frozen_etcd(
    make_plugin: MakePlugin, etcd_server: EtcdServer, name: str
) -> None:
    """Nothing that etcd does not do can keep a process from ending."""
    plugin = make_plugin(etcd_server.endpoint)
    follower = Follower(plugin, name)
    follower.next()
    etcd_server.freeze()
    began = time.monotonic()
    plugin.close(0.2)
    assert time.monotonic() - began < 3
    follower.ended()
    assert stream_threads() == 0
