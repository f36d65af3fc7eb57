import datetime as dt
from collections.abc import Mapping
from pathlib import Path

import pytest

from enlist.backend_options import HostPort, Secret, read_options, target_from
from enlist.errors import InvalidOptionError
from enlist_consul.options import ConsulOptions


def options(
    url: str = "consul", environ: Mapping[str, str] | None = None, **keywords: object
) -> ConsulOptions:
    return read_options(ConsulOptions, target_from(url, {}), keywords, environ or {})


def test_defaults_are_those_of_a_local_agent() -> None:
    """Without any option the agent of this machine is used, without TLS and token."""
    chosen = options()
    assert chosen.agent == HostPort("127.0.0.1", 8500)
    assert chosen.ttl == dt.timedelta(seconds=15)
    assert not chosen.uses_tls
    assert not chosen.token


def test_url_says_agent_and_options() -> None:
    """All but secrets can stand in the URL."""
    chosen = options("consul://[::1]:99?ttl=30&datacenter=dc2&tls=yes", token="hush")
    assert chosen.agent == HostPort("::1", 99)
    assert (chosen.ttl, chosen.datacenter) == (dt.timedelta(seconds=30), "dc2")
    assert chosen.uses_tls
    assert "hush" not in repr(chosen)


@pytest.mark.parametrize(
    "address, agent, tls",
    [
        ("consul.example", HostPort("consul.example", 8500), False),
        ("10.0.0.1:8501", HostPort("10.0.0.1", 8501), False),
        ("http://10.0.0.1:8501", HostPort("10.0.0.1", 8501), False),
        ("https://consul.example:8501/", HostPort("consul.example", 8501), True),
    ],
)
def test_address_of_consul_own_variable_is_understood(
    address: str, agent: HostPort, *, tls: bool
) -> None:
    """CONSUL_HTTP_ADDR is what the consul command takes, with a scheme or without."""
    chosen = options(environ={"CONSUL_HTTP_ADDR": address})
    assert (chosen.agent, chosen.uses_tls) == (agent, tls)


def test_explicit_options_win_over_consul_own_variables() -> None:
    """What the program says is stronger, also where it says it in another way."""
    environ = {
        "CONSUL_HTTP_ADDR": "http://10.0.0.9:1",
        "CONSUL_HTTP_TOKEN": "of the environment",
        "CONSUL_HTTP_SSL": "true",
        "CONSUL_NAMESPACE": "theirs",
    }
    chosen = options("consul://10.0.0.1?namespace=ours", environ, token="explicit", tls=False)
    assert chosen.agent == HostPort("10.0.0.1", 8500)
    assert chosen.token == Secret("explicit")
    assert (chosen.namespace, chosen.uses_tls) == ("ours", False)
    by_file = options(environ=environ, token_file="/run/token")
    assert (by_file.token, by_file.token_file) == (Secret(), Path("/run/token"))
    given = options(environ={"CONSUL_HTTP_TOKEN_FILE": "/run/theirs"}, token="explicit")
    assert (given.token, given.token_file) == (Secret("explicit"), None)


def test_environment_of_the_consul_command_is_understood() -> None:
    """Each variable that says how to reach an agent means the same here."""
    chosen = options(
        environ={
            "CONSUL_HTTP_TOKEN": "hush",
            "CONSUL_HTTP_SSL": "true",
            "CONSUL_HTTP_SSL_VERIFY": "false",
            "CONSUL_HTTP_AUTH": "user:hush",
            "CONSUL_CACERT": "/ca.pem",
            "CONSUL_CAPATH": "/cas",
            "CONSUL_CLIENT_CERT": "/cert.pem",
            "CONSUL_CLIENT_KEY": "/key.pem",
            "CONSUL_TLS_SERVER_NAME": "consul.internal",
            "CONSUL_NAMESPACE": "ns",
            "CONSUL_PARTITION": "part",
        }
    )
    assert chosen.token.reveal() == "hush"
    assert chosen.http_auth == Secret("user:hush")
    assert chosen.ca_path == Path("/cas")
    assert (chosen.uses_tls, chosen.tls_verify) == (True, False)
    assert (chosen.ca, chosen.cert, chosen.key) == (
        Path("/ca.pem"),
        Path("/cert.pem"),
        Path("/key.pem"),
    )
    assert (chosen.server_name, chosen.namespace, chosen.partition) == (
        "consul.internal",
        "ns",
        "part",
    )


@pytest.mark.parametrize(
    "keywords, message",
    [
        ({"address": "ftp://h"}, "must begin with http://, https:// or unix://"),
        ({"address": "unix://run/consul.sock"}, "must have the whole path"),
        ({"http_auth": "hush"}, r"http_auth='\*\*\*': must be user:password"),
        ({"address": "h1,h2"}, "must name one agent"),
        ({"address": "h:port"}, "address="),
        ({"ttl": dt.timedelta(milliseconds=999)}, "ttl=.*from 1 s to one day"),
        ({"deregister_after": dt.timedelta(seconds=59)}, "from one minute"),
        ({"check_interval": dt.timedelta(0)}, "check_interval=.*from 1 s"),
        ({"check_timeout": dt.timedelta(days=2)}, "check_timeout=.*to one day"),
        ({"check_path": "live"}, "check_path='live': must begin with '/'"),
        ({"cert": Path("/c")}, "key=None: is needed with cert"),
        ({"key": Path("/k")}, "cert=None: is needed with key"),
        ({"max_watches": -1}, "must not be negative"),
        ({"check": "icmp"}, "check="),
    ],
)
def test_option_that_breaks_its_rule_is_refused(keywords: dict[str, object], message: str) -> None:
    """The message names option, value and rule."""
    with pytest.raises(InvalidOptionError, match=message):
        read_options(ConsulOptions, target_from("consul", {}), keywords, {})


def test_unix_socket_is_an_address() -> None:
    """The agent may listen on one; nothing is encrypted there."""
    chosen = options(environ={"CONSUL_HTTP_ADDR": "unix:///run/consul.sock"}, ca="/ca.pem")
    assert chosen.agent == Path("/run/consul.sock")
    assert not chosen.uses_tls


@pytest.mark.parametrize("scheme", ["", "http://"])
@pytest.mark.parametrize("query", ["tls=yes", "ca=/ca.pem", "ca_path=/cas", "cert=/c&key=/k"])
def test_what_asks_for_tls_switches_it_on(query: str, scheme: str) -> None:
    """Whoever asks for it, or names an authority or a certificate, never talks in the clear."""
    assert options(f"consul://?{query}", address=f"{scheme}10.0.0.1").uses_tls


def test_variable_that_asks_for_tls_is_stronger_than_the_scheme() -> None:
    """As for the consul command, http:// in CONSUL_HTTP_ADDR does not undo CONSUL_HTTP_SSL."""
    environ = {"CONSUL_HTTP_ADDR": "http://10.0.0.1:8501", "CONSUL_HTTP_SSL": "true"}
    assert options(environ=environ).uses_tls


@pytest.mark.parametrize("host", ["https", "unix"])
def test_host_that_is_called_like_a_scheme_is_a_host(host: str) -> None:
    """Only what has :// behind it is a scheme."""
    assert options(address=host, tls=True).uses_tls
    assert not options(address=host).uses_tls
