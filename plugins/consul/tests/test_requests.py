"""What goes over the wire: as few requests as promised, and in them no more than was chosen."""

import base64
import datetime as dt
import http.server
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import ClassVar

import pytest

from enlist.backend_options import Secret
from enlist.hookspecs import Why
from enlist_consul.operations import Request, beat, deregister, instances, service_and_checks
from enlist_consul.plugin import ConsulRegistry
from plugins.consul.tests.making import CALL_S, MakeInfo, MakePlugin
from tests.bench.taps import HttpTap
from tests.servers.consul import ConsulServer
from tests.servers.proxy import Proxy

REGISTER = "PUT /v1/agent/service/register"
BEAT = "PUT /v1/agent/check/pass"
WARN = "PUT /v1/agent/check/warn"
READ = "GET /v1/health/service"
LOOK = "GET /v1/agent/health/service"
COMPARE = "GET /v1/health/node"
OWNED = "GET /v1/agent/services"
KINDS = (REGISTER, BEAT, WARN, READ, LOOK, COMPARE, OWNED)


@pytest.fixture
def tap() -> HttpTap:
    return HttpTap()


@pytest.fixture
def tapped(consul_server: ConsulServer, tap: HttpTap) -> Iterator[Proxy]:
    with Proxy(consul_server.endpoint, tap=tap) as proxy:
        yield proxy


@pytest.fixture
def plugin(make_plugin: MakePlugin, tapped: Proxy) -> ConsulRegistry:
    return make_plugin(tapped.endpoint)


def requests(tap: HttpTap, call: Callable[[], object]) -> Counter[str]:
    """Return how many requests of each kind a call makes."""
    before = tap.counts.copy()
    call()
    return kinds(tap.counts - before)


def kinds(counts: Counter[str]) -> Counter[str]:
    """Return the counts without the names that stand in paths."""
    found: Counter[str] = Counter()
    for kind, count in counts.items():
        found[next(known for known in KINDS if kind.startswith(known))] += count
    return found


def test_register_is_one_put_after_the_first(
    plugin: ConsulRegistry, tap: HttpTap, make_info: MakeInfo, name: str
) -> None:
    """The first is read back; while nothing goes wrong, readers see the others without it."""
    infos = [make_info(weight=number % 2) for number in range(20)]
    assert set(requests(tap, lambda: plugin.register(infos[0], CALL_S))) == {REGISTER, READ}
    for number, info in enumerate(infos):
        changed = replace(info, weight=1 + number)
        assert requests(tap, partial(plugin.register, changed, CALL_S)) == {REGISTER: 1}
        assert changed in plugin.resolve(name, CALL_S)


def test_register_is_read_back_once_more_after_a_connection_has_broken(
    plugin: ConsulRegistry, tapped: Proxy, tap: HttpTap, make_info: MakeInfo
) -> None:
    """The agent may be another one by then, which takes what it has loaded for critical."""
    first, second = make_info(), make_info()
    plugin.register(first, CALL_S)
    plugin.register(second, CALL_S)
    tapped.cut()
    taken = requests(tap, lambda: plugin.register(first, CALL_S))
    assert (taken[BEAT], taken[READ]) == (1, 1)
    assert requests(tap, lambda: plugin.register(first, CALL_S)) == {REGISTER: 1}
    # Nothing has been heard of the second one since.
    assert requests(tap, lambda: plugin.register(second, CALL_S)) == {REGISTER: 1, BEAT: 1}


def test_register_is_read_back_once_more_when_the_last_look_is_old(
    make_plugin: MakePlugin, tapped: Proxy, tap: HttpTap, make_info: MakeInfo
) -> None:
    """What a look has shown counts for one ttl; until then a comparison of the keeper renews it."""
    plugin = make_plugin(tapped.endpoint, ttl=dt.timedelta(seconds=1))
    plugin.register(make_info(), CALL_S)
    threading.Event().wait(1.1)  # that nothing is heard for so long is what is tried
    assert set(requests(tap, lambda: plugin.register(make_info(), CALL_S))) == {REGISTER, READ}


def test_beat_is_one_request_and_a_round_has_one_look(
    plugin: ConsulRegistry, tap: HttpTap, make_info: MakeInfo
) -> None:
    """An instance without traffic is beaten as warning; the agent and its servers take turns."""
    infos = [make_info(weight=weight) for weight in (0, 1, 2)]
    for info in infos:
        plugin.register(info, CALL_S)
    taken = [requests(tap, lambda: plugin.keep_alive(infos, CALL_S)) for _ in range(2)]
    assert taken == [{BEAT: 2, WARN: 1, OWNED: 1}, {BEAT: 2, WARN: 1, COMPARE: 1}]


def test_beats_of_many_share_a_few_connections(
    plugin: ConsulRegistry, tapped: Proxy, make_info: MakeInfo
) -> None:
    """An agent accepts 200 connections from one host, however many services are kept there."""
    infos = [make_info() for _ in range(60)]
    assert plugin.restore(infos, 30) == []
    for _ in range(3):
        assert plugin.keep_alive(infos, CALL_S).lost == []
    assert tapped.accepted <= 5


def test_round_without_time_for_all_counts_what_was_answered(
    plugin: ConsulRegistry, tapped: Proxy, make_info: MakeInfo
) -> None:
    """A slow agent's answers are not thrown away, nor the connections that they came by."""
    infos, stray = [make_info() for _ in range(160)], make_info()
    assert plugin.restore(infos, 30) == []
    tapped.delay(0.1)  # so 40 beats, one after another, take 8 s on each connection
    # The last of those that are begun has a tenth of this for its fifth of a second.
    lost = {one.info: one.why for one in plugin.keep_alive([*infos, stray], 6.0).lost}
    tapped.delay(0.0)
    before = tapped.accepted
    assert lost.pop(stray) is Why.GONE
    assert set(lost.values()) == {Why.FAILED}
    assert 0 < len(lost) < len(infos)
    # Those that have waited longest come first.
    assert plugin.keep_alive(infos, 30).lost == []
    assert tapped.accepted == before


def test_register_sends_these_bytes(
    plugin: ConsulRegistry, tap: HttpTap, make_info: MakeInfo, name: str
) -> None:
    """This is Kitex's request, with a check and a tag of our own; a real agent takes it."""
    info = make_info(weight=0, tags={"zone": "a:1", "x:y": "z"}, payload_codec="thrift")
    plugin.register(info, CALL_S)
    sent = tap.newest[REGISTER]
    owner = plugin._owner
    blob = base64.urlsafe_b64encode(
        f'{{"v":1,"owner":"{owner}","codec":"thrift","tags":{{"x:y":"z"}}}}'.encode()
    )
    assert sent.path == "/v1/agent/service/register?replace-existing-checks=true"
    assert sent.body.decode() == (
        f'{{"ID":"{name}:10.0.0.1:8001","Name":"{name}","Address":"10.0.0.1","Port":8001,'
        f'"Tags":["zone:a:1","enlist.{blob.decode().rstrip("=")}"],'
        f'"Meta":{{"enlist_owner":"{owner}"}},"Weights":{{"Passing":1,"Warning":0}},'
        f'"Checks":[{{"CheckID":"enlist:{owner}:{name}:10.0.0.1:8001#idle","Name":"enlist",'
        '"TTL":"30s","Status":"warning","DeregisterCriticalServiceAfter":"60s"}]}'
    )
    assert plugin.resolve(name, CALL_S) == [info]


@pytest.mark.parametrize(
    "request_, method, target",
    [
        (
            deregister("a b:[::1]:80"),
            "PUT",
            "/v1/agent/service/deregister/a%20b%3A%5B%3A%3A1%5D%3A80",
        ),
        (
            beat("enlist:0:é#idle", warn=True),
            "PUT",
            "/v1/agent/check/warn/enlist%3A0%3A%C3%A9%23idle",
        ),
        (beat("enlist:0:a?b", warn=False), "PUT", "/v1/agent/check/pass/enlist%3A0%3Aa%3Fb"),
        (service_and_checks("a%b"), "GET", "/v1/agent/health/service/id/a%25b"),
        (instances("a&b"), "GET", "/v1/health/service/a%26b"),
        (
            instances("echo").waiting(7, 42.5),
            "GET",
            "/v1/health/service/echo?index=7&wait=42500ms",
        ),
    ],
)
def test_requests_are_these(request_: Request, method: str, target: str) -> None:
    """What a name may hold is quoted, so that it is never read as a path or a query."""
    query = f"?{request_.query}" if request_.query else ""
    assert (request_.method, request_.path + query) == (method, target)


def test_takeover_is_told_from_a_removal_by_one_read(
    plugin: ConsulRegistry,
    make_plugin: MakePlugin,
    consul_server: ConsulServer,
    tap: HttpTap,
    make_info: MakeInfo,
) -> None:
    """Both show as a check that the agent does not know."""
    other = make_plugin(consul_server.endpoint)
    taken_over, removed = make_info(), make_info()
    for info in (taken_over, removed):
        plugin.register(info, CALL_S)
    other.register(taken_over, CALL_S)
    other.register(removed, CALL_S)
    other.deregister(removed, CALL_S)
    for info, why in ((taken_over, Why.SUPERSEDED), (removed, Why.GONE)):
        before = tap.counts.copy()
        (lost,) = plugin.keep_alive([info], CALL_S).lost
        assert (lost.info, lost.why) == (info, why)
        taken = kinds(tap.counts - before)
        del taken[COMPARE], taken[OWNED]  # one of which is in each round
        assert taken == {BEAT: 1, LOOK: 1}
        # From now on the read alone tells whether that is still so.
        assert requests(tap, partial(plugin.keep_alive, [info], CALL_S))[BEAT] == 0


class Recorder(http.server.BaseHTTPRequestHandler):
    """Answers every request with an empty list, and keeps what was asked."""

    protocol_version = "HTTP/1.1"
    seen: ClassVar[list[tuple[str, dict[str, str]]]] = []

    def do_GET(self) -> None:
        self.seen.append((self.path, dict(self.headers.items())))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"[]")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def recorder() -> Iterator[str]:
    Recorder.seen.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Recorder) as server:
        server.daemon_threads = False
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_what_was_not_chosen_is_not_sent(make_plugin: MakePlugin, recorder: str) -> None:
    """An agent without Enterprise refuses a namespace, even an empty one."""
    plugin = make_plugin(recorder)
    plugin.resolve("echo", CALL_S)
    plugin.close()
    (path, headers), *_ = Recorder.seen  # what follows asks about the token
    assert path == "/v1/health/service/echo"
    assert not {"X-Consul-Token", "Authorization"} & set(headers)


def test_what_was_chosen_is_sent(make_plugin: MakePlugin, recorder: str) -> None:
    """Reads go to the chosen datacenter, every request to the namespace and the partition."""
    plugin = make_plugin(
        recorder,
        datacenter="dc 2",
        namespace="ns1",
        partition="p1",
        token=Secret("hush"),
        http_auth=Secret("me:é"),
    )
    plugin.resolve("echo", CALL_S)
    plugin.services(CALL_S)
    plugin.close()
    assert {path for path, _ in Recorder.seen} == {
        "/v1/acl/token/self?ns=ns1&partition=p1",
        "/v1/health/service/echo?ns=ns1&partition=p1&dc=dc+2",
        "/v1/catalog/services?ns=ns1&partition=p1&dc=dc+2",
    }
    assert {headers["X-Consul-Token"] for _, headers in Recorder.seen} == {"hush"}
    assert {headers["Authorization"] for _, headers in Recorder.seen} == {"Basic bWU6w6k="}
