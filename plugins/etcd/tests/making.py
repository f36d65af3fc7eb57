"""What the tests of this plugin agree on."""

from collections.abc import Callable
from typing import Any, Final, Protocol, TypeAlias

from enlist.info import Info
from enlist_etcd.plugin import EtcdRegistry

CALL_S: Final = 3.0
PREFIX: Final = "kitex/registry-etcd"

MakeInfo: TypeAlias = Callable[..., Info]


class MakePlugin(Protocol):
    """Makes a plugin object for endpoints such as "h1:1,h2:2", with an owner of its own."""

    def __call__(self, endpoints: str, **options: Any) -> EtcdRegistry: ...  # noqa: ANN401 - each option has its own type


def key_of(info: Info) -> str:
    """Return the key of an Info with a TCP address, spelled out here once more on purpose."""
    return f"{PREFIX}/{info.service_name}/{info.addr}"
