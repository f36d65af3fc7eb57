"""Watches on a real agent, and through connections that break."""

import http.server
import json
import threading
import time
from collections.abc import Callable
from email.message import Message
from http import HTTPStatus
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

import psutil
import pytest

from enlist.errors import TimedOutError, UnavailableError
from enlist.stopping import StopToken
from enlist_consul import watches
from enlist_consul.blocking import Allowance, next_index
from enlist_consul.client import MOST_CONNECTIONS
from enlist_consul.connection import Answer
from enlist_consul.listing import Listing
from plugins.consul.tests.making import CALL_S, MakeInfo, MakePlugin, silent_port
from tests.following import Follower
from tests.servers.consul import ConsulServer
from tests.servers.proxy import Proxy
from tests.waiting import eventually

STOP_S = 1.0  # the contract says 0.2 s; the rest is for a busy machine

MakeProxy = Callable[[str], Proxy]


def answer(index: str | None) -> Answer:
    headers = Message()
    if index is not None:
        headers["X-Consul-Index"] = index
    return Answer(200, headers, b"[]")


@pytest.mark.parametrize(
    "before, index, wanted",
    [(0, "7", 7), (7, "7", 7), (7, "9", 9), (9, "7", 0), (7, "0", 0), (0, "-1", 0), (7, None, 0)],
)
def test_index_that_goes_backwards_is_forgotten(
    before: int, index: str | None, wanted: int
) -> None:
    """As Consul's documentation asks: a restored server counts anew."""
    assert next_index(before, answer(index)) == wanted


def test_allowance_slows_only_who_asks_all_the_time() -> None:
    """A few answers in a row are asked for at once; in the long run there are ten a second."""
    allowance = Allowance(0.0)
    assert [allowance.take(0.0) for _ in range(20)] == [0.0] * 20
    waits = []
    now = 0.0
    for _ in range(50):
        waits.append(allowance.take(now))
        now += waits[-1]
    assert now == pytest.approx(5.0, abs=0.2)
    assert allowance.take(now + 60) == 0.0


@pytest.mark.parametrize("most", [100, 0])
def test_watch_sees_changes_with_and_without_a_connection_of_its_own(
    make_plugin: MakePlugin,
    consul_server: ConsulServer,
    make_info: MakeInfo,
    name: str,
    most: int,
) -> None:
    """Beyond max_watches a service is asked for, and nothing is missed."""
    plugin = make_plugin(consul_server.endpoint, max_watches=most)
    follower = Follower(plugin, name)
    assert follower.next() == []
    infos = [make_info(), make_info()]
    for info in infos:
        plugin.register(info, CALL_S)
    follower.until(infos)
    plugin.deregister(infos[0], CALL_S)
    follower.until(infos[1:])
    assert follower.end() < STOP_S
    assert follower.error is None


@pytest.mark.parametrize("state", ["stall", "swallow"])
def test_watch_of_a_silent_agent_ends_at_once(
    make_plugin: MakePlugin, consul_server: ConsulServer, make_proxy: MakeProxy, state: str
) -> None:
    """Neither a watch that waits nor one that has begun against silence holds its thread."""
    proxy = make_proxy(consul_server.endpoint)
    plugin = make_plugin(proxy.endpoint)
    waiting = Follower(plugin, "nobody")
    assert waiting.next() == []
    getattr(proxy, state)()
    begun = Follower(plugin, "nobody")
    eventually(lambda: proxy.accepted >= 2, why="the second one has connected")
    for follower in (waiting, begun):
        assert follower.end() < STOP_S
        assert follower.error is None


def test_watch_beyond_the_most_of_a_silent_agent_ends_at_once(
    make_plugin: MakePlugin, consul_server: ConsulServer, make_proxy: MakeProxy
) -> None:
    """What is asked for every now and then does not wait for its answer once it is stopped."""
    proxy = make_proxy(consul_server.endpoint)
    proxy.swallow()
    plugin = make_plugin(proxy.endpoint, max_watches=0)
    follower = Follower(plugin, "nobody")
    eventually(lambda: proxy.accepted, why="it has connected")
    assert follower.end() < STOP_S
    assert follower.error is None
    assert plugin._open().client.breaks == 0  # that it was stopped tells nothing of the agent


def test_watch_beyond_the_most_that_waits_for_its_turn_ends_at_once(
    make_plugin: MakePlugin, consul_server: ConsulServer
) -> None:
    """While calls use all connections it asks for nothing, and holds nobody up."""
    plugin = make_plugin(consul_server.endpoint, max_watches=0)
    turns = plugin._open().client._free
    for _ in range(MOST_CONNECTIONS):
        turns.acquire()
    follower = Follower(plugin, "nobody")
    eventually(lambda: follower.stop._callbacks, why="it has begun")
    assert follower.end() < STOP_S
    assert follower.error is None
    assert follower.lists.empty()


def test_watches_beyond_the_most_share_the_connections_of_calls(
    make_plugin: MakePlugin,
    consul_server: ConsulServer,
    make_proxy: MakeProxy,
    make_info: MakeInfo,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However often they ask, they make none of their own, and leave nothing to be ended."""
    monkeypatch.setattr(watches, "POLL_S", 0.5)
    writer, proxy = make_plugin(consul_server.endpoint), make_proxy(consul_server.endpoint)
    plugin = make_plugin(proxy.endpoint, max_watches=0)
    followers = [Follower(plugin, name) for _ in range(2 * MOST_CONNECTIONS)]
    infos = [make_info(), make_info()]
    for number, info in enumerate(infos, 1):
        writer.register(info, CALL_S)
        for follower in followers:
            follower.until(infos[:number])
            assert len(follower.stop._callbacks) == 1
    assert proxy.accepted <= MOST_CONNECTIONS
    plugin.probe(CALL_S)
    for follower in followers:
        assert follower.end() < STOP_S
        assert follower.error is None


def test_watch_that_cannot_connect_ends_at_once(make_plugin: MakePlugin) -> None:
    """A host that drops packets keeps nobody: the socket is shut while it connects."""
    with silent_port() as port:
        follower = Follower(make_plugin(f"127.0.0.1:{port}"), "nobody")
        eventually(lambda: _is_connecting(port), why="it connects")
        assert follower.end() < STOP_S
        assert follower.error is None


def _is_connecting(port: int) -> bool:
    """Return whether more than those that fill the queue are waiting for an answer."""
    waiting = [
        one
        for one in psutil.Process().net_connections("tcp4")
        if one.status == psutil.CONN_SYN_SENT and one.raddr and one.raddr.port == port
    ]
    return len(waiting) >= 2


def test_watch_whose_connection_is_cut_raises(
    make_plugin: MakePlugin, consul_server: ConsulServer, make_proxy: MakeProxy
) -> None:
    """It does not go on by itself: the core has to know, and begins anew."""
    proxy = make_proxy(consul_server.endpoint)
    follower = Follower(make_plugin(proxy.endpoint), "nobody")
    assert follower.next() == []
    proxy.cut()
    assert isinstance(follower.ended(), UnavailableError)


def test_watch_of_a_connection_that_died_in_silence_raises(
    make_plugin: MakePlugin,
    consul_server: ConsulServer,
    make_proxy: MakeProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Half-open connections end: an answer is later than asked for by so much, and no more."""
    monkeypatch.setattr(watches, "WAITS_S", (0.2, 0.3))
    monkeypatch.setattr(watches, "LIST_TIMEOUT_S", 1.0)
    proxy = make_proxy(consul_server.endpoint)
    follower = Follower(make_plugin(proxy.endpoint), "nobody")
    assert follower.next() == []
    proxy.swallow()
    began = time.monotonic()
    assert isinstance(follower.ended(), TimedOutError)
    assert time.monotonic() - began < 5


class Scripted(http.server.BaseHTTPRequestHandler):
    """Answers with the indexes of a script, one after another, and keeps what was asked."""

    protocol_version = "HTTP/1.1"
    indexes: ClassVar[list[str]] = []
    asked: ClassVar[list[dict[str, list[str]]]] = []
    ended: ClassVar[threading.Event]

    def do_GET(self) -> None:
        if not self.path.startswith("/v1/health"):
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self.asked.append(parse_qs(urlsplit(self.path).query))
        index = self.indexes.pop(0) if self.indexes else "4"
        if not self.indexes:
            self.ended.set()
        self.send_response(200)
        self.send_header("X-Consul-Index", index)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"[]")

    def log_message(self, *_: object) -> None:
        pass


def test_watch_asks_anew_when_the_index_goes_backwards(make_plugin: MakePlugin) -> None:
    """And otherwise for what comes after the last answer, each time for another while."""
    Scripted.indexes, Scripted.ended = ["7", "9", "3", "4", "4"], threading.Event()
    Scripted.asked.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Scripted) as server:
        server.daemon_threads = False
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        follower = Follower(make_plugin(f"127.0.0.1:{server.server_port}"), "nobody")
        assert Scripted.ended.wait(CALL_S)
        assert follower.end() < STOP_S
        server.shutdown()
        thread.join()
    first = Scripted.asked[:5]
    assert [query.get("index") for query in first] == [None, ["7"], ["9"], None, ["4"]]
    waits = [float(query["wait"][0].removesuffix("ms")) for query in first if "wait" in query]
    assert len(set(waits)) == len(waits) == 3
    assert all(40_000 <= wait <= 50_000 for wait in waits)


def test_watch_of_a_name_that_nobody_can_have_is_empty_and_ends(
    make_plugin: MakePlugin, consul_server: ConsulServer
) -> None:
    """What validate refuses cannot be found either, and costs no request."""
    plugin = make_plugin("127.0.0.1:1")
    assert plugin.resolve("a\u00a0b", CALL_S) == []
    follower = Follower(plugin, "a\u00a0b")
    assert follower.next() == []
    assert follower.end() < STOP_S


def listed(status: str, output: str = "") -> Answer:
    """Return the answer that lists one instance whose sign of life is in that state."""
    check = {"CheckID": "enlist:0:echo:10.0.0.1:80#idle", "Status": status, "Output": output}
    service = {
        "ID": "echo:10.0.0.1:80",
        "Service": "echo",
        "Address": "10.0.0.1",
        "Port": 80,
        "Weights": {"Passing": 1, "Warning": 0},
    }
    one = {"Node": {"Node": "n", "Address": "10.0.0.9"}, "Service": service, "Checks": [check]}
    return Answer(200, Message(), json.dumps([one]).encode())


def test_instance_that_a_restarted_agent_has_not_judged_is_held() -> None:
    """An agent takes what it loads for critical; whoever was there stays until a ttl tells."""
    listing = Listing("echo", hold_s=60)
    there = listing.fill(listed("warning"))
    assert [info.weight for info in there] == [0]
    assert listing.held_s() is None
    assert listing.fill(listed("critical")) == there
    assert 0 < (listing.held_s() or 0) <= 60
    assert listing.fill(listed("critical", "TTL expired")) == []
    assert listing.held_s() is None


def test_instance_is_not_held_for_longer_than_its_time_nor_if_it_was_not_there() -> None:
    """The catalogue may show the end of a ttl only minutes later."""
    assert Listing("echo", hold_s=60).fill(listed("critical")) == []
    listing = Listing("echo", hold_s=0)
    assert listing.fill(listed("warning"))
    assert listing.fill(listed("critical")) == []


def test_watch_that_was_stopped_before_it_began_yields_nothing(
    make_plugin: MakePlugin, consul_server: ConsulServer
) -> None:
    """A token that is set already ends it without an error."""
    stop = StopToken()
    stop.set()
    assert list(make_plugin(consul_server.endpoint).watch("nobody", stop)) == []
