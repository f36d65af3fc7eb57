"""How servers of each RPC framework are started and called, for the tests of their lifecycle."""

from __future__ import annotations

import asyncio
import gc
import itertools
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

import grpc  # noqa: TID253 - the clients are gRPC's
from thriftpy2.rpc import make_client  # noqa: TID253 - and those of thriftpy2
from thriftpy2.transport import TFramedTransportFactory  # noqa: TID253 - the same

from core.tests.grpc_program import SLOWLY
from core.tests.thrift_program import who_thrift
from docs.examples.thrift_pool import ThriftPool
from enlist.clients.grpc import channel
from enlist.clients.grpc_aio import AsyncResolverChannel
from enlist.clients.grpc_aio import channel as aio_channel
from enlist.finding.resolver import Resolver
from enlist.opening import open_registry

_EACH_NTH_IS_SLOW: Final = 20
_TIMEOUT_S: Final = 20.0
_WHO: Final = "/echo.Echo/Who"
_T = TypeVar("_T")


@dataclass(frozen=True)
class Kind:
    """A framework.

    Attributes:
        name: for people.
        program: the module that serves, and the arguments that it takes first.
        plain_calls: makes a client of a resolver that picks and calls, once and no more;
            for `AIO_CLIENTS` one that tries another server where nobody could be connected to.
        calls: makes the client that is documented, which tries another server where it can.
    """

    name: str
    program: tuple[str, ...]
    plain_calls: Callable[..., Any]
    calls: Callable[..., Any]

    def command(self, place: str, drain_s: float) -> Callable[[str], list[str]]:
        """Return what makes the command line of a server of a given name."""
        start = [sys.executable, "-W", "error", "-m", *self.program, place, str(drain_s)]
        return lambda name: [*start, name]

    @contextmanager
    def plain_client(self, place: str) -> Iterator[Callable[[], str]]:
        """Give a function that makes one call, some of them slow, from any thread.

        It forgives nothing but what `plain_calls` does: whatever fails at the server that was
        picked has failed.
        """
        with _resolver(place) as resolver, self.plain_calls(resolver) as call:
            yield _some_slow(call)

    @contextmanager
    def client(self, place: str, *, repeatable: bool = False) -> Iterator[Callable[[], str]]:
        """Give such a function that calls as the documentation does.

        Args:
            place: the registry's URL.
            repeatable: whether a call may be made twice.
        """
        with _resolver(place) as resolver, self.calls(resolver, repeatable) as call:
            yield _some_slow(call)


@contextmanager
def _resolver(place: str) -> Iterator[Resolver]:
    with open_registry(place) as registry, registry.resolver("echo") as resolver:
        yield resolver


def _some_slow(call: Callable[..., str]) -> Callable[[], str]:
    turns = itertools.count()
    return lambda: call(slowly=next(turns) % _EACH_NTH_IS_SLOW == 0)


@contextmanager
def _grpc_plain_calls(resolver: Resolver) -> Iterator[Callable[..., str]]:
    channels: dict[str, grpc.Channel] = {}
    lock = threading.Lock()
    with ExitStack() as closing_all:

        def call(*, slowly: bool) -> str:
            target = str(resolver.pick().addr)
            with lock:
                if target not in channels:
                    channels[target] = closing_all.enter_context(grpc.insecure_channel(target))
            who: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channels[target].unary_unary(_WHO)
            return who(SLOWLY if slowly else b"", timeout=_TIMEOUT_S).decode()

        yield call


@contextmanager
def _thrift_plain_calls(resolver: Resolver) -> Iterator[Callable[..., str]]:
    def call(*, slowly: bool) -> str:
        addr = resolver.pick().addr
        assert addr is not None
        client: Any = make_client(
            who_thrift.Who,
            addr.host,
            addr.port,
            trans_factory=TFramedTransportFactory(),
            timeout=int(_TIMEOUT_S * 1000),
        )
        with closing(client):
            answer: str = client.who(slowly)
            return answer

    yield call


@contextmanager
def _grpc_calls(resolver: Resolver, repeatable: bool) -> Iterator[Callable[..., str]]:  # noqa: FBT001 - as Kind.client says
    with channel(resolver, repeatable=repeatable) as made:
        who: grpc.UnaryUnaryMultiCallable[bytes, bytes] = made.unary_unary(_WHO)
        yield lambda slowly: who(SLOWLY if slowly else b"", timeout=_TIMEOUT_S).decode()


@contextmanager
def _grpc_aio_calls(resolver: Resolver, repeatable: bool = False) -> Iterator[Callable[..., str]]:  # noqa: FBT001, FBT002 - as above
    """Clients in one loop, which has a thread of its own; the threads of the load wait for them."""
    with _running_loop() as loop:

        def run(work: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
            return asyncio.run_coroutine_threadsafe(work(), loop).result(2 * _TIMEOUT_S)

        async def opened() -> AsyncResolverChannel:
            return aio_channel(resolver, repeatable=repeatable)

        made = run(opened)

        async def ask(request: bytes) -> str:
            who: Any = made.unary_unary(_WHO)
            answer: bytes = await who(request, timeout=_TIMEOUT_S)
            return answer.decode()

        try:
            yield lambda slowly: run(partial(ask, SLOWLY if slowly else b""))
        finally:
            run(made.close)


@contextmanager
def _running_loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="clients")
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        gc.collect()  # grpc.aio ends its poller with the last of its objects


@contextmanager
def _thrift_calls(resolver: Resolver, repeatable: bool) -> Iterator[Callable[..., str]]:  # noqa: FBT001 - as above
    timeout_ms = int(_TIMEOUT_S * 1000)
    with closing(ThriftPool(who_thrift.Who, resolver, timeout_ms)) as pool:
        yield lambda slowly: pool.call("who", slowly, repeatable=repeatable)


KINDS: Final = (
    Kind("grpc", ("core.tests.grpc_program", "sync"), _grpc_plain_calls, _grpc_calls),
    Kind("grpc.aio", ("core.tests.grpc_program", "aio"), _grpc_plain_calls, _grpc_calls),
    Kind("thrift", ("core.tests.thrift_program",), _thrift_plain_calls, _thrift_calls),
)
"""One for the servers of each framework."""
AIO_CLIENTS: Final = Kind(
    "grpc.aio clients", ("core.tests.grpc_program", "aio"), _grpc_aio_calls, _grpc_aio_calls
)
"""One for our channel, which is what both of its clients call with: neither is a plain one."""
