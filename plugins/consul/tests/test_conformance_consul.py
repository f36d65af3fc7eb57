"""``consul`` keeps every rule of the Registry spec: on an agent with data, and on one with ACLs."""

import datetime as dt
import itertools
import secrets
import sys
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import pytest

from enlist.info import Info
from enlist.opening import open_registry
from enlist.registry import Registry
from enlist.testing import Abilities, BackendUnderTest, ConformanceSuite, Limits
from enlist.testing.error_rules import ErrorRules
from enlist_consul.records import service_id
from tests.servers.consul import ConsulServer

# A busy machine takes 2 to 4 s to start a Consul, and K1 allows half a ttl.
TTL = dt.timedelta(seconds=10)
GRANULARITY = dt.timedelta(seconds=1)
MARGIN = dt.timedelta(seconds=3)
RESTORE_RATE = 50.0


def _printable() -> str:
    """Return a regular expression of texts that are printable; ``re`` has no class for it."""
    points = [point for point in range(sys.maxunicode + 1) if not chr(point).isprintable()]
    ranges, first = [], points[0]
    for before, point in itertools.pairwise([*points, sys.maxunicode + 2]):
        if point - before > 1:
            ranges.append(f"\\U{first:08x}-\\U{before:08x}")
            first = point
    return f"[^{''.join(ranges)}]*"


LIMITS = Limits(unix_addresses=False, service_name=_printable())


class ConsulUnderTest(BackendUnderTest):
    """One agent that is its own server; nothing can be compacted, and nothing be compared."""

    abilities = Abilities(
        ttl=TTL,
        granularity=GRANULARITY,
        margin=MARGIN,
        limits=LIMITS,
        restore_rate=RESTORE_RATE,
        kill=True,
        restart=True,
        keeps_data=False,  # kept, and yet a look may for a moment find every check critical
        freeze=True,
        wipe=True,
        delete_record=True,
        expire=True,
        foreign_records=True,
        nested_names=True,
        malformed_records=True,
    )

    def __init__(self, server: ConsulServer) -> None:
        self.server = server
        self.url = f"consul://{server.endpoint}?ttl={TTL.total_seconds():g}s"

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
        for found in self._services():
            self._deregister(found)

    def delete_record(self, info: Info) -> None:
        self._deregister(service_id(info))

    def expire(self, registry: Registry) -> None:
        """The checks turn critical, as if the ttl had passed without a beat."""
        held = {service_id(status.info) for status in registry.status()}
        for check in self.server.call("GET", "/v1/agent/checks").values():
            if check["ServiceID"] in held:
                path = f"/v1/agent/check/fail/{quote(check['CheckID'], safe='')}"
                self.server.call("PUT", f"{path}?note=TTL%20expired")

    def put_foreign(self, info: Info, *, service_name: str = "") -> None:
        assert info.addr is not None
        name = service_name or info.service_name
        weights = {"Passing": info.weight, "Warning": info.weight}
        self.server.register(
            {
                "ID": f"{name}:{info.addr}",
                "Name": name,
                "Address": info.addr.host,
                "Port": info.addr.port,
                "Tags": [f"{key}:{value}" for key, value in (info.tags or {}).items()],
                "Weights": weights,
                "Check": {"TTL": "10m", "Status": "passing"},
            }
        )

    def put_malformed(self, service_name: str) -> str:
        key = f"{service_name}:{secrets.token_hex(4)}"
        address: Mapping[str, Any] = {"Address": "10.99.0.1", "Port": 1, "Tags": ["enlist.?"]}
        self.server.register({"ID": key, "Name": service_name, **address})
        return key

    def _services(self) -> list[str]:
        return list(self.server.call("GET", "/v1/agent/services"))

    def _deregister(self, key: str) -> None:
        self.server.deregister(quote(key, safe=""))


class ConsulWithTokensUnderTest(ConsulUnderTest):
    """What a token that is not known may do: nothing."""

    abilities = Abilities(
        ttl=TTL,
        granularity=GRANULARITY,
        margin=MARGIN,
        limits=LIMITS,
        restore_rate=RESTORE_RATE,
        kill=True,
        restart=True,
        keeps_data=False,
        freeze=True,
        credentials=True,
    )
    wrong_secret = "11111111-2222-3333-4444-555555555555"

    def __init__(self, server: ConsulServer) -> None:
        super().__init__(server)
        self.secret = server.token
        self.options = {"token": server.token}

    def open_unauthorised(self) -> Registry:
        registry = open_registry(self.url, token=self.wrong_secret)
        assert isinstance(registry, Registry)
        return registry


class TestConsul(ConformanceSuite):
    """Every rule, tried on an agent that is open to all."""

    @pytest.fixture
    def under_test(self, consul_server: ConsulServer) -> ConsulUnderTest:
        return ConsulUnderTest(consul_server)


class TestConsulWithTokens(ErrorRules):
    """What can go wrong with a token, tried on an agent that asks for one."""

    @pytest.fixture
    def under_test(self, consul_acl_server: ConsulServer) -> ConsulWithTokensUnderTest:
        return ConsulWithTokensUnderTest(consul_acl_server)
