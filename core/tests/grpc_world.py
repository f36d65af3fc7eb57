"""What the tests of both gRPC channels share: names, words of gRPC, servers that have died."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final

import psutil

from enlist.finding.resolver import Resolver
from enlist.info import Info
from enlist.registry import Registry
from tests.servers.ports import claim_port
from tests.waiting import eventually

WEIGHTY: Final = 65_535
"""A weight beside which one of 1 is hardly ever picked."""
SAY: Final = "/echo.Echo/Say"
LISTEN: Final = "/echo.Echo/Listen"
TELL: Final = "/echo.Echo/Tell"
CHAT: Final = "/echo.Echo/Chat"
BREAK: Final = "/echo.Echo/Break"
BEHIND: Final = (
    "failed to connect to all addresses; last error: UNKNOWN: ipv4:10.0.0.9:50051: "
    "Failed to connect to remote host: Connection refused"
)
"""What gRPC tells a server whose own call to another one has failed, and what that passes on."""


def run_loop(story: Coroutine[Any, Any, None], *, debug: bool = False) -> None:
    """Run an event loop, and have grpc.aio end its poller, which the last of its objects does.

    Some of them are held in circles, as by the traceback of an exception, and are a matter for
    the garbage collector.
    """
    asyncio.run(story, debug=debug)
    gc.collect()


@contextmanager
def dead_server(registry: Registry, resolver: Resolver, host: str = "127.0.0.1") -> Iterator[None]:
    """A server that has died and is still enlisted, which clients see and prefer."""
    with claim_port() as port:
        info = Info(service_name="echo", addr=f"{host}:{port.number}", weight=WEIGHTY)
        registry.register(info)
        seen_by(resolver, info)
        yield


def seen_by(resolver: Resolver, info: Info) -> None:
    """Wait until clients see a server."""
    eventually(lambda: info in resolver.instances, why=f"{info} is seen")


def connections(info: Info) -> int:
    """How many connections of this process lead to a server."""
    assert info.addr is not None
    return sum(
        bool(each.raddr) and each.raddr.port == info.addr.port
        for each in psutil.Process().net_connections("tcp")
    )
