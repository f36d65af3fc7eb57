"""``etcd`` keeps every rule of the Registry spec: on a real etcd, and on one with users."""

import base64
import datetime as dt
import json
import secrets

import pytest

from enlist.info import Info
from enlist.opening import open_registry
from enlist.registry import Registry
from enlist.testing import Abilities, BackendUnderTest, ConformanceSuite
from enlist.testing.error_rules import ErrorRules
from plugins.etcd.tests.making import PREFIX
from tests.servers.etcd import EtcdServer
from tests.servers.fixtures import ETCD_AUTH

TTL = dt.timedelta(seconds=6)


class EtcdUnderTest(BackendUnderTest):
    abilities = Abilities(
        ttl=TTL,
        granularity=dt.timedelta(seconds=1),  # etcd looks for ended leases every 500 ms
        margin=dt.timedelta(seconds=3),
        validate=False,  # there is no complete Info that etcd cannot carry
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
        compact=True,
        atomic_compare_and_delete=True,
    )

    def __init__(self, server: EtcdServer) -> None:
        self.server = server
        self.url = f"etcd://{server.endpoint}?ttl={TTL.total_seconds():g}s"

    def kill(self) -> None:
        self.server.kill()

    def start(self) -> None:
        self.server.start()

    def restart(self, *, wipe: bool = False) -> None:
        self.server.kill()
        if wipe:
            self.server.wipe()
        self.server.start()

    def freeze(self) -> None:
        self.server.freeze()

    def thaw(self) -> None:
        self.server.thaw()

    def wipe(self) -> None:
        self.server.delete()

    def delete_record(self, info: Info) -> None:
        self.server.delete(_key(info.service_name, info))

    def expire(self, registry: Registry) -> None:
        info = registry.status()[0].info
        key = base64.b64encode(_key(info.service_name, info).encode()).decode()
        (pair,) = self.server.call("kv/range", {"key": key})["kvs"]
        self.server.revoke(int(pair["lease"]))

    def put_foreign(self, info: Info, *, service_name: str = "") -> None:
        value = {
            "network": "tcp",
            "address": str(info.addr),
            "weight": info.weight,
            "tags": None if info.tags is None else dict(info.tags),
        }
        self.server.put(_key(service_name or info.service_name, info), json.dumps(value))

    def put_malformed(self, service_name: str) -> str:
        key = f"{PREFIX}/{service_name}/10.99.0.1:{secrets.randbelow(60_000) + 1}"
        self.server.put(key, '{"network":"tcp","address":7}')
        return key

    def compact(self) -> None:
        revision = self.server.call("kv/range", {"key": "YQ=="})["header"]["revision"]
        self.server.call("kv/compaction", {"revision": revision, "physical": True})


class EtcdWithUsersUnderTest(EtcdUnderTest):
    """The client's token expires in the middle of the tests, after 6 s."""

    abilities = Abilities(
        ttl=TTL,
        granularity=dt.timedelta(seconds=1),
        margin=dt.timedelta(seconds=3),
        validate=False,
        kill=True,
        restart=True,
        keeps_data=True,
        freeze=True,
        credentials=True,
        atomic_compare_and_delete=True,
    )
    secret = ETCD_AUTH.users["service"].password
    wrong_secret = "not-the-password"

    def __init__(self, server: EtcdServer) -> None:
        super().__init__(server)
        self.options = {"username": "service", "password": self.secret}

    def open_unauthorised(self) -> Registry:
        registry = open_registry(self.url, username="service", password=self.wrong_secret)
        assert isinstance(registry, Registry)
        return registry


def _key(service_name: str, info: Info) -> str:
    return f"{PREFIX}/{service_name}/{info.addr}"


class TestEtcd(ConformanceSuite):
    """Every rule, tried on an etcd that is open to all."""

    @pytest.fixture
    def under_test(self, etcd_server: EtcdServer) -> EtcdUnderTest:
        return EtcdUnderTest(etcd_server)


class TestEtcdWithUsers(ErrorRules):
    """What can go wrong with a password, tried on an etcd that asks for one."""

    @pytest.fixture
    def under_test(self, etcd_auth_server: EtcdServer) -> EtcdWithUsersUnderTest:
        return EtcdWithUsersUnderTest(etcd_auth_server)
