"""What the tests of this plugin agree on."""

import base64
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeAlias

from enlist.info import Info
from enlist_etcd.plugin import EtcdRegistry
from tests.servers.etcd import EtcdServer

CALL_S: Final = 3.0
PREFIX: Final = "kitex/registry-etcd"

MakeInfo: TypeAlias = Callable[..., Info]


class MakePlugin(Protocol):
    """Makes a plugin object for endpoints such as "h1:1,h2:2", with an owner of its own."""

    def __call__(self, endpoints: str, **options: Any) -> EtcdRegistry: ...  # noqa: ANN401 - each option has its own type


def key_of(info: Info) -> str:
    """Return the key of an Info with a TCP address, spelled out here once more on purpose."""
    return f"{PREFIX}/{info.service_name}/{info.addr}"


def lease_of(server: EtcdServer, info: Info) -> int:
    """Return the lease that the key of an Info hangs on; 0 for none."""
    key = base64.b64encode(key_of(info).encode()).decode()
    (pair,) = server.call("kv/range", {"key": key})["kvs"]
    return int(pair.get("lease", 0))
