"""Addresses have one spelling each, and what cannot be one is refused by part and rule."""

import pickle

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from enlist import Address, InvalidInfoError


@pytest.mark.parametrize(
    "text,host,port",
    [
        ("10.0.0.1:8888", "10.0.0.1", 8888),
        ("[::1]:80", "::1", 80),
        ("[2001:DB8:0::1]:80", "2001:db8::1", 80),
        ("[fe80::1%eth0]:80", "fe80::1%eth0", 80),
        ("Host.Example:65535", "host.example", 65535),
        ("my_service:1", "my_service", 1),
        ("0.0.0.0:80", "0.0.0.0", 80),
    ],
)
def test_parses_tcp(text: str, host: str, port: int) -> None:
    """Hosts come out in lower case and compressed, without brackets."""
    address = Address.parse(text)

    assert (address.network, address.host, address.port) == ("tcp", host, port)
    assert Address.parse(str(address)) == address


def test_parses_a_unix_socket() -> None:
    """A path keeps every character."""
    address = Address.parse("unix:/run/my app:1.sock")

    assert address == Address.unix("/run/my app:1.sock")
    assert str(address) == "unix:/run/my app:1.sock"
    assert (address.port, address.ip) == (0, None)


def test_brackets_an_ipv6_host() -> None:
    """Without brackets nobody could tell host from port."""
    assert str(Address.tcp("::1", 80)) == "[::1]:80"
    assert Address.tcp("[::1]", 80) == Address.tcp("::1", 80)


@pytest.mark.parametrize(
    "text,rule",
    [
        ("", "must look like"),
        ("10.0.0.1", "must look like"),
        (":80", "must look like"),
        ("::1:80", "must look like"),
        ("[::1]", "must look like"),
        ("host:", "1 to 65535"),
        ("host:0", "1 to 65535"),
        ("host:65536", "1 to 65535"),
        ("host:-1", "1 to 65535"),
        ("host:8O", "1 to 65535"),
        ("host:\N{ARABIC-INDIC DIGIT ONE}", "1 to 65535"),
        ("[::g]:80", "IPv4 or IPv6 address, or a host name"),
        ("[::1%et h]:80", "zone"),
        ("127.1:80", "IPv4 or IPv6"),
        ("010.0.0.1:80", "IPv4 or IPv6"),
        ("256.0.0.1:80", "IPv4 or IPv6"),
        ("-host:80", "IPv4 or IPv6"),
        ("ho st:80", "IPv4 or IPv6"),
        ("höst:80", "IPv4 or IPv6"),
        ("host..example:80", "IPv4 or IPv6"),
        ("x" * 64 + ":80", "IPv4 or IPv6"),
        ("user@host:80", "IPv4 or IPv6"),
        ("unix:", "must be absolute"),
        ("unix:run/echo.sock", "must be absolute"),
        ("unix:/run/\0", "control character"),
        ("unix:/" + "x" * 107, "at most 107 bytes"),
        (None, "must look like"),
    ],
)
def test_refuses_text_that_is_no_address(text: str, rule: str) -> None:
    """The message says which part is wrong and what would be right."""
    with pytest.raises(InvalidInfoError, match=rule) as caught:
        Address.parse(text)
    assert caught.value.field.startswith("addr")


def test_refuses_a_port_of_a_unix_socket() -> None:
    """It would be lost on the way."""
    with pytest.raises(InvalidInfoError, match="left out"):
        Address("unix", "/run/a", 80)


def test_refuses_a_network_that_it_does_not_know() -> None:
    """Only tcp and unix are published."""
    with pytest.raises(InvalidInfoError, match=r"addr\.network='udp': must be 'tcp' or 'unix'"):
        Address("udp", "10.0.0.1", 80)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize("port", [0, -1, 65_536, True, "80", 80.0])
def test_refuses_a_port_that_is_none(port: object) -> None:
    """A port is a whole number; a truth and a text are not."""
    with pytest.raises(InvalidInfoError, match=r"addr\.port"):
        Address.tcp("10.0.0.1", port)  # type: ignore[arg-type]  # wrong on purpose


def test_tells_an_ip_address_from_a_name() -> None:
    """Whoever needs the number gets it parsed."""
    assert str(Address.tcp("::1", 80).ip) == "::1"
    assert Address.tcp("localhost", 80).ip is None


def test_can_be_a_key_and_be_pickled() -> None:
    """Equal addresses are one key."""
    address = Address.parse("[0::1]:80")

    assert {address: 1}[Address.tcp("::1", 80)] == 1
    assert pickle.loads(pickle.dumps(address)) == address  # noqa: S301 - our own bytes


@given(st.ip_addresses(), st.integers(1, 65_535))
def test_every_ip_address_survives_its_own_text(ip: object, port: int) -> None:
    """What str gives, parse takes back."""
    address = Address.tcp(str(ip), port)

    assert Address.parse(str(address)) == address


@given(st.text(st.characters(exclude_categories=())))
@example(f"host:{'9' * 5_000}")  # more digits than int() reads
def test_takes_or_refuses_any_text(text: str) -> None:
    """Hostile text makes an address that survives its own text, or one kind of error."""
    try:
        address = Address.parse(text)
    except InvalidInfoError:
        return
    assert Address.parse(str(address)) == address
