"""``zookeeper`` keeps every rule of the Registry spec: on a real one, and with protected nodes."""

import datetime as dt
import json
import secrets
from collections.abc import Iterator

import pytest

from enlist.info import Info
from enlist.registry import Registry
from enlist.testing import Abilities, BackendUnderTest, ConformanceSuite, Limits
from enlist.testing.error_rules import ErrorRules
from plugins.zookeeper.tests.making import Admin, client_id, expire, path_of
from tests.servers.zookeeper import ZooKeeperServer

TTL = dt.timedelta(seconds=10)  # half of it is how long a restart of the server may take
LIMITS = Limits(unix_addresses=False, service_name="[^\ud800-\uf8ff\ufff0-\U0010ffff]*")


class ZooKeeperUnderTest(BackendUnderTest):
    abilities = Abilities(
        ttl=TTL,
        granularity=dt.timedelta(seconds=1),  # two of the server's ticks
        margin=dt.timedelta(seconds=3),
        limits=LIMITS,
        kill=True,
        restart=True,
        keeps_data=True,
        freeze=True,
        wipe=True,
        delete_record=True,
        expire=True,
        foreign_records=True,
        nested_names=True,
        malformed_records=True,
        atomic_compare_and_delete=True,
    )

    def __init__(self, server: ZooKeeperServer, admin: Admin) -> None:
        self.server = server
        self.admin = admin
        self.url = f"zookeeper://{server.endpoint}?ttl={TTL.total_seconds():g}s"

    def kill(self) -> None:
        self.admin.leave()
        self.server.kill()

    def start(self) -> None:
        self.server.start()

    def restart(self, *, wipe: bool = False) -> None:
        self.kill()
        if wipe:
            self.server.wipe()
        self.server.start()

    def freeze(self) -> None:
        self.admin.leave()
        self.server.freeze()

    def thaw(self) -> None:
        self.server.thaw()

    def wipe(self) -> None:
        self.admin.clear()

    def delete_record(self, info: Info) -> None:
        self.admin.delete(path_of(info))

    def expire(self, registry: Registry) -> None:
        expire(self.server, client_id(registry))

    def put_foreign(self, info: Info, *, service_name: str = "") -> None:
        tags = None if info.tags is None else dict(info.tags)
        data = json.dumps({"Weight": info.weight, "Tags": tags}).encode()
        self.admin.put(f"/{service_name or info.service_name}/{info.addr}", data)

    def put_malformed(self, service_name: str) -> str:
        path = f"/{service_name}/10.99.0.1:{secrets.randbelow(60_000) + 1}"
        self.admin.put(path, b'{"Weight":"heavy"}')
        return path


class ProtectedZooKeeperUnderTest(ZooKeeperUnderTest):
    """All nodes belong to one user."""

    abilities = Abilities(
        ttl=TTL,
        granularity=dt.timedelta(seconds=1),
        margin=dt.timedelta(seconds=3),
        limits=LIMITS,
        kill=True,
        restart=True,
        keeps_data=True,
        freeze=True,
        credentials=True,
        atomic_compare_and_delete=True,
    )
    secret = "right-password"
    wrong_secret = "wrong-password"

    def __init__(self, server: ZooKeeperServer, admin: Admin) -> None:
        super().__init__(server, admin)
        self.options = {"username": "service", "password": self.secret, "chroot": "/protected"}
        self._protect()

    def restart(self, *, wipe: bool = False) -> None:
        super().restart(wipe=wipe)
        self._protect()

    def open_unauthorised(self) -> Registry:
        return self.open(password=self.wrong_secret)

    def _protect(self) -> None:
        from kazoo.security import make_digest_acl

        acl = make_digest_acl("service", self.secret, all=True)
        if not self.admin.has("/protected"):
            self.admin.kazoo.create("/protected", b"", acl=[acl])


class TestZooKeeper(ConformanceSuite):
    """Every rule, tried on a ZooKeeper that is open to all."""

    @pytest.fixture
    def under_test(self, zookeeper_server: ZooKeeperServer) -> Iterator[ZooKeeperUnderTest]:
        with Admin(zookeeper_server.endpoint) as admin:
            yield ZooKeeperUnderTest(zookeeper_server, admin)


class TestProtectedZooKeeper(ErrorRules):
    """What can go wrong with a password, tried where nodes belong to a user."""

    @pytest.fixture
    def under_test(
        self, zookeeper_server: ZooKeeperServer
    ) -> Iterator[ProtectedZooKeeperUnderTest]:
        credentials = [("digest", f"service:{ProtectedZooKeeperUnderTest.secret}")]
        with Admin(zookeeper_server.endpoint, auth_data=credentials) as admin:
            yield ProtectedZooKeeperUnderTest(zookeeper_server, admin)
