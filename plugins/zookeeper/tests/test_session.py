"""The session: how it begins, how it is lost, and that nothing of it is left."""

import datetime as dt
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from enlist.errors import TimedOutError, UnavailableError
from enlist_zookeeper.deadline import Deadline
from enlist_zookeeper.plugin import ZooKeeperRegistry
from plugins.zookeeper.tests.making import (
    CALL_S,
    Admin,
    MakeInfo,
    MakePlugin,
    expire,
    path_of,
    session_of,
)
from tests.servers.ports import claim_port
from tests.servers.proxy import Proxy
from tests.servers.zookeeper import ZooKeeperServer
from tests.waiting import eventually

SLACK_S = 1.5
"""What a busy machine may add."""


def test_nothing_connects_before_the_first_call(
    make_plugin: MakePlugin, make_proxy: Callable[[str], Proxy], zookeeper_server: ZooKeeperServer
) -> None:
    """Making and closing a plugin object that was never used opens nothing."""
    proxy = make_proxy(zookeeper_server.endpoint)
    threads = threading.active_count()

    plugin = make_plugin(proxy.endpoint)
    plugin.close(1.0)

    assert (proxy.accepted, threading.active_count()) == (0, threads)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_refused_connection_is_unavailable_at_once(make_plugin: MakePlugin, host: str) -> None:
    """Where nobody listens the error comes long before the time is up, and says who refused."""
    port = claim_port()
    endpoint = f"{host}:{port.number}"
    try:
        began = time.monotonic()
        with pytest.raises(UnavailableError, match=re.escape(f"{endpoint} was not reached")):
            make_plugin(endpoint).probe(10.0)
    finally:
        port.release()

    assert time.monotonic() - began < 5.0


def test_ipv6_member_is_reached(make_plugin: MakePlugin) -> None:
    """A bracketed host is connected to as what it is."""
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        listener.settimeout(10)
        plugin = make_plugin(f"[::1]:{listener.getsockname()[1]}")
        with pytest.raises(UnavailableError):
            plugin.probe(0.1)

        connection, _ = listener.accept()

        with connection:
            assert connection.recv(4) == b"\0\0\0\x2d"  # the length of ZooKeeper's greeting


def test_host_without_an_address_is_unavailable_in_time(make_plugin: MakePlugin) -> None:
    """A name that is not resolved costs no more than the timeout."""
    with pytest.raises(UnavailableError, match=r"no-such-host\.invalid"):
        make_plugin("no-such-host.invalid:2181").probe(1.0)


def test_frozen_server_costs_no_more_than_the_timeout(
    make_plugin: MakePlugin, zookeeper_server: ZooKeeperServer, make_info: MakeInfo
) -> None:
    """Connected or not, each call ends in time; what was sent is said to be of unknown outcome."""
    connected, new = (make_plugin(zookeeper_server.endpoint) for _ in range(2))
    connected.probe(CALL_S)
    zookeeper_server.freeze()

    for plugin, expected in ((connected, TimedOutError), (new, UnavailableError)):
        began = time.monotonic()
        with pytest.raises(expected):
            plugin.register(make_info(), 0.5)
        assert time.monotonic() - began < 0.5 + SLACK_S


def test_many_requests_in_an_outage_cost_no_more_than_the_timeout(
    make_plugin: MakePlugin, make_proxy: Callable[[str], Proxy], zookeeper_server: ZooKeeperServer
) -> None:
    """However many requests were about to be made when the line broke, the call ends in time."""
    proxy = make_proxy(zookeeper_server.endpoint)
    plugin = make_plugin(proxy.endpoint)
    plugin.probe(CALL_S)
    reader = plugin._client.reader(Deadline(1.0))
    link = plugin._session._link
    assert link is not None
    proxy.refuse()
    eventually(lambda: not link.kazoo.connected, why="the outage is noticed")

    began = time.monotonic()
    with pytest.raises(UnavailableError):
        list(reader.nodes([f"/nowhere/{number}" for number in range(5_000)]))
    assert time.monotonic() - began < 1.0 + SLACK_S

    proxy.restore()
    eventually(lambda: link.kazoo.connected, why="it is connected")
    plugin.probe(CALL_S)


@pytest.mark.parametrize("connected", [True, False])
def test_close_is_bounded_on_a_frozen_server(
    make_plugin: MakePlugin, zookeeper_server: ZooKeeperServer, *, connected: bool
) -> None:
    """The threads end, whether there was a session or only an attempt at one."""
    threads = threading.active_count()
    plugin = make_plugin(zookeeper_server.endpoint)
    if connected:
        plugin.probe(CALL_S)
    zookeeper_server.freeze()
    with pytest.raises(UnavailableError):
        plugin.probe(0.2)

    began = time.monotonic()
    plugin.close(0.4)

    assert time.monotonic() - began < 0.4 + SLACK_S
    assert threading.active_count() == threads


def test_close_ends_the_wait_of_another_thread(
    make_plugin: MakePlugin, zookeeper_server: ZooKeeperServer
) -> None:
    """A call that waits for a connection fails at once, long before the threads have ended."""
    zookeeper_server.freeze()
    plugin = make_plugin(zookeeper_server.endpoint, ttl=dt.timedelta(minutes=10))
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(plugin.probe, 20.0)
        eventually(lambda: plugin._session._link is not None, why="it connects")

        closing = pool.submit(plugin.close, 4.0)

        assert isinstance(waiting.exception(SLACK_S), UnavailableError)
        assert not closing.done()


@pytest.fixture
def full_listener() -> Iterator[str]:
    """A port that takes no more connections, so that one more hangs while it is being made."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        for filler in fillers:
            filler.close()


def test_close_is_bounded_while_a_connection_hangs(
    make_plugin: MakePlugin, full_listener: str
) -> None:
    """A host that swallows packets delays neither a call nor the end."""
    threads = threading.active_count()
    plugin = make_plugin(full_listener, ttl=dt.timedelta(minutes=10))
    with pytest.raises(UnavailableError):
        plugin.probe(0.3)

    began = time.monotonic()
    plugin.close(0.4)

    assert time.monotonic() - began < 0.4 + SLACK_S
    assert threading.active_count() == threads


def test_host_that_swallows_packets_gives_the_next_one_its_turn(
    make_plugin: MakePlugin, full_listener: str, zookeeper_server: ZooKeeperServer
) -> None:
    """Whichever member is tried first, a call is answered by the one that listens."""
    hosts = f"{full_listener},{zookeeper_server.endpoint}"
    for _ in range(6):  # kazoo tries them in any order
        plugin = make_plugin(hosts, ttl=dt.timedelta(seconds=3))
        plugin.probe(CALL_S)


def test_name_of_several_addresses_that_swallow_packets_gives_each_its_turn(
    make_plugin: MakePlugin,
    full_listener: str,
    zookeeper_server: ZooKeeperServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One name may stand for many members; trying all of them takes a third of the session."""
    addresses = [*[full_listener] * 5, zookeeper_server.endpoint]
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, int(port)))
        for host, _, port in (address.rpartition(":") for address in addresses)
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)
    monkeypatch.setattr("random.shuffle", lambda _: None)  # the one that answers comes last

    make_plugin("members.example:2181", ttl=dt.timedelta(seconds=6)).probe(CALL_S)


def test_silent_server_is_tried_anew_with_growing_patience(make_plugin: MakePlugin) -> None:
    """A connection that is never answered is given up long before the session would end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        plugin = make_plugin(f"127.0.0.1:{listener.getsockname()[1]}", ttl=dt.timedelta(seconds=6))
        with pytest.raises(UnavailableError):
            plugin.probe(0.1)
        link = plugin._session._link
        assert link is not None
        first = link.attempts.patience_s

        eventually(lambda: link.attempts.patience_s == 4 * first, within_s=5, why="two silences")

        with pytest.raises(UnavailableError, match="does not answer"):
            plugin.probe(0.1)


def test_close_ends_the_session_and_its_records_at_once(
    make_plugin: MakePlugin, zookeeper_server: ZooKeeperServer, admin: Admin, make_info: MakeInfo
) -> None:
    """What was not deregistered goes with the session, and later calls are refused."""
    plugin, info = make_plugin(zookeeper_server.endpoint), make_info()
    plugin.register(info, CALL_S)

    plugin.close(CALL_S)
    plugin.close(CALL_S)

    assert not admin.has(path_of(info))
    with pytest.raises(UnavailableError, match="closed"):
        plugin.probe(CALL_S)


def test_expired_session_is_replaced_and_nothing_written_by_itself(
    make_plugin: MakePlugin, zookeeper_server: ZooKeeperServer, admin: Admin, make_info: MakeInfo
) -> None:
    """After an expiry there is a new session without records, until the core restores them."""
    plugin, info = make_plugin(zookeeper_server.endpoint), make_info()
    plugin.register(info, CALL_S)
    old = session_of(plugin)

    expire(zookeeper_server, old)

    eventually(lambda: plugin._session.current_id not in (0, old[0]), why="a new session")
    assert not admin.has(path_of(info))
    assert [one.info for one in plugin.keep_alive([info], CALL_S).lost] == [info]
    assert plugin.restore([info], CALL_S) == []
    assert admin.get(path_of(info))[1].ephemeralOwner == session_of(plugin)[0]


def test_empty_server_is_entered_again(
    make_plugin: MakePlugin, zookeeper_server: ZooKeeperServer, make_info: MakeInfo
) -> None:
    """A server that lost its data refuses whoever saw them; within a call we are asked in anew."""
    plugin = make_plugin(zookeeper_server.endpoint, ttl=dt.timedelta(seconds=5))
    for _ in range(3):
        plugin.register(make_info(), CALL_S)

    zookeeper_server.restart(wipe=True)

    info = make_info()
    eventually(lambda: _registers(plugin, info), within_s=20, why="the server takes us")
    assert list(plugin.resolve(info.service_name, CALL_S)) == [info]


def _registers(plugin: ZooKeeperRegistry, info: object) -> bool:
    try:
        plugin.register(info, CALL_S)  # type: ignore[arg-type]  # an Info
    except UnavailableError:
        return False
    return True


def test_restarted_server_is_back_within_a_second_or_two(
    make_plugin: MakePlugin, make_proxy: Callable[[str], Proxy], zookeeper_server: ZooKeeperServer
) -> None:
    """However long the outage was, kazoo's pauses between attempts do not grow beyond a second."""
    proxy = make_proxy(zookeeper_server.endpoint)
    plugin = make_plugin(proxy.endpoint)
    plugin.probe(CALL_S)
    link = plugin._session._link
    assert link is not None
    proxy.refuse()
    eventually(lambda: link.attempts.rounds >= 8, within_s=30, why="kazoo has tried often")

    proxy.restore()
    began = time.monotonic()
    eventually(lambda: link.kazoo.connected, why="it is connected")

    assert time.monotonic() - began < 1.0 + SLACK_S


def test_dead_client_is_replaced(
    make_plugin: MakePlugin, zookeeper_server: ZooKeeperServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When kazoo's own thread has ended, by a bug or for good, the next call has a new one."""
    plugin = make_plugin(zookeeper_server.endpoint)
    plugin.probe(CALL_S)
    link = plugin._session._link
    assert link is not None

    with monkeypatch.context() as patch:
        patch.setattr(link.kazoo._connection, "_read_socket", _broken)
        with pytest.raises(UnavailableError):
            plugin.probe(2.0)
        eventually(lambda: link.attempts.ended, why="kazoo's thread has ended")

    plugin.probe(CALL_S)
    assert plugin._session._link is not link


def _broken(*_: object) -> None:
    raise RuntimeError("a bug")


FORKING_PROGRAM = """
import os, secrets, sys
from enlist.backend_options import parse_hosts
from enlist.info import Info
from enlist_zookeeper.options import ZooKeeperOptions
from enlist_zookeeper.plugin import ZooKeeperRegistry

plugin = ZooKeeperRegistry(ZooKeeperOptions(hosts=parse_hosts(sys.argv[1])), secrets.token_hex(16))
info = Info(service_name=sys.argv[2], addr="10.0.0.1:80")
plugin.register(info, 5.0)
session = plugin._session.current_id
busy = plugin._session._link.kazoo.handler.callback_queue.mutex
busy.acquire()  # as a thread of kazoo's may at any moment
child = os.fork()
if child == 0:
    sys.exit(0)
busy.release()
print(os.waitpid(child, 0)[1], plugin.keep_alive([info], 5.0).lost)
assert plugin._session.current_id == session
plugin.close(5.0)
"""


def test_forked_child_ends_at_once_and_the_parent_goes_on(
    zookeeper_server: ZooKeeperServer, name: str
) -> None:
    """A child that inherits the client and exits in the ordinary way waits for no lock of it."""
    command = [sys.executable, "-W", "ignore", "-c", FORKING_PROGRAM]
    ended = subprocess.run(
        [*command, zookeeper_server.endpoint, name],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    assert (ended.stdout, ended.stderr) == ("0 []\n", "")
