"""TLS, mutual TLS and ACLs, on real agents that demand them."""

import hashlib
import logging
import os
import pty
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from enlist.backend_options import Secret
from enlist.errors import TimedOutError, UnauthorisedError, UnavailableError
from enlist_consul.connection import Answer
from enlist_consul.deadline import Deadline
from enlist_consul.operations import Request, deregister
from enlist_consul.plugin import ConsulRegistry
from plugins.consul.tests.making import CALL_S, MakeInfo, MakePlugin, id_of
from tests.following import Follower
from tests.servers.certificates import Certificates
from tests.servers.consul import ConsulServer
from tests.waiting import eventually

UNKNOWN = "11111111-2222-3333-4444-555555555555"
PUBLISHER = 'service "%s" { policy = "write" } node_prefix "" { policy = "read" }'


def mutual(certificates: Certificates) -> dict[str, Path]:
    tls = certificates.tls
    return {"ca": tls.ca, "cert": tls.client.certificate, "key": tls.client.key}


def token_for(server: ConsulServer, name: str, rules: str) -> str:
    """Make a token with a policy of that name."""
    server.call("PUT", "/v1/acl/policy", {"Name": name, "Rules": rules})
    token: dict[str, Any] = server.call("PUT", "/v1/acl/token", {"Policies": [{"Name": name}]})
    return str(token["SecretID"])


def test_mutual_tls_registers_and_watches(
    make_plugin: MakePlugin,
    consul_tls_server: ConsulServer,
    certificates: Certificates,
    make_info: MakeInfo,
    name: str,
) -> None:
    """With the right certificates everything works as without."""
    plugin = make_plugin(consul_tls_server.endpoint, **mutual(certificates))
    follower = Follower(plugin, name)
    assert follower.next() == []
    info = make_info()
    plugin.register(info, CALL_S)
    follower.until([info])
    assert follower.end() < 1


def test_tls_checks_the_name_that_was_given(
    make_plugin: MakePlugin, consul_tls_server: ConsulServer, certificates: Certificates
) -> None:
    """server_name stands in for the agent's host, and another one is refused."""
    chosen = mutual(certificates)
    make_plugin(consul_tls_server.endpoint, server_name="localhost", **chosen).probe(CALL_S)
    with pytest.raises(UnauthorisedError, match="server_name"):
        make_plugin(consul_tls_server.endpoint, server_name="other.example", **chosen).probe(CALL_S)


def test_tls_refuses_a_server_of_a_stranger(
    make_plugin: MakePlugin, consul_tls_server: ConsulServer, certificates: Certificates
) -> None:
    """Nothing is sent to an agent whose certificate nobody vouches for, unless one insists."""
    chosen = {**mutual(certificates), "ca": certificates.stranger.certificate}
    with pytest.raises(UnauthorisedError, match="Check ca"):
        make_plugin(consul_tls_server.endpoint, **chosen).probe(CALL_S)
    make_plugin(consul_tls_server.endpoint, tls_verify=False, **chosen).probe(CALL_S)


def test_tls_trusts_a_folder_of_authorities(
    make_plugin: MakePlugin,
    consul_tls_server: ConsulServer,
    certificates: Certificates,
    tmp_path: Path,
) -> None:
    """ca_path is what OpenSSL takes: each authority under the hash of its name."""
    chosen = {**mutual(certificates), "ca_path": tmp_path}
    ca = chosen.pop("ca")
    with pytest.raises(UnauthorisedError, match="Check ca"):
        make_plugin(consul_tls_server.endpoint, **chosen).probe(CALL_S)
    (tmp_path / f"{_name_hash(ca)}.0").symlink_to(ca)
    make_plugin(consul_tls_server.endpoint, **chosen).probe(CALL_S)


def _name_hash(certificate: Path) -> str:
    """Return the hash under which OpenSSL looks for an authority whose name is short."""
    name = x509.load_pem_x509_certificate(certificate.read_bytes()).subject
    lower = [x509.NameAttribute(one.oid, str(one.value).lower()) for one in name]
    inner = x509.Name(lower).public_bytes()[2:]
    digest = hashlib.sha1(inner, usedforsecurity=False).digest()
    return f"{int.from_bytes(digest[:4], 'little'):08x}"


def test_client_certificate_that_the_agent_refuses_is_unauthorised(
    make_plugin: MakePlugin, consul_tls_server: ConsulServer, certificates: Certificates
) -> None:
    """A stranger's certificate, or none, is a matter of credentials and not of the network."""
    stranger = certificates.stranger_client
    chosen = {"ca": certificates.tls.ca, "cert": stranger.certificate, "key": stranger.key}
    with pytest.raises(UnauthorisedError, match="check cert and key"):
        make_plugin(consul_tls_server.endpoint, **chosen).probe(CALL_S)
    with pytest.raises(UnauthorisedError, match="check cert and key"):
        make_plugin(consul_tls_server.endpoint, ca=certificates.tls.ca).probe(CALL_S)


def test_tls_files_that_cannot_be_used_are_named(
    make_plugin: MakePlugin, consul_tls_server: ConsulServer, tmp_path: Path
) -> None:
    """The message says which files there were, and what to do."""
    missing = tmp_path / "missing.pem"
    with pytest.raises(UnauthorisedError, match=r"missing\.pem.*cannot be used"):
        make_plugin(consul_tls_server.endpoint, ca=missing).probe(CALL_S)


AT_A_TERMINAL = """
import os, sys
from pathlib import Path
from enlist.errors import UnauthorisedError
from enlist_consul.options import ConsulOptions
from enlist_consul.plugin import ConsulRegistry

os.close(os.open(sys.argv[1], os.O_RDWR))  # the first one that a session opens is its terminal
certificate, key = map(Path, sys.argv[2:])
plugin = ConsulRegistry(ConsulOptions(address="127.0.0.1:1", cert=certificate, key=key), "0" * 32)
try:
    plugin.probe(5)
except UnauthorisedError as exc:
    print(exc)
"""


def test_encrypted_key_is_refused_and_nobody_is_asked_for_its_password(
    certificates: Certificates, tmp_path: Path
) -> None:
    """A program that was started at a terminal does not wait there for somebody to type."""
    client = certificates.tls.client
    key = serialization.load_pem_private_key(client.key.read_bytes(), None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"hush"),
    )
    locked = tmp_path / "locked.pem"
    locked.write_bytes(encrypted)
    ours, theirs = pty.openpty()
    try:
        ran = subprocess.run(
            [sys.executable, "-c", AT_A_TERMINAL, os.ttyname(theirs), client.certificate, locked],
            capture_output=True,
            check=True,
            start_new_session=True,
            text=True,
            timeout=20,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert "locked.pem cannot be used" in ran.stdout


def test_tls_towards_a_plain_port_says_so(
    make_plugin: MakePlugin, consul_server: ConsulServer
) -> None:
    """And the other way round nothing is taken for an answer."""
    with pytest.raises(UnavailableError, match="speaks HTTPS"):
        make_plugin(consul_server.endpoint, tls=True).probe(CALL_S)


def test_policy_of_the_documentation_suffices(
    make_plugin: MakePlugin,
    consul_acl_server: ConsulServer,
    make_info: MakeInfo,
    name: str,
) -> None:
    """With just that, a server registers, beats, repairs, watches and leaves."""
    token = token_for(consul_acl_server, name, PUBLISHER % name)
    plugin = make_plugin(consul_acl_server.endpoint, token=Secret(token))
    infos = [make_info() for _ in range(20)]
    plugin.register(infos[0], CALL_S)
    follower = Follower(plugin, name)
    assert follower.next() == [infos[0]]
    assert not plugin.restore(infos, 20)
    assert [plugin.keep_alive(infos, CALL_S).lost for _ in range(2)] == [[], []]
    follower.until(infos)
    follower.end()
    assert plugin.withdraw(infos, 20) == []


def test_policy_that_is_granted_later_is_used(
    make_plugin: MakePlugin, consul_acl_server: ConsulServer, make_info: MakeInfo, name: str
) -> None:
    """Denied is unauthorised and no more: the next call after the grant succeeds."""
    token = token_for(consul_acl_server, name, "")
    plugin = make_plugin(consul_acl_server.endpoint, token=Secret(token))
    info = make_info()
    with pytest.raises(UnauthorisedError, match='policy = "write"'):
        plugin.register(info, CALL_S)
    policy = consul_acl_server.call("GET", f"/v1/acl/policy/name/{name}")
    granted = {**policy, "Rules": PUBLISHER % name}
    consul_acl_server.call("PUT", f"/v1/acl/policy/{policy['ID']}", granted)
    plugin.register(info, CALL_S)
    assert plugin.resolve(name, CALL_S) == [info]


def test_record_that_the_token_may_see_no_more_is_not_written_again_and_again(
    make_plugin: MakePlugin, consul_acl_server: ConsulServer, make_info: MakeInfo, name: str
) -> None:
    """An older Consul does not tell it from one that is gone; one repair that nobody sees does."""
    token = token_for(consul_acl_server, name, PUBLISHER % name)
    plugin, info = make_plugin(consul_acl_server.endpoint, token=Secret(token)), make_info()
    plugin.register(info, CALL_S)
    policy = consul_acl_server.call("GET", f"/v1/acl/policy/name/{name}")
    taken_back = {**policy, "Rules": f'service "{name}" {{ policy = "write" }}'}
    consul_acl_server.call("PUT", f"/v1/acl/policy/{policy['ID']}", taken_back)
    if any(plugin.keep_alive([info], CALL_S).lost for _ in range(4)):
        (failed,) = plugin.restore([info], 2)
        assert "node_prefix" in str(failed.error)
    assert [plugin.keep_alive([info], CALL_S).lost for _ in range(4)] == [[]] * 4


def test_records_that_the_token_may_see_no_more_do_not_all_go_to_be_written_again(
    make_plugin: MakePlugin,
    consul_acl_server: ConsulServer,
    make_info: MakeInfo,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those who may see them would miss all of them at once; the first alone tells."""
    token = token_for(consul_acl_server, name, PUBLISHER % name)
    plugin = make_plugin(consul_acl_server.endpoint, token=Secret(token))
    infos = [make_info() for _ in range(3)]
    assert plugin.restore(infos, CALL_S) == []
    policy = consul_acl_server.call("GET", f"/v1/acl/policy/name/{name}")
    taken_back = {**policy, "Rules": f'service "{name}" {{ policy = "write" }}'}
    consul_acl_server.call("PUT", f"/v1/acl/policy/{policy['ID']}", taken_back)
    client, removals = plugin._open().client, {deregister(id_of(info)) for info in infos}
    call, asked = client.call, list[Request]()

    def noted(request: Request, deadline: Deadline) -> Answer:
        asked.append(request)
        return call(request, deadline)

    monkeypatch.setattr(client, "call", noted)
    if any(plugin.keep_alive(infos, CALL_S).lost for _ in range(4)):
        failed = plugin.restore(infos, 3)
        assert {one.info for one in failed} == set(infos)
    assert len(removals.intersection(asked)) <= 1
    assert [plugin.keep_alive(infos, CALL_S).lost for _ in range(4)] == [[]] * 4


def test_token_file_is_read_for_each_request(
    make_plugin: MakePlugin, consul_acl_server: ConsulServer, tmp_path: Path
) -> None:
    """A rotated token needs no restart; a file that is away is unauthorised, and comes back."""
    file = tmp_path / "token"
    plugin = make_plugin(consul_acl_server.endpoint, token_file=file)
    with pytest.raises(UnauthorisedError, match="cannot be read"):
        plugin.resolve("echo", CALL_S)
    file.write_text(UNKNOWN)
    with pytest.raises(UnauthorisedError) as refusal:
        plugin.resolve("echo", CALL_S)
    assert UNKNOWN not in str(refusal.value)
    file.write_text(consul_acl_server.token)
    assert plugin.resolve("echo", CALL_S) == []


@pytest.mark.parametrize("text", ["very-secret\n\n", "very-secret\r\n\n", "very-secr\u00e9t\n"])
def test_token_that_no_header_can_carry_is_unauthorised_and_not_shown(
    make_plugin: MakePlugin, tmp_path: Path, text: str
) -> None:
    """A line break too many is a matter of credentials; not even the traceback has the token."""
    file = tmp_path / "token"
    file.write_text(text, encoding="utf-8")
    for chosen, step in (({"token_file": file}, "token_file"), ({"token": Secret(text)}, "token")):
        plugin = make_plugin("127.0.0.1:1", **chosen)
        with pytest.raises(UnauthorisedError, match=rf"line break.*Check {step}\.") as refusal:
            plugin.resolve("echo", CALL_S)
        assert "very-secr" not in "".join(traceback.format_exception(refusal.value))
        assert isinstance(Follower(plugin, "echo").ended(), UnauthorisedError)


def test_record_that_the_token_may_not_see_is_not_confirmed(
    make_plugin: MakePlugin, consul_acl_server: ConsulServer, make_info: MakeInfo, name: str
) -> None:
    """Without the right to read nodes nobody can tell that others see it; the error says that."""
    token = token_for(consul_acl_server, name, f'service "{name}" {{ policy = "write" }}')
    plugin = make_plugin(consul_acl_server.endpoint, token=Secret(token))
    with pytest.raises((TimedOutError, UnauthorisedError), match="node_prefix"):
        plugin.register(make_info(), 2)


def warnings_of_empty(
    plugin: ConsulRegistry, name: str, caplog: pytest.LogCaptureFixture
) -> list[str]:
    """Resolve what is not there until the plugin knows what that means; return its warnings."""

    def is_settled() -> bool:
        assert plugin.resolve(name, CALL_S) == []
        return plugin._open().empty_lists._is_settled

    eventually(is_settled, why="the agent has told whether it has ACLs")
    assert plugin.resolve(name, CALL_S) == []
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]


@pytest.mark.parametrize("has_token", [True, False])
def test_empty_list_that_may_be_one_of_rights_is_warned_of_once(
    make_plugin: MakePlugin,
    consul_acl_server: ConsulServer,
    name: str,
    caplog: pytest.LogCaptureFixture,
    *,
    has_token: bool,
) -> None:
    """Consul answers a token without rights, and whoever has none, with an empty list."""
    token = token_for(consul_acl_server, name, 'key "x" { policy = "read" }') if has_token else ""
    plugin = make_plugin(consul_acl_server.endpoint, token=Secret(token))
    (warning,) = warnings_of_empty(plugin, name, caplog)
    assert "may lack" in warning


def test_empty_list_that_hides_nothing_is_not_warned_of(
    make_plugin: MakePlugin,
    consul_acl_server: ConsulServer,
    consul_server: ConsulServer,
    name: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Neither where there are no ACLs, whatever token is sent, nor where the token may do all."""
    plugins = [
        make_plugin(consul_server.endpoint),
        make_plugin(consul_server.endpoint, token=Secret(UNKNOWN)),
        make_plugin(consul_acl_server.endpoint, token=Secret(consul_acl_server.token)),
    ]
    for plugin in plugins:
        assert warnings_of_empty(plugin, name, caplog) == []


def test_token_that_may_only_read_resolves(
    make_plugin: MakePlugin, consul_acl_server: ConsulServer, make_info: MakeInfo, name: str
) -> None:
    """A process that publishes nothing needs no right to write, and has none."""
    owner = make_plugin(consul_acl_server.endpoint, token=Secret(consul_acl_server.token))
    info = make_info()
    owner.register(info, CALL_S)
    rules = f'service "{name}" {{ policy = "read" }} node_prefix "" {{ policy = "read" }}'
    token = token_for(consul_acl_server, name, rules)
    reader = make_plugin(consul_acl_server.endpoint, token=Secret(token))
    assert reader.resolve(name, CALL_S) == [info]
    assert reader.services(CALL_S) == [name]
    with pytest.raises(UnauthorisedError):
        reader.register(make_info(), CALL_S)
