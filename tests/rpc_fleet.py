"""How servers of each RPC framework are started and called, for the tests of their lifecycle."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import grpc  # noqa: TID253 - the clients are gRPC's

from core.tests.grpc_program import SLOWLY
from core.tests.thrift_program import who_thrift
from docs.examples.thrift_pool import ThriftPool
from enlist.clients.grpc import channel
from enlist.opening import open_registry
from enlist.resolver import Resolver

_EACH_NTH_IS_SLOW: Final = 20
_TIMEOUT_S: Final = 20.0


@dataclass(frozen=True)
class Kind:
    """A framework.

    Attributes:
        name: for people.
        program: the module that serves, and the arguments that it takes first.
        calls: makes a client of a resolver, which makes one call each time.
    """

    name: str
    program: tuple[str, ...]
    calls: Callable[..., Any]

    def command(self, place: str, drain_s: float) -> Callable[[str], list[str]]:
        """Return what makes the command line of a server of a given name."""
        start = [sys.executable, "-W", "error", "-m", *self.program, place, str(drain_s)]
        return lambda name: [*start, name]

    @contextmanager
    def client(self, place: str, *, repeatable: bool = False) -> Iterator[Callable[[], str]]:
        """Give a function that makes one call, some of them slow, from any thread.

        Args:
            place: the registry's URL.
            repeatable: whether a call may be made twice.
        """
        with (
            open_registry(place) as registry,
            registry.resolver("echo") as resolver,
            self.calls(resolver, repeatable) as call,
        ):
            turns = itertools.count()
            yield lambda: call(slowly=next(turns) % _EACH_NTH_IS_SLOW == 0)


@contextmanager
def _grpc_calls(resolver: Resolver, repeatable: bool) -> Iterator[Callable[..., str]]:  # noqa: FBT001 - as Kind.client says
    with channel(resolver, repeatable=repeatable) as made:
        who: grpc.UnaryUnaryMultiCallable[bytes, bytes] = made.unary_unary("/echo.Echo/Who")
        yield lambda slowly: who(SLOWLY if slowly else b"", timeout=_TIMEOUT_S).decode()


@contextmanager
def _thrift_calls(resolver: Resolver, repeatable: bool) -> Iterator[Callable[..., str]]:  # noqa: FBT001 - as above
    timeout_ms = int(_TIMEOUT_S * 1000)
    with closing(ThriftPool(who_thrift.Who, resolver, timeout_ms)) as pool:
        yield lambda slowly: pool.call("who", slowly, repeatable=repeatable)


KINDS: Final = (
    Kind("grpc", ("core.tests.grpc_program", "sync"), _grpc_calls),
    Kind("grpc.aio", ("core.tests.grpc_program", "aio"), _grpc_calls),
    Kind("thrift", ("core.tests.thrift_program",), _thrift_calls),
)
