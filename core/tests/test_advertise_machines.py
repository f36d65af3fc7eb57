"""Which address is published on real machines with several interfaces; each is made by a test.

A neighbour stands at the other end of each cable, and calls what was published.
"""

import pytest

from core.tests import machine_world
from core.tests.machine_world import LOOPBACK, Card, Published, published

DOCKER = Card("docker0", ["172.17.0.1/16"], kind="bridge")
PODMAN = Card("podman0", ["10.88.0.1/16", "fd88::1/64"], kind="bridge")
OFFICE = Card("eth0", ["192.168.1.5/24"], ["192.168.1.1/24"], leads_outward=True)
STORAGE = Card("eth1", ["10.2.0.5/16", "fd02::5/64"], ["10.2.0.1/16", "fd02::1/64"])
IPV6_ALONE = Card("eth0", ["fd01::5/64"], ["fd01::1/64"], leads_outward=True)
SEVERAL = (LOOPBACK, DOCKER, PODMAN, OFFICE, STORAGE)


def test_bridges_of_containers_are_passed_over() -> None:
    """What is published is the address of the card that leads outward, and a neighbour calls it."""
    assert published(SEVERAL) == Published("192.168.1.5", reached=True)


@pytest.mark.parametrize(
    "dual_stack,expected", [(True, "192.168.1.5"), (False, "fd01::5")], ids=["both", "IPv6 alone"]
)
def test_server_on_every_address_of_both_versions_is_reached(
    *, dual_stack: bool, expected: str
) -> None:
    """IPv4 is published where the socket takes it, which one on :: does not always."""
    both = Card(
        "eth0",
        ["192.168.1.5/24", "fd01::5/64"],
        ["192.168.1.1/24", "fd01::1/64"],
        leads_outward=True,
    )

    found = published((LOOPBACK, DOCKER, both), "::", dual_stack=dual_stack)

    assert found == Published(expected, reached=True)


def test_ipv6_alone_is_published_where_it_is_listened_on() -> None:
    """A machine without IPv4 has an address too, with loopback and bridges beside it."""
    cards = (LOOPBACK, PODMAN, IPV6_ALONE)

    assert published(cards, "::") == Published("fd01::5", reached=True)


def test_ipv6_alone_with_a_server_of_ipv4_says_what_to_listen_on() -> None:
    """On such a machine nobody can call 0.0.0.0, whatever is set; the error says so."""
    error = published((LOOPBACK, IPV6_ALONE)).error

    assert "listen_addr='0.0.0.0" in error
    assert "listen on [::]" in error


@pytest.mark.parametrize("environ", [{}, {"POD_IP": "192.168.1.5"}], ids=["route", "POD_IP"])
def test_ipv4_alone_with_a_server_of_ipv6_says_what_to_listen_on(environ: dict[str, str]) -> None:
    """A server on :: that takes no IPv4 (asyncio's, uvicorn's) is not published under IPv4."""
    error = published((LOOPBACK, OFFICE), "::", environ=environ, dual_stack=False).error

    assert "IPv6 alone" in error
    assert "listen on 0.0.0.0" in error


@pytest.mark.parametrize("listen", ["0.0.0.0", "::"])
@pytest.mark.parametrize(
    "cards", [(LOOPBACK,), (LOOPBACK, DOCKER, PODMAN)], ids=["nothing else", "bridges"]
)
def test_loopback_alone_is_an_error_with_a_next_step(cards: tuple[Card, ...], listen: str) -> None:
    """A machine on no network publishes nothing that others would call in vain."""
    error = published(cards, listen).error

    assert "no route leads outward" in error
    assert "ENLIST_ADVERTISE_ADDR" in error


def test_loopback_alone_will_do_for_a_registry_on_this_machine() -> None:
    """A laptop off the net can try enlist with a registry of its own."""
    assert published((LOOPBACK,), backend_is_local=True).host == "127.0.0.1"


def test_loopback_that_is_down_is_no_address() -> None:
    """A namespace without any interface that is up is an error too, not a crash."""
    error = published(()).error
    assert "no route leads outward" in error


@pytest.mark.parametrize(
    "name,expected",
    [
        ("10.2.0.0/16", "10.2.0.5"),
        ("192.168.0.0/16", "192.168.1.5"),
        ("eth1", "10.2.0.5"),
        ("eth0", "192.168.1.5"),
    ],
)
@pytest.mark.parametrize("source", ["advertise", "ENLIST_ADVERTISE_ADDR"])
def test_network_or_interface_that_was_named_is_taken(
    source: str, name: str, expected: str
) -> None:
    """Whoever names one of several cards, by its name or its network, is called there."""
    found = (
        published(SEVERAL, advertise=name)
        if source == "advertise"
        else published(SEVERAL, environ={source: name})
    )

    assert found == Published(expected, reached=True)


@pytest.mark.parametrize("name", ["fd02::/64", "eth1"])
def test_ipv6_network_or_interface_that_was_named_is_taken(name: str) -> None:
    """A server of IPv6 alone is given the IPv6 address, whichever way the card was named."""
    found = published(SEVERAL, "::", name, dual_stack=False)

    assert found == Published("fd02::5", reached=True)


def test_interface_that_was_named_gives_its_ipv4_address_first() -> None:
    """Where the server accepts both."""
    assert published(SEVERAL, "::", "eth1") == Published("10.2.0.5", reached=True)


def test_network_that_a_bridge_is_on_too_is_the_one_that_leads_outward() -> None:
    """A wide network such as 10.0.0.0/8 means the card, though the bridge came first."""
    card = Card("eth0", ["10.1.0.5/24"], ["10.1.0.1/24"], leads_outward=True)

    found = published((LOOPBACK, PODMAN, card), advertise="10.0.0.0/8")

    assert found == Published("10.1.0.5", reached=True)


def test_interface_that_is_down_is_not_published() -> None:
    """An address of a card that is switched off answers nobody; the error tells the others."""
    off = Card("eth1", ["10.2.0.5/16"], ["10.2.0.1/16"], up=False)

    by_name = published((LOOPBACK, OFFICE, off), advertise="eth1").error
    by_network = published((LOOPBACK, OFFICE, off), advertise="10.2.0.0/16").error

    assert "that has an address (eth0, lo)" in by_name
    assert "it has: lo 127.0.0.1, eth0 192.168.1.5" in by_network


def test_interface_without_an_address_tells_which_have_one() -> None:
    """A bridge's port has none of its own."""
    error = published((LOOPBACK, OFFICE, Card("eth1")), advertise="eth1").error

    assert "advertise='eth1': is no interface of this machine that has an address" in error
    assert "(eth0, lo)" in error


def test_link_local_addresses_are_passed_over() -> None:
    """What only has meaning on one cable is not published, though a default route uses it."""
    card = Card("eth0", ["169.254.7.5/16"], ["169.254.7.1/16"], leads_outward=True)

    assert "no route leads outward" in published((LOOPBACK, card)).error


def test_second_address_of_an_interface_is_found_by_its_network() -> None:
    """Of several addresses of one card the network tells which."""
    card = Card(
        "eth0",
        ["192.168.1.5/24", "10.9.0.5/16"],
        ["192.168.1.1/24", "10.9.0.1/16"],
    )

    assert published((LOOPBACK, card), advertise="10.9.0.0/16").host == "10.9.0.5"
    assert published((LOOPBACK, card), advertise="eth0").host == "192.168.1.5"


@pytest.mark.parametrize("listen", ["0.0.0.0", "10.2.0.5"])
def test_variables_of_kitex_replace_what_was_found(listen: str) -> None:
    """KITEX_IP_TO_REGISTRY and KITEX_PORT_TO_REGISTRY each replace their part."""
    ip, port = {"KITEX_IP_TO_REGISTRY": "10.2.0.5"}, {"KITEX_PORT_TO_REGISTRY": "8081"}

    assert published(SEVERAL, listen, environ=ip) == Published("10.2.0.5", reached=True)
    found = published(SEVERAL, listen, environ=port)
    assert found.host == ("192.168.1.5" if listen == "0.0.0.0" else listen)
    assert found.port == 8081
    assert published(SEVERAL, listen, "eth0", environ=ip | port).host == "10.2.0.5"


def test_specific_address_is_published_as_it_is() -> None:
    """Whoever listens on one card of several is published there, whichever leads outward."""
    assert published(SEVERAL, "10.2.0.5") == Published("10.2.0.5", reached=True)
    assert published(SEVERAL, "fd02::5") == Published("fd02::5", reached=True)


def test_system_that_forbids_namespaces_is_a_failure_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody reads the summary of a green run these tests may not be missing."""
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="NOT TESTED"):
        machine_world.give_up(machine_world.FORBIDDEN)
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match="NOT TESTED"):
        machine_world.give_up(machine_world.FORBIDDEN)
