import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from enlist.backend_options import HostPort, Secret, read_options, target_from
from enlist.errors import InvalidOptionError
from enlist_etcd.options import EtcdOptions


def options(
    url: str = "etcd", environ: dict[str, str] | None = None, **keywords: object
) -> EtcdOptions:
    return read_options(EtcdOptions, target_from(url, {}), keywords, environ or {})


def test_defaults_are_those_of_kitex_and_a_local_etcd() -> None:
    """Without any option a local etcd is used, and Kitex's prefix."""
    chosen = options()
    assert chosen.endpoints == (HostPort("127.0.0.1", 2379),)
    assert chosen.prefix == "kitex/registry-etcd"
    assert chosen.ttl == dt.timedelta(seconds=15)
    assert not chosen.uses_tls


def test_url_says_endpoints_prefix_user_and_options() -> None:
    """All but secrets can stand in the URL."""
    chosen = options("etcd://me@h1,[::1]:99/a/b?ttl=30&tls=yes", password="secret")
    assert chosen.endpoints == (HostPort("h1", 2379), HostPort("::1", 99))
    assert (chosen.prefix, chosen.username, chosen.ttl) == ("a/b", "me", dt.timedelta(seconds=30))
    assert chosen.uses_tls
    assert "secret" not in repr(chosen)


def test_environment_understands_the_ttl_of_kitex() -> None:
    """KITEX_ETCD_REGISTRY_LEASE_TTL counts seconds; our own variable is stronger."""
    environ = {"KITEX_ETCD_REGISTRY_LEASE_TTL": "60"}
    assert options(environ=environ).ttl == dt.timedelta(seconds=60)
    environ["ENLIST_OPT_ETCD_TTL"] = "20s"
    assert options(environ=environ).ttl == dt.timedelta(seconds=20)


@pytest.mark.parametrize("option", ["ca", "cert"])
def test_certificates_switch_tls_on(option: str) -> None:
    """Nobody who names an authority or a certificate is connected in the clear."""
    given = {"ca": Path("/ca.pem")} if option == "ca" else {"cert": Path("/c"), "key": Path("/k")}
    assert EtcdOptions(**given).uses_tls  # type: ignore[arg-type]  # which of the two is chosen at run time


@pytest.mark.parametrize(
    "keywords, message",
    [
        ({"prefix": "a/"}, "prefix='a/': must not end with '/'"),
        ({"prefix": "\ud800"}, "lone surrogate"),
        ({"ttl": dt.timedelta(milliseconds=999)}, "must be from 1 s to one day"),
        ({"ttl": dt.timedelta(days=2)}, "must be from 1 s to one day"),
        ({"max_txn_ops": 1}, "must be from 2"),
        ({"username": "me"}, "has no password"),
        ({"password": Secret("hush")}, "username='': is missing"),
        ({"password_file": Path("/p")}, "username='': is missing"),
        ({"cert": Path("/c")}, "key=None: is needed with cert"),
        ({"key": Path("/k")}, "cert=None: is needed with key"),
    ],
)
def test_options_refuse_what_cannot_work(keywords: dict[str, Any], message: str) -> None:
    """A mistake is found before anything is sent, and no message shows a secret."""
    with pytest.raises(InvalidOptionError, match=message) as caught:
        EtcdOptions(**keywords)
    assert "hush" not in str(caught.value)
