"""SASL, on a real ZooKeeper that knows a user by it."""

import importlib.util
from collections.abc import Iterator

import pytest

from enlist.backend_options import Secret
from enlist.errors import UnauthorisedError, UnsupportedError
from plugins.zookeeper.tests.making import CALL_S, Admin, MakeInfo, MakePlugin, path_of
from tests.servers.fixtures import ServerPool
from tests.servers.zookeeper import ZooKeeperServer

USERS = """
Server {
    org.apache.zookeeper.server.auth.DigestLoginModule required
    user_bob="right";
};
"""


class SaslServer(ZooKeeperServer):
    """One ZooKeeper with a user of SASL's DIGEST-MD5."""

    def command(self) -> list[str]:
        users = self.folder / "users.conf"
        users.write_text(USERS, encoding="ascii")
        java, *arguments = super().command()
        return [java, f"-Djava.security.auth.login.config={users}", *arguments]

    def _settings(self) -> dict[str, object]:
        provider = "org.apache.zookeeper.server.auth.SASLAuthenticationProvider"
        return {**super()._settings(), "authProvider.1": provider}


@pytest.fixture(scope="module")
def sasl_server(server_pool: ServerPool) -> Iterator[SaslServer]:
    with server_pool.run(SaslServer("zookeeper-sasl")) as server:
        yield server


def test_sasl_user_owns_what_he_registers(
    make_plugin: MakePlugin, sasl_server: SaslServer, make_info: MakeInfo, name: str
) -> None:
    """With the right password nodes belong to the user of SASL, and to nobody else."""
    info = make_info()
    options = {"auth": "sasl-digest-md5", "username": "bob", "password": Secret("right")}
    plugin = make_plugin(sasl_server.endpoint, **options)
    plugin.register(info, CALL_S)

    assert list(plugin.resolve(name, CALL_S)) == [info]
    with pytest.raises(UnauthorisedError):
        make_plugin(sasl_server.endpoint).resolve(name, CALL_S)
    sasl = {"mechanism": "DIGEST-MD5", "username": "bob", "password": "right"}
    with Admin(sasl_server.endpoint, sasl_options=sasl) as bob:
        ((perms, (scheme, who)),), _ = bob.kazoo.get_acls(path_of(info))
    assert (perms, scheme, who) == (31, "sasl", "bob")


def test_gssapi_without_its_library_is_unsupported(
    make_plugin: MakePlugin, sasl_server: SaslServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pure-sasl alone is not enough for it, and the error says what to install."""
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "kerberos" else find_spec(name)
    )

    with pytest.raises(UnsupportedError, match=r"enlist-zookeeper\[gssapi\]"):
        make_plugin(sasl_server.endpoint, auth="sasl-gssapi").probe(CALL_S)


def test_gssapi_that_cannot_begin_is_unauthorised(
    make_plugin: MakePlugin, sasl_server: SaslServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever Kerberos lacks, it is told as that and not as a lost connection, each time."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    plugin = make_plugin(sasl_server.endpoint, auth="sasl-gssapi")

    for _ in range(3):
        with pytest.raises(UnauthorisedError, match="Kerberos"):
            plugin.probe(CALL_S)


def test_sasl_with_a_wrong_password_is_unauthorised_each_time(
    make_plugin: MakePlugin,
    sasl_server: SaslServer,
    make_info: MakeInfo,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Kazoo gives up for good after it, and the next call is answered all the same."""
    caplog.set_level(1, logger="enlist_zookeeper")
    options = {"auth": "sasl-digest-md5", "username": "bob", "password": Secret("wrong-secret")}
    plugin = make_plugin(sasl_server.endpoint, **options)

    for _ in range(3):
        with pytest.raises(UnauthorisedError, match="password") as refused:
            plugin.register(make_info(), CALL_S)
        assert "wrong-secret" not in f"{refused.value!r} {refused.value.__cause__!r}"

    assert "wrong-secret" not in caplog.text
