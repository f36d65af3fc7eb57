"""The checks of our records at a real agent, and what it does to the dead."""

import datetime as dt
import http.server
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any, ClassVar, Final

import grpc  # noqa: TID253 - the agent's checks call a gRPC server
import pytest

from enlist.hookspecs import Why
from enlist.info import Info
from enlist_consul.plugin import ConsulRegistry
from plugins.consul.tests.making import CALL_S, MakeInfo, MakePlugin, id_of
from tests.servers.consul import ConsulServer
from tests.waiting import eventually

SECOND = dt.timedelta(seconds=1)
WITHIN_S = 30.0
REAPED_WITHIN_S = 150.0


def lost(found: Any) -> dict[Info, Why]:  # noqa: ANN401 - of a Beat, or what restore returns
    return {one.info: one.why for one in getattr(found, "lost", found)}


def awaits(plugin: ConsulRegistry, name: str, wanted: list[Info], why: str) -> None:
    eventually(lambda: plugin.resolve(name, CALL_S) == wanted, within_s=WITHIN_S, why=why)


def state_of(server: ConsulServer, kind: str, info: Info) -> tuple[str, str]:
    """Return the state and the output of the check of that kind."""
    checks = server.call("GET", "/v1/agent/checks").values()
    (found,) = [
        check
        for check in checks
        if check["ServiceID"] == id_of(info) and check["CheckID"].startswith(f"enlist-{kind}:")
    ]
    return found["Status"], found["Output"]


def test_tcp_check_hides_and_gives_nothing_away(
    make_plugin: MakePlugin, consul_server: ConsulServer, name: str
) -> None:
    """An instance whose port is closed is not shown, stays its owner's, and can be changed."""
    strict = make_plugin(consul_server.endpoint, check="tcp", check_interval=SECOND)
    other = make_plugin(consul_server.endpoint)
    info = Info(service_name=name, addr="127.0.0.1:1")  # nobody listens there
    strict.register(info, CALL_S)
    awaits(strict, name, [], "the agent has called the port")
    assert not lost(strict.keep_alive([info], CALL_S))
    assert lost(other.restore([info], CALL_S)) == {info: Why.SUPERSEDED}
    # What the agent hides is no failure of ours: neither where it is read back, nor where not.
    assert lost(strict.restore([info], CALL_S)) == {}
    strict.register(info, CALL_S)
    assert strict.resolve(name, CALL_S) == []
    strict.deregister(info, CALL_S)


class Live(http.server.BaseHTTPRequestHandler):
    """Says at /live whether it is healthy."""

    status: ClassVar[HTTPStatus] = HTTPStatus.OK

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/live" else HTTPStatus.NOT_FOUND)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Live) as server:
        server.daemon_threads = False
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_http_check_follows_the_answer(
    make_plugin: MakePlugin,
    consul_server: ConsulServer,
    web: str,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While check_path answers with an error the instance is not shown."""
    plugin = make_plugin(
        consul_server.endpoint, check="http", check_path="/live", check_interval=SECOND
    )
    info = Info(service_name=name, addr=web)
    plugin.register(info, CALL_S)
    eventually(
        lambda: "200 OK" in state_of(consul_server, "http", info)[1],
        within_s=WITHIN_S,
        why="the agent has asked",
    )
    assert plugin.resolve(name, CALL_S) == [info]
    monkeypatch.setattr(Live, "status", HTTPStatus.SERVICE_UNAVAILABLE)
    awaits(plugin, name, [], "the agent has asked again")
    monkeypatch.setattr(Live, "status", HTTPStatus.OK)
    awaits(plugin, name, [info], "it is well again")
    plugin.deregister(info, CALL_S)


class Health:
    """Answers as gRPC's health service does, in bytes: it needs no more than two messages."""

    ASKED: Final = b"\n\x09echo.Echo"
    SERVING: Final = b"\x08\x01"
    NOT_SERVING: Final = b"\x08\x02"

    def __init__(self) -> None:
        self.answer = self.SERVING
        self.asked: set[bytes] = set()

    def check(self, request: bytes, _: grpc.ServicerContext) -> bytes:
        self.asked.add(request)
        return self.answer


@pytest.fixture
def grpc_server() -> Iterator[tuple[str, Health]]:
    health = Health()
    methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Check": grpc.unary_unary_rpc_method_handler(health.check)
    }
    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool)
        handler = grpc.method_handlers_generic_handler("grpc.health.v1.Health", methods)
        server.add_generic_rpc_handlers((handler,))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"127.0.0.1:{port}", health
        server.stop(None).wait()


def test_grpc_check_follows_the_health_service(
    make_plugin: MakePlugin,
    consul_server: ConsulServer,
    grpc_server: tuple[str, Health],
    name: str,
) -> None:
    """The service that was named is asked about, and hides the instance while it does not serve."""
    addr, health = grpc_server
    plugin = make_plugin(
        consul_server.endpoint, check="grpc", check_service="echo.Echo", check_interval=SECOND
    )
    info = Info(service_name=name, addr=addr)
    plugin.register(info, CALL_S)
    eventually(lambda: health.asked, within_s=WITHIN_S, why="the agent has asked")
    assert health.asked == {health.ASKED}
    assert plugin.resolve(name, CALL_S) == [info]
    health.answer = health.NOT_SERVING
    awaits(plugin, name, [], "the agent has asked again")
    health.answer = health.SERVING
    awaits(plugin, name, [info], "it is well again")
    plugin.deregister(info, CALL_S)


@pytest.mark.timeout(REAPED_WITHIN_S + 30)
def test_record_of_the_dead_is_critical_then_reaped_and_can_come_back(
    make_plugin: MakePlugin, consul_server: ConsulServer, make_info: MakeInfo, name: str
) -> None:
    """Nobody sees it after its ttl, the agent removes it later, and its owner may yet wake up."""
    plugin, info = make_plugin(consul_server.endpoint, ttl=SECOND), make_info()
    plugin.register(info, CALL_S)
    awaits(plugin, name, [], "its ttl is over")
    assert id_of(info) in consul_server.call("GET", "/v1/agent/services")
    eventually(
        lambda: id_of(info) not in consul_server.call("GET", "/v1/agent/services"),
        within_s=REAPED_WITHIN_S,
        why="the agent has removed it",
    )
    assert lost(plugin.keep_alive([info], CALL_S)) == {info: Why.GONE}
    assert lost(plugin.restore([info], CALL_S)) == {}
    assert plugin.resolve(name, CALL_S) == [info]
