"""The pool of Thrift connections that the documentation shows."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psutil
import pytest
from thriftpy2.thrift import TProcessor  # noqa: TID253 - the tests are Thrift's clients and servers
from thriftpy2.transport import TTransportException  # noqa: TID253 - the same

from core.tests.serving_world import NO_TIME
from core.tests.thrift_program import Who, who_thrift
from docs.examples.thrift_pool import ThriftPool
from enlist.address import Address
from enlist.finding.resolver import Resolver
from enlist.frameworks.thrift import enlisted
from enlist.info import Info
from enlist.registry import Registry
from tests.servers.ports import claim_port
from tests.waiting import eventually

WEIGHTY = 65_535
"""A weight beside which one of 1 is hardly ever picked."""


@contextmanager
def server(registry: Registry, resolver: Resolver, name: str, weight: int = 10) -> Iterator[Info]:
    """A server that clients see, while the block runs."""
    with enlisted(
        TProcessor(who_thrift.Who, Who(name)),
        "echo",
        "127.0.0.1:0",
        registry=registry,
        registry_info=Info(weight=weight),
        drain=NO_TIME,
    ) as registration:
        seen_by(resolver, registration.info)
        yield registration.info


def seen_by(resolver: Resolver, info: Info) -> None:
    """Wait until clients see a server."""
    eventually(lambda: info in resolver.instances, why=f"{info} is seen")


class Breaking(socketserver.BaseRequestHandler):
    """Reads a call, and breaks the connection."""

    def handle(self) -> None:
        self.request.recv(1_000)


@contextmanager
def breaking_server(registry: Registry, resolver: Resolver) -> Iterator[None]:
    """A server that dies within each call, which clients see and prefer."""
    with socketserver.TCPServer(("127.0.0.1", 0), Breaking) as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.02,))
        thread.start()
        info = Info(
            service_name="echo",
            addr=Address.tcp("127.0.0.1", made.server_address[1]),
            weight=WEIGHTY,
        )
        registry.register(info)
        seen_by(resolver, info)
        try:
            yield
        finally:
            made.shutdown()
            thread.join()


def open_connections(info: Info) -> int:
    """How many connections of this process lead to a server."""
    assert info.addr is not None
    return sum(
        bool(each.raddr) and each.raddr.port == info.addr.port
        for each in psutil.Process().net_connections("tcp")
    )


def test_pool_keeps_its_connection(registry: Registry, resolver: Resolver) -> None:
    """Calls in turn use one connection, also after an exception that the service declares."""
    with (
        server(registry, resolver, "a") as info,
        closing(ThriftPool(who_thrift.Who, resolver)) as pool,
    ):
        assert [pool.call("who", False) for _ in range(5)] == ["a"] * 5
        with pytest.raises(who_thrift.Refused):
            pool.call("refuse", True)
        assert pool.call("who", False) == "a"
        assert open_connections(info) == 1
    assert open_connections(info) == 0


def test_pool_tries_another_when_one_cannot_be_reached(
    registry: Registry, resolver: Resolver
) -> None:
    """A server that has died is passed over, whatever the call is."""
    with (
        claim_port() as dead,
        server(registry, resolver, "alive", weight=1),
        closing(ThriftPool(who_thrift.Who, resolver)) as pool,
    ):
        gone = Info(service_name="echo", addr=f"127.0.0.1:{dead.number}", weight=WEIGHTY)
        registry.register(gone)
        seen_by(resolver, gone)
        assert [pool.call("who", False) for _ in range(5)] == ["alive"] * 5


def test_pool_repeats_what_broke_only_if_told(registry: Registry, resolver: Resolver) -> None:
    """A connection that breaks within a call fails it, unless the call may be made twice."""
    with (
        server(registry, resolver, "alive", weight=1),
        breaking_server(registry, resolver),
        closing(ThriftPool(who_thrift.Who, resolver)) as pool,
    ):
        with pytest.raises((OSError, TTransportException)):
            pool.call("who", False)
        assert pool.call("who", False, repeatable=True) == "alive"


def test_pool_leaves_a_server_that_leaves(registry: Registry, resolver: Resolver) -> None:
    """The connection to a server that has left is closed, while the server still runs."""
    with (
        closing(ThriftPool(who_thrift.Who, resolver)) as pool,
        server(registry, resolver, "leaves") as info,
    ):
        assert pool.call("who", False) == "leaves"
        with server(registry, resolver, "stays"):
            registry.deregister(info)
            eventually(lambda: open_connections(info) == 0, why="its connection is closed")
            assert pool.call("who", False) == "stays"


def test_pool_does_not_use_a_connection_that_its_server_has_closed(
    registry: Registry, resolver: Resolver
) -> None:
    """A server that comes back at the same address is called on a new connection."""
    with closing(ThriftPool(who_thrift.Who, resolver)) as pool:
        with server(registry, resolver, "first") as info:
            assert pool.call("who", False) == "first"
            pool._unsubscribe()  # as if it were slow to hear of what follows
        with enlisted(
            TProcessor(who_thrift.Who, Who("second")),
            "echo",
            str(info.addr),
            registry=registry,
            drain=NO_TIME,
        ) as second:
            seen_by(resolver, second.info)
            assert pool.call("who", False) == "second"
