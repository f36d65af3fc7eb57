"""Users, access control lists, TLS and mutual TLS, on real ZooKeepers that demand them."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from enlist.backend_options import Secret
from enlist.errors import RejectedError, UnauthorisedError, UnavailableError, UnsupportedError
from enlist.hookspecs import Why
from enlist_zookeeper.plugin import ZooKeeperRegistry
from plugins.zookeeper.tests.making import (
    CALL_S,
    Admin,
    MakeInfo,
    MakePlugin,
    path_of,
    session_of,
)
from tests.following import Follower
from tests.servers.certificates import Certificates
from tests.servers.proxy import Proxy
from tests.servers.zookeeper import ZooKeeperServer
from tests.waiting import eventually

AsUser = Callable[..., ZooKeeperRegistry]


@pytest.fixture
def as_user(make_plugin: MakePlugin, zookeeper_server: ZooKeeperServer) -> AsUser:
    """Make a plugin object that shows a user and a password, or the one in a file."""

    def make(password: str | Path, **options: Any) -> ZooKeeperRegistry:  # noqa: ANN401 - each option has its own type
        if isinstance(password, Path):
            options["password_file"] = password
        else:
            options["password"] = Secret(password)
        return make_plugin(zookeeper_server.endpoint, username="bob", **options)

    return make


def test_nodes_of_a_user_are_his_as_kitex_makes_them(
    as_user: AsUser,
    make_plugin: MakePlugin,
    zookeeper_server: ZooKeeperServer,
    make_info: MakeInfo,
    name: str,
) -> None:
    """With credentials both the folder and the record are open to that user alone."""
    plugin, info = as_user("right"), make_info()
    plugin.register(info, CALL_S)

    credentials = [("digest", "bob:right")]
    with Admin(zookeeper_server.endpoint, auth_data=credentials) as bob:
        for path in (f"/{name}", path_of(info)):
            ((perms, (scheme, who)),), _ = bob.kazoo.get_acls(path)
            assert (perms, scheme, who.partition(":")[0]) == (31, "digest", "bob")
    assert list(as_user("right").resolve(name, CALL_S)) == [info]
    for stranger in (as_user("wrong"), make_plugin(zookeeper_server.endpoint)):
        with pytest.raises(UnauthorisedError, match="password"):
            stranger.resolve(name, CALL_S)
        with pytest.raises(UnauthorisedError, match="password"):
            stranger.register(info, CALL_S)
        follower = Follower(stranger, name)
        assert isinstance(follower.ended(), UnauthorisedError)


def test_record_that_may_not_be_read_hides_no_other(
    as_user: AsUser,
    make_plugin: MakePlugin,
    zookeeper_server: ZooKeeperServer,
    make_info: MakeInfo,
    name: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One server with a user among others without: they go on finding each other."""
    anyone, bob = make_plugin(zookeeper_server.endpoint), as_user("right")
    opened, secret = make_info(), make_info()
    anyone.register(opened, CALL_S)
    follower = Follower(anyone, name)
    assert follower.next() == [opened]
    bob.register(secret, CALL_S)

    assert list(anyone.resolve(name, CALL_S)) == [opened]
    assert set(bob.resolve(name, CALL_S)) == {opened, secret}

    later = make_info()
    anyone.register(later, CALL_S)
    assert set(follower.next()) == {opened, later}  # and nothing before that
    bob.deregister(secret, CALL_S)
    anyone.register(secret, CALL_S)
    follower.until([opened, later, secret])
    follower.end()
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [path_of(secret) in message for message in warned] == [True, True]  # look and watch


def test_records_of_which_none_may_be_read_are_unauthorised(
    as_user: AsUser,
    make_plugin: MakePlugin,
    zookeeper_server: ZooKeeperServer,
    admin: Admin,
    make_info: MakeInfo,
    name: str,
) -> None:
    """An empty list would hide a wrong password, and empty the views of those who have it.

    That another registry's folder can be read changes nothing about it.
    """
    anyone, bob = make_plugin(zookeeper_server.endpoint), as_user("right")
    info = make_info()
    admin.put(f"/{name}/folder", b"", ephemeral=False)
    anyone.register(info, CALL_S)
    follower = Follower(anyone, name)
    assert follower.next() == [info]
    bob.register(info, CALL_S)

    assert isinstance(follower.ended(), UnauthorisedError)
    assert follower.lists.empty()
    with pytest.raises(UnauthorisedError, match="password"):
        anyone.resolve(name, CALL_S)
    bob.deregister(info, CALL_S)
    assert list(anyone.resolve(name, CALL_S)) == []


def test_wrong_password_is_told_where_nothing_is_registered_yet(
    as_user: AsUser, zookeeper_server: ZooKeeperServer, name: str
) -> None:
    """A missing service below a folder that may not be read is no empty list."""
    credentials = [("digest", "bob:right")]
    with Admin(zookeeper_server.endpoint, auth_data=credentials) as bob:
        from kazoo.security import make_digest_acl

        bob.kazoo.create(f"/{name}", b"", acl=[make_digest_acl("bob", "right", all=True)])
    assert list(as_user("right", chroot=name).resolve("echo", CALL_S)) == []

    with pytest.raises(UnauthorisedError):
        as_user("wrong", chroot=name).resolve("echo", CALL_S)


def test_no_error_shows_the_password(
    as_user: AsUser, make_info: MakeInfo, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither an error nor a log line nor a repr holds it, at whatever level."""
    caplog.set_level(1, logger="enlist_zookeeper")
    info = make_info()
    as_user("first-secret").register(info, CALL_S)
    plugin = as_user("second-secret")

    with pytest.raises(UnauthorisedError) as refused:
        plugin.register(info, CALL_S)

    shown = f"{refused.value!r} {refused.value.__cause__!r} {caplog.text} {vars(plugin)}"
    assert "-secret" not in shown


def test_password_file_is_read_anew_at_each_connect(
    as_user: AsUser,
    zookeeper_server: ZooKeeperServer,
    make_info: MakeInfo,
    name: str,
    tmp_path: Path,
) -> None:
    """A rotated password is used, and given to new nodes, after the next reconnect."""
    file = tmp_path / "password"
    file.write_text("old\n")
    plugin = as_user(file)
    plugin.register(make_info(), CALL_S)
    file.write_text("new\n")

    zookeeper_server.restart()
    info = make_info(service_name=f"{name}-new")
    eventually(lambda: _registers(plugin, info), within_s=20, why="it is connected again")

    assert list(as_user("new").resolve(info.service_name, CALL_S)) == [info]


def test_rotated_password_is_another_user_to_nodes_that_do_not_name_it(
    as_user: AsUser,
    zookeeper_server: ZooKeeperServer,
    make_info: MakeInfo,
    name: str,
    tmp_path: Path,
) -> None:
    """Folders admit the new password once their lists name it, which is best done before."""
    from kazoo.security import make_digest_acl

    file = tmp_path / "password"
    file.write_text("old")
    plugin, info = as_user(file), make_info()
    plugin.register(make_info(), CALL_S)
    file.write_text("new")
    zookeeper_server.restart()
    eventually(lambda: _probes(plugin), within_s=20, why="it is connected again")
    with pytest.raises(UnauthorisedError, match="access control list"):
        plugin.register(info, CALL_S)

    acl = [make_digest_acl("bob", password, all=True) for password in ("old", "new")]
    with Admin(zookeeper_server.endpoint, auth_data=[("digest", "bob:old")]) as bob:
        bob.kazoo.set_acls(f"/{name}", acl)

    plugin.register(info, CALL_S)
    assert list(plugin.resolve(name, CALL_S)) == [info]


def _registers(plugin: ZooKeeperRegistry, info: Any) -> bool:  # noqa: ANN401 - an Info
    try:
        plugin.register(info, CALL_S)
    except UnavailableError:
        return False
    return True


def test_password_file_that_is_missing_is_named(as_user: AsUser, tmp_path: Path) -> None:
    """The error says which file, and the file may come later."""
    file = tmp_path / "password"
    plugin = as_user(file)
    with pytest.raises(UnauthorisedError, match="cannot be read"):
        plugin.probe(CALL_S)
    file.write_text("right")

    eventually(lambda: _probes(plugin), why="the file is read")


def test_password_file_that_is_away_costs_no_session(
    make_plugin: MakePlugin,
    make_proxy: Callable[[str], Proxy],
    zookeeper_server: ZooKeeperServer,
    make_info: MakeInfo,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A reconnect that finds no secret is tried again, and the session and its records live on."""
    file = tmp_path / "password"
    file.write_text("right")
    proxy = make_proxy(zookeeper_server.endpoint)
    plugin, info = make_plugin(proxy.endpoint, username="bob", password_file=file), make_info()
    plugin.register(info, CALL_S)
    session = session_of(plugin)
    file.unlink()
    proxy.cut()
    eventually(lambda: _is_refused(plugin), why="it cannot connect")
    file.write_text("right")

    eventually(lambda: _probes(plugin), why="the file is read")

    assert session_of(plugin) == session
    assert plugin.keep_alive([info], CALL_S).lost == []
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def _is_refused(plugin: ZooKeeperRegistry) -> bool:
    try:
        plugin.probe(CALL_S)
    except UnauthorisedError:
        return True
    except UnavailableError:  # the connection breaks under the request
        return False
    return False


def _probes(plugin: ZooKeeperRegistry) -> bool:
    try:
        plugin.probe(CALL_S)
    except (UnauthorisedError, UnavailableError):
        return False
    return True


def test_acl_of_the_options_replaces_kitex_s_rule(
    as_user: AsUser,
    make_plugin: MakePlugin,
    zookeeper_server: ZooKeeperServer,
    make_info: MakeInfo,
    name: str,
) -> None:
    """Anyone may read what the user alone may write."""
    info = make_info()
    plugin = as_user("right", acl=("auth::cdrwa", "world:anyone:r"))
    plugin.register(info, CALL_S)
    plugin.register(info, CALL_S)

    anyone = make_plugin(zookeeper_server.endpoint)
    assert list(anyone.resolve(name, CALL_S)) == [info]
    with pytest.raises(UnauthorisedError):
        anyone.register(make_info(), CALL_S)


def test_acl_that_the_server_refuses_is_rejected(
    make_plugin: MakePlugin, zookeeper_server: ZooKeeperServer, make_info: MakeInfo
) -> None:
    """Nodes for whoever is authenticated, made by nobody in particular, are a mistake."""
    plugin = make_plugin(zookeeper_server.endpoint, acl=("auth::cdrwa",))

    with pytest.raises(RejectedError, match="option acl"):
        plugin.register(make_info(), CALL_S)


def test_services_at_an_unreadable_root_are_unauthorised(
    as_user: AsUser, zookeeper_server: ZooKeeperServer, make_info: MakeInfo, name: str
) -> None:
    """Bulk and listing hooks tell of wrong credentials too."""
    from kazoo.security import make_digest_acl

    acl = [make_digest_acl("bob", "right", all=True)]
    with Admin(zookeeper_server.endpoint) as anyone:
        anyone.kazoo.create(f"/{name}", b"", acl=acl)
    wrong = as_user("wrong", chroot=name)
    infos = [make_info() for _ in range(3)]

    with pytest.raises(UnauthorisedError):
        wrong.services(CALL_S)
    refused = wrong.restore(infos, CALL_S)
    assert [(lost.info, lost.why, type(lost.error)) for lost in refused] == [
        (info, Why.FAILED, UnauthorisedError) for info in infos
    ]
    assert as_user("right", chroot=name).restore(infos, CALL_S) == []


def test_restore_is_not_held_up_by_one_service_that_is_refused(
    make_plugin: MakePlugin, zookeeper_server: ZooKeeperServer, make_info: MakeInfo, name: str
) -> None:
    """Each record that can be written is; only those of a stranger's folder are refused."""
    from kazoo.security import make_digest_acl

    with Admin(zookeeper_server.endpoint) as anyone:
        acl = [make_digest_acl("bob", "right", all=True)]
        anyone.kazoo.create(f"/{name}-b", b"", acl=acl)
    plugin = make_plugin(zookeeper_server.endpoint)
    refused = [make_info(service_name=f"{name}-b") for _ in range(3)]
    taken = [make_info(service_name=f"{name}-{letter}") for letter in "ac" for _ in range(60)]

    lost = plugin.restore([*taken[:60], *refused, *taken[60:]], CALL_S)

    assert [(one.info, one.why) for one in lost] == [(info, Why.FAILED) for info in refused]
    found = [len(plugin.resolve(f"{name}-{letter}", CALL_S)) for letter in "ac"]
    assert found == [60, 60]


def test_sasl_without_its_library_is_unsupported(
    as_user: AsUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says what to install."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(UnsupportedError, match=r"enlist-zookeeper\[sasl\]"):
        as_user("right", auth="sasl-digest-md5").probe(CALL_S)


def mutual(certificates: Certificates) -> dict[str, Path]:
    tls = certificates.tls
    return {"ca": tls.ca, "cert": tls.client.certificate, "key": tls.client.key}


def test_mutual_tls_registers_and_watches(
    make_plugin: MakePlugin,
    zookeeper_tls_server: ZooKeeperServer,
    certificates: Certificates,
    make_info: MakeInfo,
    name: str,
) -> None:
    """With the right certificates everything works as without, many answers at a time too."""
    plugin = make_plugin(zookeeper_tls_server.endpoint, **mutual(certificates))
    infos = [make_info() for _ in range(300)]
    assert plugin.restore(infos, CALL_S) == []
    follower = Follower(plugin, name)
    assert set(follower.next()) == set(infos)
    plugin.deregister(infos[0], CALL_S)
    follower.until(infos[1:])
    follower.end()


def test_tls_checks_the_name_that_was_given(
    make_plugin: MakePlugin, zookeeper_tls_server: ZooKeeperServer, certificates: Certificates
) -> None:
    """server_name stands in for the host, and another one is refused."""
    chosen = mutual(certificates)
    make_plugin(zookeeper_tls_server.endpoint, server_name="localhost", **chosen).probe(CALL_S)
    with pytest.raises(UnauthorisedError, match="server_name"):
        make_plugin(zookeeper_tls_server.endpoint, server_name="other.example", **chosen).probe(
            CALL_S
        )


def test_tls_refuses_a_server_of_a_stranger(
    make_plugin: MakePlugin, zookeeper_tls_server: ZooKeeperServer, certificates: Certificates
) -> None:
    """Nothing is sent to a server whose certificate the given authority did not sign."""
    chosen = {**mutual(certificates), "ca": certificates.stranger.certificate}
    with pytest.raises(UnauthorisedError, match="Check ca"):
        make_plugin(zookeeper_tls_server.endpoint, **chosen).probe(CALL_S)


@pytest.mark.parametrize("shown", ["a stranger's", "none"])
def test_client_certificate_that_the_server_refuses_fails_with_its_name(
    make_plugin: MakePlugin,
    zookeeper_tls_server: ZooKeeperServer,
    certificates: Certificates,
    shown: str,
) -> None:
    """The error says that TLS is the matter, or at least that the server ended the connection."""
    stranger = certificates.stranger_client
    chosen = {"cert": stranger.certificate, "key": stranger.key} if shown != "none" else {}
    plugin = make_plugin(zookeeper_tls_server.endpoint, ca=certificates.tls.ca, **chosen)
    with pytest.raises((UnauthorisedError, UnavailableError), match=r"TLS|closed the connection"):
        plugin.probe(CALL_S)


def test_tls_files_that_cannot_be_used_are_named(
    make_plugin: MakePlugin,
    zookeeper_tls_server: ZooKeeperServer,
    certificates: Certificates,
    tmp_path: Path,
) -> None:
    """A missing file and one that is no certificate each lead to a message that says what to do."""
    endpoint = zookeeper_tls_server.endpoint
    with pytest.raises(UnauthorisedError, match=r"cannot be read out of .*missing\.pem"):
        make_plugin(endpoint, ca=tmp_path / "missing.pem").probe(CALL_S)
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("garbage")
    with pytest.raises(UnauthorisedError, match="PEM files"):
        make_plugin(endpoint, **{**mutual(certificates), "ca": garbage}).probe(CALL_S)


def test_tls_to_a_plain_server_and_the_reverse_do_not_hang(
    make_plugin: MakePlugin, zookeeper_tls_server: ZooKeeperServer, certificates: Certificates
) -> None:
    """Both end in time, with an error that is no promise of success."""
    plain = f"127.0.0.1:{zookeeper_tls_server.port}"
    with pytest.raises((UnauthorisedError, UnavailableError)):
        make_plugin(plain, **mutual(certificates)).probe(1.0)
    with pytest.raises(UnavailableError):
        make_plugin(zookeeper_tls_server.endpoint).probe(1.0)


def test_certificates_are_read_anew_with_each_connect(
    make_plugin: MakePlugin,
    zookeeper_tls_server: ZooKeeperServer,
    certificates: Certificates,
    tmp_path: Path,
) -> None:
    """Rotation needs no restart: once the files are right, the same object connects."""
    files = {option: tmp_path / f"{option}.pem" for option in ("ca", "cert", "key")}
    for option, source in mutual(certificates).items():
        shutil.copy(source, files[option])
    shutil.copy(certificates.stranger.certificate, files["ca"])
    plugin = make_plugin(zookeeper_tls_server.endpoint, **files)
    with pytest.raises(UnauthorisedError):
        plugin.probe(CALL_S)

    shutil.copy(certificates.tls.ca, files["ca"])

    eventually(lambda: _probes(plugin), why="it connects")
