"""TLS, mutual TLS and users, on real etcds that demand them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from enlist.backend_options import Secret
from enlist.errors import UnauthorisedError, UnavailableError
from enlist.hookspecs import Why
from enlist_etcd.client import Client
from enlist_etcd.connection import Connection, OnStop
from enlist_etcd.deadline import Deadline
from enlist_etcd.failures import refusal_of
from enlist_etcd.messages import KEEP_ALIVE, Message, Method
from enlist_etcd.plugin import EtcdRegistry
from plugins.etcd.tests.making import CALL_S, MakeInfo, MakePlugin
from tests.following import Follower
from tests.servers.certificates import Certificates
from tests.servers.etcd import EtcdServer
from tests.servers.fixtures import ETCD_AUTH
from tests.waiting import eventually

SECRET = ETCD_AUTH.users["service"].password

GRPC_AUTHORITIES = "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"
PROBE = """
import sys
from enlist.opening import open_registry
with open_registry(sys.argv[1]) as registry:
    registry.probe()
"""


def mutual(certificates: Certificates) -> dict[str, Path]:
    tls = certificates.tls
    return {"ca": tls.ca, "cert": tls.client.certificate, "key": tls.client.key}


def test_mutual_tls_registers_and_watches(
    make_plugin: MakePlugin,
    etcd_tls_server: EtcdServer,
    certificates: Certificates,
    make_info: MakeInfo,
    name: str,
) -> None:
    """With the right certificates everything works as without."""
    plugin = make_plugin(etcd_tls_server.endpoint, **mutual(certificates))
    follower = Follower(plugin, name)
    assert follower.next() == []
    info = make_info()
    plugin.register(info, CALL_S)
    assert follower.next() == [info]
    follower.end()


def test_tls_with_a_user_instead_of_a_certificate_registers_and_watches(
    make_plugin: MakePlugin, certificates: Certificates, make_info: MakeInfo, name: str
) -> None:
    """The server alone has a certificate; its authority is all that must be known of it."""
    options = {"ca": certificates.tls.ca, **as_user("service")}
    info = make_info()
    with EtcdServer("etcd-tls-users", tls=certificates.tls, mutual=False, auth=ETCD_AUTH) as server:
        plugin = make_plugin(server.endpoint, **options)
        follower = Follower(plugin, name)
        assert follower.next() == []
        plugin.register(info, CALL_S)
        assert follower.next() == [info]
        follower.end()
        with pytest.raises(UnauthorisedError, match="check ca"):
            make_plugin(server.endpoint, tls=True, **as_user("service")).probe(CALL_S)
        plugin.close(CALL_S)


@pytest.mark.parametrize("kind", ["file", "folder", "folder beside a file"])
def test_tls_without_ca_trusts_the_system_s_authorities(
    make_plugin: MakePlugin,
    etcd_tls_server: EtcdServer,
    certificates: Certificates,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    """Those of OpenSSL, which a company adds its own to, in a file, in a folder or in both."""
    monkeypatch.delenv(GRPC_AUTHORITIES, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    (tmp_path / "0123abcd.0").symlink_to(certificates.stranger.certificate)
    chosen = {"cert": certificates.tls.client.certificate, "key": certificates.tls.client.key}
    with pytest.raises(UnauthorisedError, match="check ca"):
        make_plugin(etcd_tls_server.endpoint, **chosen).probe(CALL_S)
    if kind == "file":
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.tls.ca))
    else:
        (tmp_path / "0123abcd.1").symlink_to(certificates.tls.ca)
    if kind == "folder beside a file":
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.stranger.certificate))
    make_plugin(etcd_tls_server.endpoint, **chosen).probe(CALL_S)


def test_tls_without_ca_trusts_the_authorities_that_grpc_was_given(
    etcd_tls_server: EtcdServer, certificates: Certificates
) -> None:
    """Whoever has set gRPC's own variable has chosen, whatever OpenSSL would trust."""
    tls = certificates.tls
    url = f"etcd://{etcd_tls_server.endpoint}?cert={tls.client.certificate}&key={tls.client.key}"
    chosen = {
        GRPC_AUTHORITIES: str(tls.ca),
        "SSL_CERT_FILE": str(certificates.stranger.certificate),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROBE, url],
        env={**os.environ, **chosen},
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_tls_checks_the_name_that_was_given(
    make_plugin: MakePlugin, etcd_tls_server: EtcdServer, certificates: Certificates
) -> None:
    """server_name stands in for the endpoint's host, and another one is refused."""
    chosen = mutual(certificates)
    make_plugin(etcd_tls_server.endpoint, server_name="localhost", **chosen).probe(CALL_S)
    with pytest.raises(UnauthorisedError, match="server_name"):
        make_plugin(etcd_tls_server.endpoint, server_name="other.example", **chosen).probe(CALL_S)


def test_tls_refuses_a_server_of_a_stranger(
    make_plugin: MakePlugin, etcd_tls_server: EtcdServer, certificates: Certificates
) -> None:
    """Nothing is sent to a server whose certificate nobody vouches for."""
    chosen = {**mutual(certificates), "ca": certificates.stranger.certificate}
    with pytest.raises(UnauthorisedError, match="check ca"):
        make_plugin(etcd_tls_server.endpoint, **chosen).probe(CALL_S)


def test_client_certificate_that_the_server_refuses_is_unauthorised(
    make_plugin: MakePlugin, etcd_tls_server: EtcdServer, certificates: Certificates
) -> None:
    """A stranger's certificate, or none, is a matter of credentials and not of the network."""
    stranger = certificates.stranger_client
    chosen = {"ca": certificates.tls.ca, "cert": stranger.certificate, "key": stranger.key}
    with pytest.raises(UnauthorisedError, match="check cert and key"):
        make_plugin(etcd_tls_server.endpoint, **chosen).probe(CALL_S)
    with pytest.raises(UnauthorisedError, match="check cert and key"):
        make_plugin(etcd_tls_server.endpoint, ca=certificates.tls.ca).probe(CALL_S)


def test_tls_files_that_cannot_be_used_are_named(
    make_plugin: MakePlugin, etcd_tls_server: EtcdServer, certificates: Certificates, tmp_path: Path
) -> None:
    """A missing file and one that is no certificate each lead to a message that says what to do."""
    chosen = mutual(certificates)
    with pytest.raises(UnauthorisedError, match=r"ca .*missing.pem' cannot be read"):
        make_plugin(etcd_tls_server.endpoint, ca=tmp_path / "missing.pem").probe(CALL_S)
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("garbage")
    with pytest.raises(UnauthorisedError, match="PEM files"):
        make_plugin(etcd_tls_server.endpoint, **{**chosen, "ca": garbage}).probe(CALL_S)


def test_tls_to_a_plain_server_and_the_reverse_are_unavailable(
    make_plugin: MakePlugin, etcd_server: EtcdServer, etcd_tls_server: EtcdServer
) -> None:
    """Neither hangs."""
    with pytest.raises(UnavailableError):
        make_plugin(etcd_server.endpoint, tls=True).probe(CALL_S)
    with pytest.raises(UnavailableError):
        make_plugin(etcd_tls_server.endpoint).probe(CALL_S)


def test_certificates_are_read_anew_with_each_connect(
    make_plugin: MakePlugin, etcd_tls_server: EtcdServer, certificates: Certificates, tmp_path: Path
) -> None:
    """Rotation needs no restart: the files are right, and the same object connects."""
    files = {option: tmp_path / f"{option}.pem" for option in ("ca", "cert", "key")}
    for option, source in mutual(certificates).items():
        shutil.copy(source, files[option])
    shutil.copy(certificates.stranger_client.certificate, files["cert"])
    shutil.copy(certificates.stranger_client.key, files["key"])
    plugin = make_plugin(etcd_tls_server.endpoint, **files)
    with pytest.raises(UnauthorisedError):
        plugin.probe(CALL_S)
    shutil.copy(certificates.tls.client.certificate, files["cert"])
    shutil.copy(certificates.tls.client.key, files["key"])
    plugin.probe(CALL_S)


def as_user(name: str, password: str | None = None) -> dict[str, object]:
    return {
        "username": name,
        "password": Secret(password or ETCD_AUTH.users[name].password),
    }


@pytest.fixture
def plugin(make_plugin: MakePlugin, etcd_auth_server: EtcdServer) -> EtcdRegistry:
    return make_plugin(etcd_auth_server.endpoint, **as_user("service"))


def test_expired_token_is_renewed_within_the_call(
    plugin: EtcdRegistry, make_info: MakeInfo, name: str
) -> None:
    """A process that kept silent for longer than tokens live is not turned away."""
    info, later = make_info(), make_info()
    plugin.register(info, CALL_S)
    token = plugin._open().client._tokens._current
    follower = Follower(plugin, name)
    assert follower.next() == [info]
    assert not follower.stop.wait(ETCD_AUTH.token_ttl_s + 2)  # the token expires
    assert plugin.keep_alive([info], CALL_S).lost == []
    assert plugin.resolve(name, CALL_S) == [info]
    assert plugin._open().client._tokens._current != token
    second = Follower(plugin, name)  # a watch that begins with the new token
    assert second.next() == [info]
    plugin.register(later, CALL_S)
    assert second.next() == [info, later]
    follower.until([info, later])  # and one that began with the old
    follower.end()
    second.end()


def test_restart_voids_tokens_and_nobody_notices(
    plugin: EtcdRegistry, make_info: MakeInfo, etcd_auth_server: EtcdServer
) -> None:
    """Etcd keeps tokens in memory only."""
    info = make_info()
    plugin.register(info, CALL_S)
    etcd_auth_server.restart()
    assert plugin.resolve(info.service_name, CALL_S) == [info]


def test_wrong_password_then_the_right_one_in_its_file(
    make_plugin: MakePlugin, etcd_auth_server: EtcdServer, tmp_path: Path
) -> None:
    """The file is read at each login, so the same object gets in once it is right."""
    file = tmp_path / "password"
    file.write_text("wrong-password\n")
    plugin = make_plugin(etcd_auth_server.endpoint, username="service", password_file=file)
    with pytest.raises(UnauthorisedError, match="Check username and the password") as caught:
        plugin.probe(CALL_S)
    assert "wrong-password" not in f"{caught.value!r} {caught.value.__cause__!r}"
    file.write_text(f"{SECRET}\n")
    plugin.probe(CALL_S)


@pytest.mark.parametrize(
    "options, step",
    [
        ({}, "give username"),
        (as_user("nobody", "x"), "Check username"),
        (as_user("elsewhere"), "READWRITE"),
    ],
    ids=["no user", "unknown user", "not for this prefix"],
)
def test_credentials_that_do_not_suffice_are_unauthorised(
    make_plugin: MakePlugin,
    etcd_auth_server: EtcdServer,
    make_info: MakeInfo,
    options: dict[str, object],
    step: str,
) -> None:
    """Each with the next step to take."""
    plugin = make_plugin(etcd_auth_server.endpoint, **options)
    with pytest.raises(UnauthorisedError, match=step):
        plugin.register(make_info(), CALL_S)
    with pytest.raises(UnauthorisedError, match=step):
        plugin.resolve("anything", CALL_S)


def test_prefix_of_its_own_lets_a_user_in(
    make_plugin: MakePlugin, etcd_auth_server: EtcdServer, make_info: MakeInfo
) -> None:
    """READWRITE below the prefix is all that a user needs, for every hook."""
    options = as_user("elsewhere")
    plugin = make_plugin(etcd_auth_server.endpoint, prefix="elsewhere", **options)
    info, other = make_info(), make_info()
    plugin.register(info, CALL_S)
    assert plugin.restore([info, other], CALL_S) == []
    assert plugin.keep_alive([info], CALL_S).lost == []
    assert plugin.services(CALL_S) == [info.service_name]
    plugin.probe(CALL_S)
    plugin.deregister(other, CALL_S)
    follower = Follower(plugin, info.service_name)
    assert follower.next() == [info]
    follower.end()
    assert plugin.withdraw([info], CALL_S) == []


def test_keep_alive_of_a_user_that_may_not_read_renews_and_warns_once(
    make_plugin: MakePlugin,
    etcd_auth_server: EtcdServer,
    make_info: MakeInfo,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The lease is kept; that removed records go unnoticed is said, and once."""
    plugin = make_plugin(etcd_auth_server.endpoint, **as_user("writer"))
    info = make_info()
    plugin.register(info, CALL_S)
    for _ in range(2):
        beat = plugin.keep_alive([info], CALL_S)
        assert (beat.lost, beat.valid_for_s) == ((), 15)
    assert caplog.text.count("go unnoticed") == 1


def test_keep_alive_renews_while_the_password_file_lags_behind(
    make_plugin: MakePlugin,
    etcd_auth_server: EtcdServer,
    make_info: MakeInfo,
    name: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A password that changes in etcd first ends no record, and is told as what it is."""
    etcd_auth_server.call("auth/user/add", {"name": name, "password": "old"})
    etcd_auth_server.call("auth/user/grant", {"user": name, "role": "service"})
    file = tmp_path / "password"
    file.write_text("old")
    plugin = make_plugin(etcd_auth_server.endpoint, username=name, password_file=file)
    info = make_info()
    plugin.register(info, CALL_S)
    etcd_auth_server.call("auth/user/changepw", {"name": name, "password": "new"})
    for _ in range(2):
        beat = plugin.keep_alive([info], CALL_S)
        ((lost, why, error),) = [(one.info, one.why, one.error) for one in beat.lost]
        assert (lost, why, beat.valid_for_s) == (info, Why.FAILED, 15)
        assert isinstance(error, UnauthorisedError)
        assert "Check username and the password" in str(error)
    assert "go unnoticed" not in caplog.text
    file.write_text("new")
    assert plugin.keep_alive([info], CALL_S).lost == []


@pytest.fixture
def asks_for_tokens(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Have etcd refuse to renew a lease with these tokens, as newer ones do, and with none."""
    call, refused = Connection.call, {""}

    def checked(
        connection: Connection,
        method: Method,
        request: Message,
        timeout_s: float,
        token: str,
        on_stop: OnStop | None = None,
    ) -> Message:
        if method is KEEP_ALIVE and token in refused:
            said = "invalid auth token" if token else "user name is empty"
            failure = refusal_of(f"etcdserver: {said}", "newer")
            assert failure is not None
            raise failure
        return call(connection, method, request, timeout_s, token, on_stop)

    monkeypatch.setattr(Connection, "call", checked)
    return refused


def test_keep_alive_logs_in_anew_where_a_renewal_needs_a_token(
    plugin: EtcdRegistry, make_info: MakeInfo, asks_for_tokens: set[str]
) -> None:
    """A token that has ended is no reason to lose the lease, whichever call meets it first."""
    info = make_info()
    plugin.register(info, CALL_S)
    assert plugin.keep_alive([info], CALL_S).lost == []
    tokens = plugin._open().client._tokens
    assert tokens._current
    asks_for_tokens.add(tokens._current)
    assert plugin.keep_alive([info], CALL_S).lost == []
    assert tokens._current not in asks_for_tokens


@pytest.mark.usefixtures("asks_for_tokens")
def test_keep_alive_tells_of_the_login_where_a_renewal_needs_a_token(
    make_plugin: MakePlugin,
    etcd_auth_server: EtcdServer,
    make_info: MakeInfo,
    tmp_path: Path,
) -> None:
    """That etcd takes nobody without a token would be news to no user who has given a password."""
    file = tmp_path / "password"
    file.write_text(SECRET)
    plugin = make_plugin(etcd_auth_server.endpoint, username="service", password_file=file)
    info = make_info()
    plugin.register(info, CALL_S)
    plugin._open().client._tokens._current = None
    file.write_text("wrong-password")
    with pytest.raises(UnauthorisedError, match="Check username and the password"):
        plugin.keep_alive([info], CALL_S)
    file.write_text(SECRET)
    assert plugin.keep_alive([info], CALL_S).lost == []


def test_user_of_an_etcd_without_authentication_is_let_in(
    make_plugin: MakePlugin, etcd_server: EtcdServer
) -> None:
    """Options that are ready for authentication work before it is switched on."""
    make_plugin(etcd_server.endpoint, **as_user("service")).probe(CALL_S)


def test_reader_sees_everything_and_changes_nothing(
    make_plugin: MakePlugin,
    plugin: EtcdRegistry,
    etcd_auth_server: EtcdServer,
    make_info: MakeInfo,
    name: str,
) -> None:
    """READ is enough for whoever only resolves."""
    reader = make_plugin(etcd_auth_server.endpoint, **as_user("reader"))
    info = make_info()
    plugin.register(info, CALL_S)
    reader.probe(CALL_S)
    assert reader.resolve(name, CALL_S) == [info]
    assert name in reader.services(CALL_S)
    follower = Follower(reader, name)
    assert follower.next() == [info]
    follower.end()
    with pytest.raises(UnauthorisedError, match="READWRITE"):
        reader.register(info, CALL_S)
    with pytest.raises(UnauthorisedError, match="READWRITE"):
        reader.restore([info], CALL_S)


def test_writer_registers_and_leaves_by_closing_alone(
    make_plugin: MakePlugin,
    plugin: EtcdRegistry,
    etcd_auth_server: EtcdServer,
    make_info: MakeInfo,
    name: str,
) -> None:
    """Who may not read cannot compare the owner, and so remove no single record."""
    writer = make_plugin(etcd_auth_server.endpoint, **as_user("writer"))
    info = make_info()
    writer.register(info, CALL_S)
    with pytest.raises(UnauthorisedError, match="READWRITE"):
        writer.deregister(info, CALL_S)
    assert plugin.resolve(name, CALL_S) == [info]
    writer.close(CALL_S)
    assert plugin.resolve(name, CALL_S) == []


def test_watch_that_its_user_may_not_have_is_unauthorised(
    make_plugin: MakePlugin, etcd_auth_server: EtcdServer
) -> None:
    """Etcd refuses a watch without saying which; it is not left waiting in silence."""
    plugin = make_plugin(etcd_auth_server.endpoint, prefix="elsewhere", **as_user("elsewhere"))
    parts = plugin._open()
    token = parts.client.token(Deadline(CALL_S))
    with (
        parts.watches.following(b"kitex/", 0, token) as watch,
        pytest.raises(UnauthorisedError, match="READWRITE"),
    ):
        next(iter(watch))


def test_watch_with_a_token_that_has_ended_raises_and_the_next_one_logs_in(
    plugin: EtcdRegistry, make_info: MakeInfo, name: str
) -> None:
    """Between its list and its watch a token may end; etcd then refuses by an answer alone."""
    info = make_info()
    plugin.register(info, CALL_S)
    tokens = plugin._open().client._tokens
    tokens._current = "ended.1"
    with (
        plugin._open().watches.following(b"kitex/", 0, "ended.1") as watch,
        pytest.raises(UnavailableError, match="token has ended") as caught,
    ):
        next(iter(watch))
    assert not isinstance(caught.value, UnauthorisedError)
    assert tokens._current is None
    follower = Follower(plugin, name)
    assert follower.next() == [info]
    follower.end()


def test_watch_that_waits_for_a_login_ends_soon_after_stop(
    make_plugin: MakePlugin, etcd_auth_server: EtcdServer, name: str
) -> None:
    """The one that logs in at a frozen etcd, and the one that waits for that login."""
    plugin = make_plugin(etcd_auth_server.endpoint, **as_user("service"))
    etcd_auth_server.freeze()
    followers = [Follower(plugin, name) for _ in range(2)]
    for follower in followers:
        eventually(lambda: follower.stop._callbacks, why="it waits")  # noqa: B023 - asked at once
    for follower in followers:
        assert follower.end() < 1.2  # 0.2, and what a busy machine may add
        assert follower.error is None


def test_login_of_many_threads_is_one(
    plugin: EtcdRegistry, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login is expensive for etcd on purpose: 60 watches that begin at once need one."""
    logins: list[Connection] = []
    log_in = Client._log_in

    def counted(
        client: Client, connection: Connection, deadline: Deadline, on_stop: OnStop | None
    ) -> str:
        logins.append(connection)
        return log_in(client, connection, deadline, on_stop)

    monkeypatch.setattr(Client, "_log_in", counted)
    followers = [Follower(plugin, f"{name}-{number}") for number in range(60)]
    for follower in followers:
        assert follower.next() == []
    for follower in followers:
        follower.end()
    assert len(logins) == 1
