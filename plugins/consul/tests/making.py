"""What the tests of this plugin agree on."""

import contextlib
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Protocol, TypeAlias

from enlist.info import Info
from enlist_consul.plugin import ConsulRegistry

CALL_S: Final = 10.0

MakeInfo: TypeAlias = Callable[..., Info]


class MakePlugin(Protocol):
    """Makes a plugin object for an agent, with an owner of its own."""

    def __call__(self, address: str, **options: Any) -> ConsulRegistry: ...  # noqa: ANN401 - each option has its own type


def id_of(info: Info) -> str:
    """Return the ID of an Info with a lower-case name, spelled out here once more on purpose."""
    return f"{info.service_name}:{info.addr}"


def foreign(info: Info, **changed: object) -> Mapping[str, object]:
    """Return the body with which Kitex registers what an Info says, with a check that lasts."""
    assert info.addr is not None
    return {
        "ID": id_of(info),
        "Name": info.service_name,
        "Address": info.addr.host,
        "Port": info.addr.port,
        "Tags": [f"{key}:{value}" for key, value in (info.tags or {}).items()],
        "Weights": {"Passing": info.weight, "Warning": info.weight},
        "Check": {"TTL": "10m", "Status": "passing"},
        **changed,
    }


@contextlib.contextmanager
def silent_port() -> Iterator[int]:
    """Listen where nobody gets through, as at a host that drops packets."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, contextlib.ExitStack() as stack:
        for _ in range(3):  # more than wait to be accepted; the kernel drops what comes then
            knocking = stack.enter_context(socket.socket())
            knocking.setblocking(False)
            knocking.connect_ex(full.getsockname())
        yield full.getsockname()[1]
