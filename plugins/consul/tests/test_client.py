"""Requests to a real agent, through connections that break, and to what is no agent."""

import http.server
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Final

import pytest

from enlist.errors import RejectedError, TimedOutError, UnauthorisedError, UnavailableError
from enlist_consul.failures import NoAclsError, UnknownCheckError, refused
from plugins.consul.tests.making import CALL_S, MakeInfo, MakePlugin, silent_port
from tests.following import Follower
from tests.servers.consul import ConsulServer
from tests.servers.proxy import Proxy

MakeProxy = Callable[[str], Proxy]


def test_kept_connection_that_the_agent_closed_costs_nothing(
    make_plugin: MakePlugin, consul_server: ConsulServer, make_proxy: MakeProxy
) -> None:
    """After a restart, of an agent or of what lies between, the first call already succeeds."""
    proxy = make_proxy(consul_server.endpoint)
    plugin = make_plugin(proxy.endpoint)
    plugin.probe(CALL_S)
    before = proxy.accepted
    plugin.probe(CALL_S)
    assert proxy.accepted == before  # one connection serves all
    proxy.cut()
    plugin.probe(CALL_S)
    assert proxy.accepted == before + 1


def test_half_open_connection_costs_one_timeout(
    make_plugin: MakePlugin, consul_server: ConsulServer, make_proxy: MakeProxy
) -> None:
    """A silent agent is told from a slow one by time alone, and then forgotten."""
    proxy = make_proxy(consul_server.endpoint)
    plugin = make_plugin(proxy.endpoint)
    plugin.probe(CALL_S)
    proxy.swallow()
    began = time.monotonic()
    with pytest.raises(TimedOutError, match="no answer in time"):
        plugin.probe(0.5)
    assert time.monotonic() - began < 2
    proxy.restore()
    plugin.probe(CALL_S)


def test_slow_agent_is_within_the_time_of_the_call(
    make_plugin: MakePlugin,
    consul_server: ConsulServer,
    make_proxy: MakeProxy,
    make_info: MakeInfo,
) -> None:
    """The time is that of all requests of a call together."""
    proxy = make_proxy(consul_server.endpoint)
    plugin = make_plugin(proxy.endpoint)
    plugin.probe(CALL_S)
    proxy.delay(0.3)
    began = time.monotonic()
    with pytest.raises(TimedOutError):
        plugin.register(make_info(), 0.8)
    assert time.monotonic() - began < 2.5


def test_agent_that_is_away_is_unavailable(make_plugin: MakePlugin) -> None:
    """Nobody listens: the message names the agent, and nothing waits for a timeout."""
    with pytest.raises(UnavailableError, match=r"Consul at 127.0.0.1:1: Connection refused"):
        make_plugin("127.0.0.1:1").probe(CALL_S)


def test_host_without_an_address_is_unavailable(make_plugin: MakePlugin) -> None:
    """A name that is not, or not yet, known may be so later."""
    with pytest.raises(UnavailableError, match=r"Consul at agent\.invalid:8500"):
        make_plugin("agent.invalid").probe(CALL_S)


def addresses(*ports: int) -> Callable[..., list[Any]]:
    """Return what stands in for the resolver, and gives a host an address for each port."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port)) for port in ports]
    return lambda *_, **__: found


def test_connecting_is_within_the_time_of_the_call(
    make_plugin: MakePlugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many addresses a host has, they share it, and so does the handshake of TLS."""
    with silent_port() as full, socket.create_server(("127.0.0.1", 0)) as mute:
        found = addresses(full, full, mute.getsockname()[1])
        monkeypatch.setattr(socket, "getaddrinfo", found)
        began = time.monotonic()
        with pytest.raises(TimedOutError):
            make_plugin("agent.test", tls=True).probe(1.5)
        assert time.monotonic() - began < 3  # three times that where each had all of it


def test_address_that_does_not_answer_leaves_time_for_the_next(
    make_plugin: MakePlugin, consul_server: ConsulServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that is not reached by one of its addresses is reached by another."""
    with silent_port() as full:
        monkeypatch.setattr(socket, "getaddrinfo", addresses(full, consul_server.port))
        make_plugin("agent.test").probe(5)


def test_choosing_consul_loads_no_client_library() -> None:
    """urllib3 comes with the first request, so that what is not used costs nothing."""
    program = "import enlist_consul.plugin, sys; sys.exit('urllib3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_closed_registry_is_unavailable(
    make_plugin: MakePlugin, consul_server: ConsulServer
) -> None:
    """Nothing is opened anew after close."""
    plugin = make_plugin(consul_server.endpoint)
    plugin.probe(CALL_S)
    plugin.close()
    with pytest.raises(UnavailableError, match="closed"):
        plugin.probe(CALL_S)


def test_proxies_of_the_environment_are_not_used(
    make_plugin: MakePlugin, consul_server: ConsulServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent is a neighbour; a variable for the web must not lead there."""
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
    make_plugin(consul_server.endpoint).probe(CALL_S)


class Page(http.server.BaseHTTPRequestHandler):
    """Answers everything with the page of some other program."""

    body: ClassVar[bytes] = b"<html>welcome</html>"
    headers_sent: ClassVar[dict[str, str]] = {}

    def do_GET(self) -> None:
        self.send_response(200)
        for header, value in self.headers_sent.items():
            self.send_header(header, value)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        pass


class Filtered(Page):
    """Answers as Consul 1.11 and newer do where ACLs keep something back."""

    body = b"[]"
    headers_sent: ClassVar[dict[str, str]] = {"X-Consul-Results-Filtered-By-ACLs": "true"}


@pytest.fixture(params=[Page])
def page(request: pytest.FixtureRequest) -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), request.param) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_answer_of_another_program_is_told_apart(make_plugin: MakePlugin, page: str) -> None:
    """A wrong port is no empty list."""
    with pytest.raises(UnavailableError, match="is address an agent"):
        make_plugin(page).resolve("echo", CALL_S)


@pytest.mark.parametrize("page", [Filtered], indirect=True)
def test_list_that_acls_have_shortened_is_unauthorised(make_plugin: MakePlugin, page: str) -> None:
    """Where Consul's headers tell, an empty list is not taken for nobody."""
    with pytest.raises(UnauthorisedError, match="may not read all"):
        make_plugin(page).resolve("echo", CALL_S)


@pytest.mark.parametrize(
    "status, body, wanted",
    [
        (500, b"No cluster leader", UnavailableError),
        (500, b"rpc error making call: EOF", UnavailableError),
        (503, b"", UnavailableError),
        (429, b"Your IP is issuing too many concurrent connections", UnavailableError),
        (403, b"Permission denied", UnauthorisedError),
        (403, b"ACL not found", UnauthorisedError),
        (401, b"", UnauthorisedError),
        (500, b"rpc error: Permission denied", UnauthorisedError),
        (400, b"Invalid check", RejectedError),
        (404, b"", RejectedError),
        (500, b'CheckID "x" does not have associated TTL', UnknownCheckError),
        (404, b'Unknown check ID "x"', UnknownCheckError),
        (401, b"ACL support disabled", NoAclsError),
    ],
)
def test_refusal_is_the_error_that_fits(status: int, body: bytes, wanted: type[Exception]) -> None:
    """Consul's own words decide where its status is used for different things."""
    error = refused(status, body, "h:1", "")
    assert type(error) is wanted
    assert str(status) in str(error)


def test_refusal_never_shows_the_token() -> None:
    """Not even if Consul repeats it."""
    error = refused(403, b"token 1234-5678 not found", "h:1", "1234-5678")
    assert "1234-5678" not in str(error)


class ConsulWithSocket(ConsulServer):
    """An agent that listens on a unix socket too."""

    def __init__(self, sockets: Path) -> None:
        super().__init__("consul-socket", dev=True)
        self.socket: Final = f"unix://{sockets / 'http.sock'}"

    def _settings(self) -> dict[str, object]:
        return {**super()._settings(), "addresses": {"http": f"127.0.0.1 {self.socket}"}}


def test_unix_socket_of_an_agent_serves_as_a_port_does(
    make_plugin: MakePlugin, make_info: MakeInfo, name: str, socket_folder: Path
) -> None:
    """CONSUL_HTTP_ADDR may name one; calls, watches and the end of the agent are the same."""
    with ConsulWithSocket(socket_folder) as server:
        plugin = make_plugin(server.socket)
        follower = Follower(plugin, name)
        assert follower.next() == []
        info = make_info()
        plugin.register(info, CALL_S)
        follower.until([info])
        assert follower.end() < 1
        server.kill()
        with pytest.raises(UnavailableError, match=r"http\.sock: Connection refused"):
            plugin.probe(CALL_S)
