"""Servers of each RPC framework, started, stopped and restarted while clients lose no call."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import grpc  # noqa: TID253 - the tests are gRPC's clients
import pytest

from core.tests.grpc_program import SLOWLY
from core.tests.thrift_program import who_thrift
from docs.examples.thrift_pool import ThriftPool
from enlist.opening import open_registry
from tests.lifecycle import fleet, load

DRAIN_S = 0.5
EACH_NTH_IS_SLOW = 20


@contextmanager
def grpc_client(place: str) -> Iterator[Callable[[], str]]:
    """A plain client: a pick for each call, and one channel for each address."""
    channels: dict[str, grpc.Channel] = {}
    turns = itertools.count()
    with (
        ExitStack() as closing,
        open_registry(place) as registry,
        registry.resolver("echo") as resolver,
    ):

        def call() -> str:
            target = str(resolver.pick().addr)
            if target not in channels:
                channels[target] = closing.enter_context(grpc.insecure_channel(target))
            who: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channels[target].unary_unary(
                "/echo.Echo/Who"
            )
            slow = next(turns) % EACH_NTH_IS_SLOW == 0
            return who(SLOWLY if slow else b"", timeout=20).decode()

        yield call


@contextmanager
def thrift_client(place: str) -> Iterator[Callable[[], str]]:
    """The pool of the documentation."""
    turns = itertools.count()
    with (
        open_registry(place) as registry,
        registry.resolver("echo") as resolver,
        closing(ThriftPool(who_thrift.Who, resolver, timeout_ms=20_000)) as pool,
    ):

        def call() -> str:
            answer: str = pool.call("who", next(turns) % EACH_NTH_IS_SLOW == 0)
            return answer

        yield call


@pytest.mark.timeout(120)
def test_rolling_restart_of_thrift_servers_loses_no_call(tmp_path: Path) -> None:
    """Clients with pooled connections see three servers replaced, and lose no call (S2)."""
    place = f"local:{tmp_path}/registry"

    def command(name: str) -> list[str]:
        program = "core.tests.thrift_program"
        return [sys.executable, "-W", "error", "-m", program, place, str(DRAIN_S), name]

    with fleet(command, place, 3) as servers, thrift_client(place) as call, load(call) as calls:
        calls.reaches(servers.names)
        servers.roll()
        calls.reaches(servers.names)
    calls.check(servers)


@pytest.mark.parametrize("mode", ["sync", "aio"])
@pytest.mark.timeout(120)
def test_rolling_restart_of_grpc_servers_loses_no_call(tmp_path: Path, mode: str) -> None:
    """Clients that call without a pause see three servers replaced, and lose no call (S2)."""
    place = f"local:{tmp_path}/registry"

    def command(name: str) -> list[str]:
        program = "core.tests.grpc_program"
        return [sys.executable, "-W", "error", "-m", program, mode, place, str(DRAIN_S), name]

    with fleet(command, place, 3) as servers, grpc_client(place) as call, load(call) as calls:
        calls.reaches(servers.names)
        servers.roll()
        calls.reaches(servers.names)
    calls.check(servers)
