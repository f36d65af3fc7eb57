"""The variants of etcd: TLS, users, a cluster, leases."""

import ssl
import time
from http import HTTPStatus

import pytest

from tests.servers.certificates import Certificates
from tests.servers.cluster import Cluster
from tests.servers.etcd import EtcdServer, _base64
from tests.servers.fixtures import ETCD_AUTH
from tests.servers.web import Tls, Web
from tests.waiting import eventually


def test_keys_are_listed_and_deleted_below_a_prefix(etcd_server: EtcdServer) -> None:
    """Only what begins with the prefix counts, and the rest stays."""
    for key in ("list/a", "list/b", "listing"):
        etcd_server.put(key, "x")

    assert etcd_server.keys("list/") == ["list/a", "list/b"]

    etcd_server.delete("list/")
    assert etcd_server.keys("list") == ["listing"]
    etcd_server.delete()
    assert etcd_server.keys() == []


def test_revoke_ends_a_lease_and_its_keys(etcd_server: EtcdServer) -> None:
    """A key bound to a lease goes with it."""
    lease = int(etcd_server.call("lease/grant", {"TTL": 60})["ID"])
    key = {"key": _base64("leased"), "value": _base64("x"), "lease": str(lease)}
    etcd_server.call("kv/put", key)
    assert lease in etcd_server.leases()

    etcd_server.revoke(lease)

    assert lease not in etcd_server.leases()
    assert etcd_server.get("leased") is None


def test_tls_server_answers_our_client(etcd_tls_server: EtcdServer) -> None:
    """A client with our certificate reads and writes."""
    etcd_tls_server.put("tls", "x")

    assert etcd_tls_server.get("tls") == "x"


def test_tls_server_refuses_a_stranger(
    etcd_tls_server: EtcdServer, certificates: Certificates
) -> None:
    """A client of an unrelated authority gets nowhere."""
    tls = Tls(certificates.tls.ca, certificates.tls.server, certificates.stranger_client)

    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        Web(etcd_tls_server.port, tls).request("GET", "/health")


def test_tls_server_refuses_plain_text(etcd_tls_server: EtcdServer) -> None:
    """HTTP without TLS is not served."""
    with pytest.raises(ConnectionError):
        Web(etcd_tls_server.port).request("GET", "/health")


def call_as(server: EtcdServer, user: str, password: str, method: str, key: str) -> int:
    """Call as a user; returns the status of the call, or that of a failed login."""
    web = Web(server.port)
    login = web.request("POST", "/v3/auth/authenticate", {"name": user, "password": password})
    if login.status != HTTPStatus.OK:
        return login.status
    token = {"Authorization": login.json()["token"]}
    return web.request("POST", f"/v3/{method}", {"key": _base64(key)}, token).status


@pytest.mark.parametrize(
    "user,method,allowed",
    [
        ("service", "kv/put", True),
        ("service", "kv/range", True),
        ("writer", "kv/put", True),
        ("writer", "kv/range", False),
        ("reader", "kv/put", False),
        ("reader", "kv/range", True),
        ("elsewhere", "kv/put", False),
    ],
)
def test_auth_server_grants_what_a_user_may(
    etcd_auth_server: EtcdServer,
    user: str,
    method: str,
    allowed: bool,  # noqa: FBT001 - pytest passes by name
) -> None:
    """Each user may do what `ETCD_AUTH` says, and nothing else."""
    password = ETCD_AUTH.users[user].password

    status = call_as(etcd_auth_server, user, password, method, "some/key")

    assert (status == HTTPStatus.OK) is allowed
    assert status in {HTTPStatus.OK, HTTPStatus.FORBIDDEN}


def test_auth_server_refuses_a_wrong_password(etcd_auth_server: EtcdServer) -> None:
    """No token without the password."""
    status = call_as(etcd_auth_server, "service", "wrong", "kv/put", "k")

    assert status == HTTPStatus.BAD_REQUEST


def test_auth_server_refuses_who_has_no_token(etcd_auth_server: EtcdServer) -> None:
    """Authentication is really on."""
    reply = Web(etcd_auth_server.port).request("POST", "/v3/kv/range", {"key": _base64("k")})

    assert reply.status == HTTPStatus.BAD_REQUEST
    assert b"user name is empty" in reply.body


def test_auth_server_lets_tokens_expire(etcd_auth_server: EtcdServer) -> None:
    """An unused token is invalid after its time, so that expiry can be tested in seconds."""
    token = etcd_auth_server._login()
    web = Web(etcd_auth_server.port)
    assert web.request("POST", "/v3/auth/user/list", {}, token).status == HTTPStatus.OK
    expires_s = ETCD_AUTH.token_ttl_s

    def unused_for(seconds: float) -> bool:
        return time.monotonic() - last_use > seconds

    last_use = time.monotonic()
    eventually(lambda: unused_for(expires_s + 2), within_s=30, why="the token's time is over")

    reply = web.request("POST", "/v3/auth/user/list", {}, token)
    assert reply.status == HTTPStatus.UNAUTHORIZED


def test_auth_server_has_its_users_again_after_a_wipe(etcd_auth_server: EtcdServer) -> None:
    """An emptied server is provisioned anew, with the data gone."""
    etcd_auth_server.put("k", "x")

    etcd_auth_server.restart(wipe=True)

    assert etcd_auth_server.get("k") is None
    password = ETCD_AUTH.users["service"].password
    assert call_as(etcd_auth_server, "service", password, "kv/put", "k") == HTTPStatus.OK


def test_auth_server_keeps_its_users_over_a_restart(etcd_auth_server: EtcdServer) -> None:
    """With its data it is not provisioned twice."""
    etcd_auth_server.put("k", "x")

    etcd_auth_server.restart()

    assert etcd_auth_server.get("k") == "x"


def test_cluster_serves_from_each_member(etcd_members: Cluster[EtcdServer]) -> None:
    """What one member takes the others give."""
    etcd_members[0].put("shared", "x")

    assert [member.get("shared") for member in etcd_members] == ["x"] * len(etcd_members)


def test_cluster_elects_anew_when_its_leader_is_killed(
    etcd_members: Cluster[EtcdServer],
) -> None:
    """Two of three go on, and the third comes back to the same data."""
    old = etcd_members.leader()
    old.kill()

    new = etcd_members.leader()
    assert new is not old
    eventually(new.answers, why="the new leader serves")
    new.put("after", "x")

    old.start()
    assert old.get("after") == "x"
    assert len(etcd_members.followers()) == 2


def test_cluster_elects_anew_when_its_leader_is_frozen(
    etcd_members: Cluster[EtcdServer],
) -> None:
    """A frozen leader is one that is dead for the others."""
    old = etcd_members.leader()
    old.freeze()

    assert eventually(lambda: etcd_members.leader() is not old, why="another one leads")


def test_cluster_restarts_empty(etcd_members: Cluster[EtcdServer]) -> None:
    """Wiped as a whole it forms anew, without its data."""
    etcd_members[0].put("wiped", "x")

    etcd_members.restart(wipe=True)

    assert etcd_members[1].get("wiped") is None
