"""``redis`` keeps every rule of the Registry spec, tried on a real server."""

import datetime as dt
import json
from collections.abc import Iterator

import pytest
from redis_server import RedisServer

from enlist import Info, Registry, open_registry
from enlist.testing import Abilities, BackendUnderTest, ConformanceSuite

TTL = dt.timedelta(seconds=2)
PASSWORD = "correct-horse"


class RedisUnderTest(BackendUnderTest):
    """A server whose every write is on its disk before it is answered."""

    abilities = Abilities(
        ttl=TTL,
        margin=dt.timedelta(seconds=2),
        validate=False,  # Redis carries every Info
        withdraw=False,  # the core's fallback, one after another, is quick enough
        probe=False,  # as good as a look at the instances
        atomic_compare_and_delete=True,
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
        credentials=True,
    )
    secret = PASSWORD
    wrong_secret = "battery-staple"

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.url = f"redis://127.0.0.1:{server.port}?ttl={TTL.total_seconds():g}s"
        self.options = {"password": PASSWORD}

    def kill(self) -> None:
        self.server.kill()

    def start(self) -> None:
        self.server.start()

    def restart(self, *, wipe: bool = False) -> None:
        self.server.restart(wipe=wipe)

    def freeze(self) -> None:
        self.server.freeze()

    def thaw(self) -> None:
        self.server.thaw()

    def wipe(self) -> None:
        self.server.run("FLUSHALL")

    def delete_record(self, info: Info) -> None:
        self.server.run("DEL", record_of(info.service_name, str(info.addr)))

    def expire(self, registry: Registry) -> None:
        for status in registry.status():
            self.delete_record(status.info)

    def put_foreign(self, info: Info, *, service_name: str = "") -> None:
        name, addr = service_name or info.service_name, str(info.addr)
        value = {"service_name": name, "addr": addr, "weight": info.weight}
        self._put(name, addr, json.dumps(value | {"tags": dict(info.tags or {})}))

    def put_malformed(self, service_name: str) -> str:
        self._put(service_name, "10.99.0.1:7", '{"weight":"many"}')
        return f"{service_name}/10.99.0.1:7"

    def compact(self) -> None:
        """All that there is of the past is what a bell remembers."""
        every = "for _, key in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('DEL', key) end"
        self.server.run("EVAL", every, "0", "enlist:bell:*")

    def open_unauthorised(self) -> Registry:
        registry = open_registry(self.url, password=self.wrong_secret)
        assert isinstance(registry, Registry)
        return registry

    def _put(self, name: str, addr: str, text: str) -> None:
        self.server.run("SET", record_of(name, addr), text)
        self.server.run("SADD", f"enlist:members:{name}", addr)
        self.server.run("SADD", "enlist:services", name)
        self.server.run("XADD", f"enlist:bell:{name}", "*", "changed", "1")


def record_of(name: str, addr: str) -> str:
    """Return the key of a record."""
    return f"enlist:record:{name}/{addr}"


@pytest.fixture(scope="module")
def under_test() -> Iterator[RedisUnderTest]:
    """One server for all rules, with a password, so that logging in is tried by all of them."""
    with RedisServer(PASSWORD) as server:
        yield RedisUnderTest(server)


class TestRedis(ConformanceSuite):
    """Every rule, tried on a real server."""
