"""Which member is called, over which connection, and for how long: real servers, real faults."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from enlist.errors import TimedOutError, UnavailableError
from enlist_etcd.plugin import EtcdRegistry
from plugins.etcd.tests.making import CALL_S, MakeInfo, MakePlugin
from tests.following import Follower
from tests.servers.etcd import EtcdServer
from tests.servers.proxy import Proxy
from tests.waiting import eventually


@pytest.fixture
def proxy(make_proxy: Callable[[str], Proxy], etcd_server: EtcdServer) -> Proxy:
    return make_proxy(etcd_server.endpoint)


@pytest.fixture
def silent_endpoint() -> Iterator[str]:
    """Listens and never answers, as a frozen member."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def test_call_goes_to_the_first_endpoint_that_answers(
    make_plugin: MakePlugin, etcd_server: EtcdServer, silent_endpoint: str, make_info: MakeInfo
) -> None:
    """A dead and a frozen endpoint before it cost no more than their share of the time, once."""
    plugin = make_plugin(f"127.0.0.1:1,{silent_endpoint},{etcd_server.endpoint}")
    info = make_info()
    began = time.monotonic()
    plugin.register(info, CALL_S)
    assert time.monotonic() - began < CALL_S
    began = time.monotonic()
    assert plugin.resolve(info.service_name, CALL_S) == [info]
    assert time.monotonic() - began < 0.8  # the silent endpoint's share would be 1.5


def test_call_without_any_endpoint_names_one_and_takes_its_time(
    make_plugin: MakePlugin, silent_endpoint: str
) -> None:
    """If any endpoint kept silent nobody knows whether the call was carried out."""
    plugin = make_plugin(f"127.0.0.1:1,{silent_endpoint}")
    began = time.monotonic()
    with pytest.raises(TimedOutError, match=silent_endpoint):
        plugin.probe(0.6)
    assert time.monotonic() - began < 0.6 + 1.0


def test_call_that_is_refused_fails_at_once(make_plugin: MakePlugin) -> None:
    """A dead server does not use up the time that a frozen one may."""
    began = time.monotonic()
    with pytest.raises(UnavailableError, match="refused") as caught:
        make_plugin("127.0.0.1:1").probe(30.0)
    assert not isinstance(caught.value, TimedOutError)
    assert time.monotonic() - began < 5


def test_call_after_a_restart_needs_no_second_try(
    make_plugin: MakePlugin, etcd_server: EtcdServer, make_info: MakeInfo
) -> None:
    """A connection that broke between two calls is replaced within the next one."""
    plugin = make_plugin(etcd_server.endpoint)
    info = make_info()
    plugin.register(info, CALL_S)
    etcd_server.kill()
    etcd_server.start()
    assert plugin.resolve(info.service_name, CALL_S) == [info]


def test_call_after_an_outage_is_answered_at_once(
    make_plugin: MakePlugin, proxy: Proxy, make_info: MakeInfo
) -> None:
    """However long etcd was away, no wait between connects is in the way."""
    plugin = make_plugin(proxy.endpoint)
    plugin.probe(CALL_S)
    proxy.refuse()
    for _ in range(30):
        with pytest.raises(UnavailableError):
            plugin.probe(CALL_S)
    proxy.restore()
    plugin.probe(0.9)


def test_slow_connection_answers_within_the_time(
    make_plugin: MakePlugin, proxy: Proxy, make_info: MakeInfo
) -> None:
    """Half a second each way is slow and no error; less time than that is one."""
    plugin = make_plugin(proxy.endpoint)
    info = make_info()
    proxy.delay(0.25)
    plugin.register(info, 10.0)
    with pytest.raises(TimedOutError):
        plugin.probe(0.2)
    assert plugin.resolve(info.service_name, 10.0) == [info]
    assert proxy.accepted == 1  # one that is slow is not worth a new connection


def test_half_open_connection_is_replaced_after_two_silences(
    make_plugin: MakePlugin, proxy: Proxy, make_info: MakeInfo
) -> None:
    """The other end is gone without a word: the third call has a new connection."""
    plugin = make_plugin(proxy.endpoint)
    plugin.probe(CALL_S)
    proxy.swallow()
    for _ in range(2):
        with pytest.raises(TimedOutError):
            plugin.probe(0.3)
    assert proxy.accepted == 1
    proxy.restore()
    plugin.probe(CALL_S)
    assert proxy.accepted == 2


def test_calls_at_the_same_time_hear_one_silence(make_plugin: MakePlugin, proxy: Proxy) -> None:
    """However many threads wait for a busy server, that is no reason yet to connect anew."""
    plugin = make_plugin(proxy.endpoint)
    plugin.probe(CALL_S)
    proxy.swallow()
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(plugin.probe, 1.0) for _ in range(4)]
        assert all(isinstance(call.exception(), TimedOutError) for call in calls)
    with pytest.raises(TimedOutError):
        plugin.probe(0.3)
    assert proxy.accepted == 1  # that was the second silence, over the same connection
    proxy.restore()
    plugin.probe(CALL_S)
    assert proxy.accepted == 2


def test_many_threads_share_one_connection(
    make_plugin: MakePlugin, proxy: Proxy, make_info: MakeInfo
) -> None:
    """Also those that all come first."""
    plugin = make_plugin(proxy.endpoint)
    infos = [make_info() for _ in range(40)]
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda info: plugin.register(info, CALL_S), infos))
    assert len(plugin.resolve(infos[0].service_name, CALL_S)) == 40
    assert proxy.accepted == 1


def test_watch_moves_to_the_endpoint_that_answers(
    make_plugin: MakePlugin,
    proxy: Proxy,
    make_proxy: Callable[[str], Proxy],
    etcd_server: EtcdServer,
    make_info: MakeInfo,
    name: str,
) -> None:
    """When calls leave a silent member, no watch stays behind with it."""
    second = make_proxy(etcd_server.endpoint)
    plugin = make_plugin(f"{proxy.endpoint},{second.endpoint}")
    follower = Follower(plugin, name)
    assert follower.next() == []
    assert (proxy.connections, second.connections) == (1, 0)
    proxy.stall()
    plugin.probe(CALL_S)
    assert isinstance(follower.ended(), UnavailableError)
    follower = Follower(plugin, name)
    assert follower.next() == []
    info = make_info()
    plugin.register(info, CALL_S)
    follower.until([info])
    follower.end()
    assert second.connections == 1


def test_close_ends_the_calls_of_other_threads(
    make_plugin: MakePlugin, silent_endpoint: str
) -> None:
    """A call that waits for a frozen server does not outlive its registry."""
    plugin = make_plugin(silent_endpoint)
    errors: list[Exception] = []

    def call() -> None:
        try:
            plugin.probe(60.0)
        except UnavailableError as exc:
            errors.append(exc)

    thread = threading.Thread(target=call)
    thread.start()
    eventually(lambda: _in_use(plugin), why="the call is on its way")
    plugin.close(0.2)
    thread.join(10)
    assert len(errors) == 1


def _in_use(plugin: EtcdRegistry) -> bool:
    opened = plugin._open().client._connections._open
    return any(connection._users for connection in opened.values())


def test_ipv6_and_names_are_dialled(make_plugin: MakePlugin, etcd_server: EtcdServer) -> None:
    """A host name is looked up, an IPv6 address is taken as it is."""
    make_plugin(f"localhost:{etcd_server.port}").probe(CALL_S)
    with pytest.raises(UnavailableError, match=r"\[::1\]:1: .*refused"):
        make_plugin("[::1]:1").probe(CALL_S)
    with pytest.raises(UnavailableError, match="nowhere"):
        make_plugin("nowhere.invalid:1").probe(CALL_S)
