"""Real etcd servers: alone, as a cluster, with TLS, with users."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from tests.servers.cluster import Cluster, Member
from tests.servers.fetch import ETCD, find
from tests.servers.ports import HOST
from tests.servers.web import Reply, Tls, Web

ROOT_PASSWORD: Final = "root-password"


@dataclass(frozen=True, slots=True)
class User:
    """A user of etcd who may use the keys below one prefix.

    Attributes:
        password: The password.
        prefix: Start of the keys; empty for all keys.
        permission: "READ", "WRITE" or "READWRITE".
    """

    password: str
    prefix: str = ""
    permission: str = "READWRITE"


@dataclass(frozen=True, slots=True)
class Auth:
    """Switches authentication on, with the user "root" and those named here.

    Attributes:
        users: User name to user.
        token_ttl_s: Seconds until a token that was not used expires.
    """

    users: Mapping[str, User]
    token_ttl_s: int = 300


class EtcdServer(Member):
    """One etcd, alone or a member of a cluster.

    Args:
        name: Of the member.
        tls: Demand TLS; plain where None.
        mutual: Demand a client certificate where TLS is demanded.
        auth: Demand a user and password; open to all where None.
    """

    kind = "etcd"

    def __init__(
        self,
        name: str = "etcd",
        *,
        tls: Tls | None = None,
        mutual: bool = True,
        auth: Auth | None = None,
    ) -> None:
        super().__init__(name)
        self.tls: Final = tls
        self.mutual: Final = mutual
        self.auth: Final = auth
        self.port: Final = self.claim()
        self.peer_port: Final = self.claim()
        self._peers = {name: self.peer_port}
        self._web = Web(self.port, tls)

    @property
    def endpoint(self) -> str:
        """Where clients connect, as host:port."""
        return f"{HOST}:{self.port}"

    def join(self, peers: Mapping[str, int]) -> None:
        """Make this a member of a cluster; to be called before the first start.

        Args:
            peers: Member name to peer port of all members, this one among them.
        """
        self._peers = dict(peers)

    def command(self) -> list[str]:
        """Return etcd with its flags."""
        url = f"{'http' if self.tls is None else 'https'}://{self.endpoint}"
        peer_url = f"http://{HOST}:{self._peers[self.name]}"
        cluster = ",".join(f"{name}=http://{HOST}:{port}" for name, port in self._peers.items())
        flags = {
            "name": self.name,
            "data-dir": self.data,
            "listen-client-urls": url,
            "advertise-client-urls": url,
            "listen-peer-urls": peer_url,
            "initial-advertise-peer-urls": peer_url,
            "initial-cluster": cluster,
            "log-level": "warn",
        }
        arguments = [f"--{flag}={value}" for flag, value in flags.items()]
        return [
            str(find(ETCD)),
            *arguments,
            "--unsafe-no-fsync",
            *self._tls_flags(),
            *self._auth_flags(),
        ]

    def _tls_flags(self) -> list[str]:
        if self.tls is None:
            return []
        return [
            f"--cert-file={self.tls.server.certificate}",
            f"--key-file={self.tls.server.key}",
            # Given an authority for clients, etcd demands a certificate of every one.
            *([f"--trusted-ca-file={self.tls.ca}", "--client-cert-auth"] if self.mutual else []),
        ]

    def _auth_flags(self) -> list[str]:
        if self.auth is None:
            return []
        # Hashing passwords is slow on purpose, which is not what tests are about.
        return [f"--auth-token-ttl={self.auth.token_ttl_s}", "--bcrypt-cost=4"]

    def answers(self) -> bool:
        """Tell whether etcd has a leader and serves reads and writes."""
        reply = self._web.request("GET", "/health")
        return reply.status == HTTPStatus.OK and reply.json()["health"] == "true"

    def leads(self) -> bool:
        """Tell whether this member is the cluster's leader."""
        status = self.call("maintenance/status", {})
        return bool(status.get("leader") == status["header"]["member_id"])  # absent in an election

    def start(self) -> None:
        """Start the server, wait until it answers, and see to the users."""
        super().start()
        self._make_users()

    def _make_users(self) -> None:
        """Make the users and switch authentication on, where this is still to be done."""
        if self.auth is None or self._root_login().status == HTTPStatus.OK:
            return
        self._add_user("root", User(ROOT_PASSWORD), "root")
        for name, user in self.auth.users.items():
            self._post("auth/role/add", {"name": name}, {})
            self._post("auth/role/grant", {"name": name, "perm": _permission(user)}, {})
            self._add_user(name, user, name)
        self._post("auth/enable", {}, {})

    def _add_user(self, name: str, user: User, role: str) -> None:
        self._post("auth/user/add", {"name": name, "password": user.password}, {})
        self._post("auth/user/grant", {"user": name, "role": role}, {})

    def call(self, method: str, request: Mapping[str, object]) -> dict[str, Any]:
        """Call etcd's HTTP gateway, as root where there are users.

        Args:
            method: Path below "/v3/", such as "lease/revoke".
            request: The request message as JSON; bytes fields in base64.

        Raises:
            OSError: If etcd is not reached.
            RuntimeError: If it refuses.
        """
        return self._post(method, request, self._login())

    def _login(self) -> dict[str, str]:
        """Return the header that makes a call root's, none where there are no users."""
        return {"Authorization": self._root_login().json()["token"]} if self.auth else {}

    def _root_login(self) -> Reply:
        """Ask for a token; refused as long as authentication is off."""
        login = {"name": "root", "password": ROOT_PASSWORD}
        return self._web.request("POST", "/v3/auth/authenticate", login)

    def _post(
        self, method: str, request: Mapping[str, object], headers: Mapping[str, str]
    ) -> dict[str, Any]:
        reply = self._web.request("POST", f"/v3/{method}", request, headers)
        if reply.status != HTTPStatus.OK:
            msg = f"etcd refused {method} with {reply.status}: {reply.body.decode()}"
            raise RuntimeError(msg)
        return dict(reply.json())

    def put(self, key: str, value: str) -> None:
        """Write a key behind the client's back."""
        self.call("kv/put", {"key": _base64(key), "value": _base64(value)})

    def get(self, key: str) -> str | None:
        """Read a key, None where it is not there."""
        found = self.call("kv/range", {"key": _base64(key)}).get("kvs", [])
        return _text(found[0].get("value", "")) if found else None

    def keys(self, prefix: str = "") -> list[str]:
        """List the keys that begin with `prefix`, all where it is empty."""
        reply = self.call("kv/range", {**_below(prefix), "keys_only": True})
        return [_text(pair["key"]) for pair in reply.get("kvs", [])]

    def delete(self, prefix: str = "") -> None:
        """Delete the keys that begin with `prefix`, all where it is empty."""
        self.call("kv/deleterange", _below(prefix))

    def leases(self) -> list[int]:
        """List the ids of the living leases."""
        return [int(lease["ID"]) for lease in self.call("lease/leases", {}).get("leases", [])]

    def revoke(self, lease: int) -> None:
        """Revoke a lease, and with it the keys bound to it."""
        self.call("lease/revoke", {"ID": str(lease)})


def etcd_cluster(size: int = 3) -> Cluster[EtcdServer]:
    """Configure a cluster; entering it starts it."""
    members = [EtcdServer(f"etcd{number}") for number in range(1, size + 1)]
    peers = {member.name: member.peer_port for member in members}
    for member in members:
        member.join(peers)
    return Cluster(members)


def _permission(user: User) -> dict[str, object]:
    return {"permType": user.permission, **_below(user.prefix)}


def _below(prefix: str) -> dict[str, str]:
    """Return the key range of a prefix in etcd's terms, which say "to the end" as a zero byte."""
    if not prefix:
        return {"key": _base64("\0"), "range_end": _base64("\0")}
    start = prefix.encode()
    end = start[:-1] + bytes([start[-1] + 1])  # UTF-8 never ends in 0xff
    return {"key": _base64(prefix), "range_end": base64.b64encode(end).decode()}


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode()
