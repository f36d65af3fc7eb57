"""Lists of servers are read in one way, and written so that they read back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enlist.errors import InvalidOptionError
from enlist.hosts import HostPort, hosts_text, parse_hosts

_labels = st.from_regex(r"[a-z]([a-z0-9_-]{0,8}[a-z0-9])?", fullmatch=True)
_names = st.lists(_labels, min_size=1, max_size=3).map(".".join)
_ips = st.ip_addresses().map(str)
_hosts = st.lists(
    st.builds(HostPort, _names | _ips, st.integers(1, 65535)), min_size=1, max_size=5
).map(tuple)


@given(hosts=_hosts)
def test_parse_of_the_text_of_hosts_gives_them_back(hosts: tuple[HostPort, ...]) -> None:
    """Names, IPv4 and IPv6 with any port survive being written and read."""
    assert parse_hosts(hosts_text(hosts)) == hosts


@given(text=st.text(st.sampled_from("ab1.:,[]@%/- ") | st.characters(), max_size=30))
def test_parse_of_any_text_raises_only_an_option_error(text: str) -> None:
    """No text ends in an exception that is not ours, and what is read can be read again."""
    try:
        hosts = parse_hosts(text, default_port=1)
    except InvalidOptionError:
        hosts = (HostPort("refused", 1),)

    assert parse_hosts(hosts_text(hosts)) == hosts


def test_parse_puts_the_default_port_where_none_is_named() -> None:
    """Each entry may have its own port, brackets and surrounding spaces."""
    hosts = parse_hosts("a, b:1 ,[::1],[::1]:2,10.0.0.1", default_port=2379)

    assert hosts_text(hosts) == "a:2379,b:1,[::1]:2379,[::1]:2,10.0.0.1:2379"


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "hosts='': must name at least one host, as in 'host:port'"),
        ("a:1,,b:1", "hosts='': must not have an empty entry between commas"),
        ("a:1,", "hosts='': must not have an empty entry between commas"),
        ("a", "hosts='a': must have a port that is a whole number from 1 to 65535, as in"),
        ("a:", "hosts='a:***': must have a port that is a whole number from 1 to 65535"),
        ("a:hunter2", "hosts='a:***': must have a port that is a whole number"),
        ("a:b:c", "hosts='a:***': must have a port that is a whole number"),
        ("a:0", "hosts='a:0': its port must be a whole number from 1 to 65535"),
        ("a:65536", "hosts='a:65536': its port must be a whole number from 1 to 65535"),
        ("a:123456", "hosts='a:***': must have a port that is a whole number"),
        ("a:\u0661", "hosts='a:***': must have a port that is a whole number"),
        (":1", "hosts=':1': its host must be"),
        ("a b:1", "hosts='a b:1': its host must be an IPv4"),
        ("300.1.1.1:1", "hosts='300.1.1.1:1': its host must be an IPv4"),
        ("::1", "hosts='::1': must have an IPv6 host in brackets, as in '[::1]:port'"),
        ("[::1", "hosts='***': must write an IPv6 host as '[::1]:port'"),
        ("[::1]2", "hosts='***': must write an IPv6 host as '[::1]:port'"),
        ("u@a:1", "hosts='***': must not hold a user name or password"),
    ],
)
def test_parse_of_a_wrong_entry_says_which_and_why(text: str, message: str) -> None:
    """Each mistake has its rule; what may be a password is not shown."""
    with pytest.raises(InvalidOptionError) as caught:
        parse_hosts(text)

    assert str(caught.value).startswith(message)


def test_parse_of_an_empty_sequence_is_refused() -> None:
    """No server is no list of servers."""
    with pytest.raises(InvalidOptionError, match="at least one host"):
        parse_hosts([])


def test_host_port_is_kept_in_one_spelling() -> None:
    """Equal servers compare equal, however they were written."""
    assert HostPort("ETCD.Example", 1) == HostPort("etcd.example", 1)
    assert str(HostPort("0:0::1", 1)) == "[::1]:1"


@pytest.mark.parametrize("host, port, field", [("", 1, "host"), ("a", 0, "port")])
def test_host_port_of_a_wrong_part_names_the_part(host: str, port: int, field: str) -> None:
    """A HostPort that a caller makes is checked like one that was read."""
    with pytest.raises(InvalidOptionError) as caught:
        HostPort(host, port)

    assert caught.value.field == field
