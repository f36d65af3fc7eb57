"""Which address is published, for every way to say it or to find it."""

from __future__ import annotations

import ipaddress
import logging
import socket
import sys
from collections.abc import Mapping
from contextlib import ExitStack

import pytest

from enlist.address import Address
from enlist.errors import InvalidOptionError
from enlist.serving import interfaces
from enlist.serving.advertise import advertised, warn_of_loopback
from enlist.serving.interfaces import HostNetwork, Interface, IpAddress, parse_if_inet6

ANY = Address.parse("0.0.0.0:8888")
ANY6 = Address.parse("[::]:8888")
UNIX = Address.unix("/run/echo.sock")
EVERYTHING_SET = {
    "ENLIST_ADVERTISE_ADDR": "203.0.113.5:80",
    "KITEX_IP_TO_REGISTRY": "203.0.113.6",
    "KITEX_PORT_TO_REGISTRY": "81",
    "POD_IP": "203.0.113.7",
}


class Machine:
    """A machine with the interfaces and routes that a test gives it; this one's are not known."""

    def __init__(
        self, *listed: str, routes: tuple[str, ...] = (), accepts_ipv4: bool = True
    ) -> None:
        pairs = (each.split() for each in listed)
        self._interfaces = [Interface(name, ipaddress.ip_address(ip)) for name, ip in pairs]
        self._routes = [ipaddress.ip_address(each) for each in routes]
        self._accepts_ipv4 = accepts_ipv4

    def interfaces(self) -> list[Interface]:
        return self._interfaces

    def outward(self, version: int) -> IpAddress | None:
        return next((ip for ip in self._routes if ip.version == version), None)

    def accepts_ipv4(self, port: int) -> bool:
        return self._accepts_ipv4


class Secretive(Machine):
    def interfaces(self) -> list[Interface]:
        raise OSError("on plan9 the addresses of network interfaces cannot be listed")


TWO_CARDS = Machine(
    "lo 127.0.0.1",
    "eth0 192.168.1.5",
    "eth0 10.1.0.5",
    "eth1 10.2.0.5",
    "eth1 fd00::5",
    "eth2 fe80::1",
    "eth2 fd01::5",
    "vlan.7 10.7.0.5",
    routes=("192.168.1.5", "fd00::5"),
)


def published(
    listen: Address,
    advertise: str | Address | None = None,
    network: Machine = TWO_CARDS,
    *,
    environ: Mapping[str, str] | None = None,
    backend_is_local: bool = False,
    accepting: bool = False,
) -> str:
    found = advertised(
        listen,
        advertise=advertise,
        environ=environ or {},
        network=network,
        backend_is_local=backend_is_local,
        accepting=accepting,
    )
    return str(found)


@pytest.mark.parametrize(
    "advertise,without,expected",
    [
        pytest.param("203.0.113.4:79", (), "203.0.113.4:79", id="option"),
        pytest.param(None, (), "203.0.113.5:80", id="ENLIST_ADVERTISE_ADDR"),
        pytest.param("10.2.0.0/16", (), "203.0.113.5:80", id="variable before network"),
        pytest.param(None, ("ENLIST_ADVERTISE_ADDR",), "203.0.113.6:81", id="Kitex's variables"),
        pytest.param(
            "10.2.0.0/16",
            ("ENLIST_ADVERTISE_ADDR", "KITEX_IP_TO_REGISTRY"),
            "10.2.0.5:81",
            id="network with Kitex's port",
        ),
        pytest.param(
            "eth1",
            ("ENLIST_ADVERTISE_ADDR", "KITEX_IP_TO_REGISTRY", "KITEX_PORT_TO_REGISTRY"),
            "10.2.0.5:8888",
            id="interface before POD_IP",
        ),
        pytest.param(
            None,
            ("ENLIST_ADVERTISE_ADDR", "KITEX_IP_TO_REGISTRY", "KITEX_PORT_TO_REGISTRY"),
            "203.0.113.7:8888",
            id="POD_IP",
        ),
        pytest.param(None, tuple(EVERYTHING_SET), "192.168.1.5:8888", id="route"),
    ],
)
def test_advertise_takes_the_first_source_that_is_there(
    advertise: str | None, without: tuple[str, ...], expected: str
) -> None:
    """The order of the sources is the documented one."""
    environ = {name: text for name, text in EVERYTHING_SET.items() if name not in without}
    assert published(ANY, advertise, environ=environ) == expected


@pytest.mark.parametrize(
    "advertise,expected",
    [
        ("10.9.9.9", "10.9.9.9:8888"),
        ("10.9.9.9:80", "10.9.9.9:80"),
        ("fd00::9", "[fd00::9]:8888"),
        ("[fd00::9]", "[fd00::9]:8888"),
        ("[fd00::9]:80", "[fd00::9]:80"),
        ("Echo.Example.com", "echo.example.com:8888"),
        ("echo:80", "echo:80"),
        (Address.parse("10.9.9.9:80"), "10.9.9.9:80"),
        (" 10.9.9.9 ", "10.9.9.9:8888"),
        ("fe80::1%eth0", "[fe80::1%eth0]:8888"),
        ("unix:/run/a.sock", "unix:/run/a.sock"),
        ("eth0", "192.168.1.5:8888"),
        ("vlan.7", "10.7.0.5:8888"),
        ("10.0.0.0/8", "10.1.0.5:8888"),
        ("10.2.0.99/16", "10.2.0.5:8888"),
    ],
)
def test_advertise_understands_each_form(advertise: str | Address, expected: str) -> None:
    """An address, a host, a network and an interface are told from each other."""
    assert published(ANY, advertise) == expected


@pytest.mark.parametrize("name", ["eth1", "10.2.0.0/16"])
def test_advertise_finds_what_the_variable_names(name: str) -> None:
    """The operator may name a network or an interface as well as the programmer."""
    assert published(ANY, "eth0", environ={"ENLIST_ADVERTISE_ADDR": name}) == "10.2.0.5:8888"


@pytest.mark.parametrize(
    "listen", ["10.3.3.3:80", "[fd00::3]:80", "echo.example:80", "127.0.0.1:80"]
)
def test_advertise_publishes_a_specific_address_as_is(listen: str) -> None:
    """What is found never replaces an address that was chosen to be listened on."""
    assert published(Address.parse(listen), "eth1", environ={"POD_IP": "10.8.8.8"}) == listen


def test_advertise_replaces_a_specific_address_by_one_that_was_said() -> None:
    """Behind a port mapping, what is listened on is not what clients call."""
    listen = Address.parse("172.17.0.2:80")
    assert (
        published(listen, environ={"ENLIST_ADVERTISE_ADDR": "203.0.113.5:8080"})
        == "203.0.113.5:8080"
    )
    assert published(listen, environ={"KITEX_PORT_TO_REGISTRY": "8080"}) == "172.17.0.2:8080"
    assert published(listen, "203.0.113.5") == "203.0.113.5:80"


def test_advertise_passes_a_unix_socket_through() -> None:
    """A socket's path is published as it is, whatever the environment says about hosts."""
    assert published(UNIX, environ=EVERYTHING_SET) == "unix:/run/echo.sock"
    assert published(UNIX, "eth0") == "unix:/run/echo.sock"
    assert published(UNIX, "203.0.113.5:80") == "203.0.113.5:80"


def test_advertise_of_a_host_for_a_unix_socket_asks_for_the_port() -> None:
    """A proxy in front of a unix socket has a port that only its operator knows."""
    with pytest.raises(InvalidOptionError, match=r"advertise='203\.0\.113\.5': needs a port"):
        published(UNIX, "203.0.113.5")


@pytest.mark.parametrize("name", list(EVERYTHING_SET))
def test_advertise_takes_an_empty_variable_for_none(name: str) -> None:
    """Deployment tools set variables to nothing when they mean none."""
    assert published(ANY, environ={name: ""}) == "192.168.1.5:8888"


@pytest.mark.parametrize(
    "routes,listen,expected",
    [
        (("192.168.1.5", "fd00::5"), ANY6, "192.168.1.5:8888"),
        (("fd00::5",), ANY6, "[fd00::5]:8888"),
        (("192.168.1.5",), ANY, "192.168.1.5:8888"),
    ],
)
def test_advertise_takes_the_outward_route(
    routes: tuple[str, ...], listen: Address, expected: str
) -> None:
    """IPv4 comes first where there is both, and a machine with IPv6 alone has an address too."""
    assert published(listen, network=Machine(routes=routes)) == expected


@pytest.mark.parametrize("routes", [(), ("::1",), ("169.254.1.1",)])
def test_advertise_without_a_route_says_what_to_set(routes: tuple[str, ...]) -> None:
    """A machine that leads nowhere is an error with a next step, not 0.0.0.0 in the registry."""
    with pytest.raises(
        InvalidOptionError, match=r"listen_addr='0\.0\.0\.0:8888'.*ENLIST_ADVERTISE"
    ):
        published(ANY, network=Machine(routes=routes))


def test_advertise_without_a_route_is_loopback_for_a_local_backend() -> None:
    """A laptop off the net can still try enlist with a registry of its own."""
    assert published(ANY, network=Machine(), backend_is_local=True) == "127.0.0.1:8888"


@pytest.mark.parametrize(
    "value", ["0.0.0.0", "::", "0.0.0.0:80", "[::]:80", "224.0.0.1", "ff02::1", "fe80::1"]
)
@pytest.mark.parametrize(
    "source", ["advertise", "ENLIST_ADVERTISE_ADDR", "KITEX_IP_TO_REGISTRY", "POD_IP"]
)
def test_advertise_refuses_what_nobody_can_call(source: str, value: str) -> None:
    """Unspecified, multicast and zoneless addresses are refused in their source's name."""
    environ = {} if source == "advertise" else {source: value}
    listen = ANY if source != "POD_IP" or "." in value else ANY6
    with pytest.raises(InvalidOptionError) as caught:
        published(listen, value if source == "advertise" else None, environ=environ)
    assert caught.value.field == source
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    "source,value",
    [
        ("ENLIST_ADVERTISE_ADDR", "10.0.0.1:0"),
        ("ENLIST_ADVERTISE_ADDR", "10.0.0.1:http"),
        ("ENLIST_ADVERTISE_ADDR", "10.0.0.1:70000"),
        ("ENLIST_ADVERTISE_ADDR", "10.0.0.0/99"),
        ("ENLIST_ADVERTISE_ADDR", "no_such.-host"),
        ("KITEX_IP_TO_REGISTRY", "a b"),
        ("KITEX_PORT_TO_REGISTRY", "0"),
        ("KITEX_PORT_TO_REGISTRY", "http"),
        ("POD_IP", "my-pod"),
    ],
)
def test_advertise_refuses_what_is_no_address(source: str, value: str) -> None:
    """A malformed variable is refused in its own name, never passed over."""
    with pytest.raises(InvalidOptionError) as caught:
        published(ANY, environ={source: value})
    assert caught.value.field == source


def test_advertise_of_a_network_that_is_not_here_tells_what_is() -> None:
    """The error lists the addresses among which the right network is to be found."""
    with pytest.raises(InvalidOptionError, match=r"advertise='10\.99\.0\.0/16'.*eth1 10\.2\.0\.5"):
        published(ANY, "10.99.0.0/16")


def test_advertise_of_an_unknown_interface_tells_the_known_ones() -> None:
    """A misspelt interface is not published as a host name."""
    with pytest.raises(InvalidOptionError, match=r"advertise='eht0'.*eth0, eth1"):
        published(ANY, "eht0")


def test_advertise_gives_no_ipv6_to_a_server_of_ipv4() -> None:
    """An address of a family that is not listened on would never answer."""
    with pytest.raises(InvalidOptionError, match=r"advertise='fd00::/8'.*no IPv4 address"):
        published(ANY, "fd00::/8")
    with pytest.raises(InvalidOptionError, match=r"POD_IP='fd00::5'.*listen on \[::\]"):
        published(ANY, environ={"POD_IP": "fd00::5"})
    assert published(ANY6, environ={"POD_IP": "fd00::5"}) == "[fd00::5]:8888"


def test_advertise_gives_no_ipv4_to_a_server_that_does_not_accept_it() -> None:
    """Once it can be seen; while nothing listens yet, IPv4 may be meant."""
    deaf = Machine("eth0 192.168.1.5", routes=("192.168.1.5",), accepts_ipv4=False)
    assert published(ANY6, network=deaf) == "192.168.1.5:8888"

    with pytest.raises(InvalidOptionError, match=r"IPv6 alone.*IPv4 alone; listen on 0\.0\.0\.0"):
        published(ANY6, network=deaf, accepting=True)
    with pytest.raises(InvalidOptionError, match=r"POD_IP='10\.2\.0\.5'.*listen on 0\.0\.0\.0"):
        published(ANY6, network=deaf, environ={"POD_IP": "10.2.0.5"}, accepting=True)
    with pytest.raises(InvalidOptionError, match=r"advertise='eth0'.*no IPv6 address"):
        published(ANY6, "eth0", network=deaf, accepting=True)


def test_advertise_of_loopback_is_of_a_version_that_is_accepted() -> None:
    """A registry on this machine is told ::1 where 127.0.0.1 would not answer."""
    alone = Machine("lo 127.0.0.1", accepts_ipv4=False)
    assert published(ANY6, network=alone, backend_is_local=True) == "127.0.0.1:8888"
    found = published(ANY6, network=alone, backend_is_local=True, accepting=True)
    assert found == "[::1]:8888"


def test_advertise_passes_link_local_addresses_over() -> None:
    """An interface's link-local address needs a zone that means nothing elsewhere."""
    assert published(ANY6, "eth2") == "[fd01::5]:8888"


def test_advertise_of_a_network_without_a_way_to_look_says_so() -> None:
    """Where interfaces cannot be listed, the error says why and what to do instead."""
    with pytest.raises(
        InvalidOptionError, match=r"advertise='10\.0\.0\.0/8'.*plan9.*give an address"
    ):
        published(ANY, "10.0.0.0/8", network=Secretive())
    with pytest.raises(InvalidOptionError, match=r"advertise='eth0'.*none that can be listed"):
        published(ANY, "eth0", network=Secretive())
    assert published(ANY, "a.example", network=Secretive()) == "a.example:8888"


@pytest.mark.parametrize(
    "addr,backend_is_local,warned",
    [
        ("127.0.0.1:80", False, True),
        ("[::1]:80", False, True),
        ("localhost:80", False, True),
        ("unix:/run/a.sock", False, True),
        ("127.0.0.1:80", True, False),
        ("10.0.0.1:80", False, False),
        ("echo.example:80", False, False),
    ],
)
def test_loopback_towards_a_remote_backend_is_a_warning(
    addr: str, *, backend_is_local: bool, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """What others are told and only this machine can call is worth a line in the log, no more."""
    assert warn_of_loopback(Address.parse(addr), backend_is_local=backend_is_local) is warned
    messages = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert [addr in each and "ENLIST_ADVERTISE_ADDR" in each for each in messages] == [
        True
    ] * warned


def test_host_network_knows_this_machine() -> None:
    """Every address that is listed can be bound here, and loopback is among them."""
    listed = HostNetwork().interfaces()

    assert ipaddress.ip_address("127.0.0.1") in {each.ip for each in listed}
    assert {each.name for each in listed} <= {name for _, name in socket.if_nameindex()}
    for each in listed:
        family = socket.AF_INET if each.ip.version == 4 else socket.AF_INET6
        with socket.socket(family, socket.SOCK_DGRAM) as bound:
            zone = socket.if_nametoindex(each.name) if each.ip.is_link_local else 0
            bound.bind((str(each.ip), 0) if each.ip.version == 4 else (str(each.ip), 0, 0, zone))


def test_host_network_tells_the_outward_address_or_none() -> None:
    """Whatever the machine, the answer is one of its own addresses or None, and no error."""
    here = {each.ip for each in HostNetwork().interfaces()}
    for version in (4, 6):
        ip = HostNetwork().outward(version)
        assert ip is None or (ip in here and ip.version == version)


def test_host_network_takes_a_busy_port_for_one_that_accepts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that has no time for one more connection is not taken for one of IPv6 alone."""
    monkeypatch.setattr(interfaces, "_ANSWER_S", 0.2)
    with ExitStack() as closing:
        busy = closing.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port = busy.getsockname()[1]
        for _ in range(4):
            waiting = closing.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))

        assert HostNetwork().accepts_ipv4(port)

    assert not HostNetwork().accepts_ipv4(port)


def test_host_network_elsewhere_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a system whose interfaces cannot be listed the error names the system."""
    monkeypatch.setattr(sys, "platform", "plan9")
    with pytest.raises(OSError, match="plan9"):
        HostNetwork().interfaces()


def test_if_inet6_leaves_out_unusable_addresses_and_puts_temporary_ones_last() -> None:
    """Addresses that come and go are second choice; those that are not valid are none."""
    listed = """\
fd000000000000000000000000000001 02 40 00 01     eth0
fd000000000000000000000000000002 02 40 00 82     eth0
fd000000000000000000000000000003 02 40 00 40     eth0
fd000000000000000000000000000004 02 40 00 28     eth0
00000000000000000000000000000001 01 80 10 80       lo
"""
    assert [f"{each.name} {each.ip}" for each in parse_if_inet6(listed)] == [
        "eth0 fd00::2",
        "lo ::1",
        "eth0 fd00::1",
    ]
