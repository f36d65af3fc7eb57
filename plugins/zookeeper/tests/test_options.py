"""Options: what is refused, and what they come to."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from enlist.backend_options import Secret, Target, read_options
from enlist.errors import InvalidOptionError
from enlist_zookeeper.access import Entry, parse_acl
from enlist_zookeeper.options import ZooKeeperOptions


def test_read_options_from_a_url() -> None:
    """A URL is ZooKeeper's own connection string: hosts, and the chroot at its end."""
    target = Target.parse("zookeeper://a:1,[::1]/app/x?ttl=30&prefix=kitex&acl=world:anyone:r")

    options = read_options(ZooKeeperOptions, target, {}, {})

    assert [str(host) for host in options.hosts] == ["a:1", "[::1]:2181"]
    assert (options.base, options.root) == ("/app/x", "/app/x/kitex")
    assert options.ttl == dt.timedelta(seconds=30)
    assert options.acl == ("world:anyone:r",)


def test_options_default_to_kitex_s_place() -> None:
    """Without options services lie at the top of the tree, where Kitex looks for them."""
    options = ZooKeeperOptions()

    assert (options.base, options.root, options.uses_tls) == ("", "", False)


@pytest.mark.parametrize(
    "fields, refused, told",
    [
        ({"ttl": dt.timedelta(milliseconds=999)}, "ttl", "1 s to one day"),
        ({"ttl": dt.timedelta(days=2)}, "ttl", "1 s to one day"),
        ({"chroot": "a//b"}, "chroot", "is empty"),
        ({"chroot": "a/../b"}, "chroot", "'..'"),
        ({"prefix": "a\ue000"}, "prefix", "U+E000"),
        ({"prefix": "a\x7fb"}, "prefix", "control character"),
        ({"chroot": "/zookeeper/quota"}, "chroot", "its own nodes"),
        ({"prefix": "zookeeper"}, "prefix", "its own nodes"),
        ({"username": "u"}, "username", "password_file"),
        ({"password": Secret("p")}, "username", "is missing"),
        ({"auth": "sasl-digest-md5"}, "username", "is missing"),
        ({"auth": "sasl-gssapi", "password": Secret("p")}, "password", "Kerberos"),
        ({"username": "a:b", "password": Secret("p")}, "username", "':'"),
        ({"cert": Path("c.pem")}, "key", "with cert"),
        ({"key": Path("k.pem")}, "cert", "with key"),
        ({"acl": ("world:anyone",)}, "acl", "scheme:id:permissions"),
        ({"acl": ("world:anyone:rx",)}, "acl", "scheme:id:permissions"),
        ({"acl": ("world:anyone:",)}, "acl", "scheme:id:permissions"),
        ({"acl": (":anyone:r",)}, "acl", "scheme:id:permissions"),
    ],
)
def test_options_refuse_what_cannot_work(fields: dict[str, Any], refused: str, told: str) -> None:
    """The error names the option and what to do."""
    with pytest.raises(InvalidOptionError) as error:
        ZooKeeperOptions(**fields)

    assert error.value.field == refused
    assert told in str(error.value)


def test_options_never_show_a_password() -> None:
    """Neither the options nor an error about them hold it in a readable form."""
    shown = repr(ZooKeeperOptions(username="u", password=Secret("hidden-one")))

    with pytest.raises(InvalidOptionError) as error:
        ZooKeeperOptions(auth="sasl-gssapi", password=Secret("hidden-one"))

    assert "hidden-one" not in shown + str(error.value)


@pytest.mark.parametrize(
    "text, entry",
    [
        ("world:anyone:r", Entry("world", "anyone", 1)),
        ("auth::cdrwa", Entry("auth", "", 31)),
        ("digest:bob:c2hh=:rw", Entry("digest", "bob:c2hh=", 3)),
        ("ip:2001:db8::1:rr", Entry("ip", "2001:db8::1", 1)),
    ],
)
def test_parse_acl_reads_entries_as_zookeeper_s_shell(text: str, entry: Entry) -> None:
    """Whom it means may contain colons."""
    assert parse_acl(text) == entry
