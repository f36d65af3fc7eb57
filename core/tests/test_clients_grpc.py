"""A gRPC channel that follows a service, with servers that come, leave, die and break."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc  # noqa: TID253 - the tests are gRPC's clients and servers
import pytest

from core.tests.grpc_world import (
    BEHIND,
    BREAK,
    CHAT,
    LISTEN,
    SAY,
    TELL,
    WEIGHTY,
    connections,
    dead_server,
    seen_by,
)
from core.tests.scripted_source import unheard_resolver
from core.tests.serving_world import NO_TIME
from enlist.address import Address
from enlist.clients.grpc import ResolverChannel, channel
from enlist.clients.grpc_deadline import DeadlineError
from enlist.clients.grpc_failures import never_sent
from enlist.errors import ClosedError, InvalidOptionError, NoInstanceError, UnavailableError
from enlist.finding.resolver import Resolver
from enlist.frameworks.grpc import enlisted
from enlist.info import Info
from enlist.registry import Registry
from tests.waiting import eventually


class Echo:
    """Answers with its name, in each of the four ways, and breaks when told to."""

    def __init__(self, name: str) -> None:
        self.name = name.encode()
        self.broken = 0

    def say(self, request: bytes, _: grpc.ServicerContext) -> bytes:
        return self.name + request

    def listen(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        yield self.name
        if request == b"endless":
            ended = threading.Event()
            context.add_callback(ended.set)
            ended.wait(20)
        yield request

    def tell(self, requests: Iterator[bytes], _: grpc.ServicerContext) -> bytes:
        return self.name + b"".join(requests)

    def chat(self, requests: Iterator[bytes], _: grpc.ServicerContext) -> Iterator[bytes]:
        for request in requests:
            yield self.name + request

    def broken_call(self, _: bytes, context: grpc.ServicerContext) -> bytes:
        self.broken += 1
        if self.name == b"breaking":
            context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        if self.name == b"gateway":
            context.abort(grpc.StatusCode.UNAVAILABLE, BEHIND)
        return self.name

    def handler(self) -> grpc.GenericRpcHandler:
        return grpc.method_handlers_generic_handler(
            "echo.Echo",
            {
                "Say": grpc.unary_unary_rpc_method_handler(self.say),
                "Listen": grpc.unary_stream_rpc_method_handler(self.listen),
                "Tell": grpc.stream_unary_rpc_method_handler(self.tell),
                "Chat": grpc.stream_stream_rpc_method_handler(self.chat),
                "Break": grpc.unary_unary_rpc_method_handler(self.broken_call),
            },
        )


@pytest.fixture
def following(resolver: Resolver) -> Iterator[ResolverChannel]:
    """A channel that follows them."""
    with channel(resolver) as made:
        yield made


@contextmanager
def server(
    registry: Registry, resolver: Resolver, name: str, weight: int = 10
) -> Iterator[tuple[Info, Echo]]:
    """A server that clients see, while the block runs."""
    echo = Echo(name)
    with (
        ThreadPoolExecutor(4) as pool,
        enlisted(
            grpc.server(pool, handlers=[echo.handler()]),
            "echo",
            "127.0.0.1:0",
            registry=registry,
            registry_info=Info(weight=weight),
            drain=NO_TIME,
            grace=NO_TIME,
        ) as registration,
    ):
        seen_by(resolver, registration.info)
        yield registration.info, echo


def all_ways(made: grpc.Channel) -> list[Any]:
    """Make one call in each way that gRPC has."""
    say: grpc.UnaryUnaryMultiCallable[bytes, bytes] = made.unary_unary(SAY)
    listen: grpc.UnaryStreamMultiCallable[bytes, bytes] = made.unary_stream(LISTEN)
    tell: grpc.StreamUnaryMultiCallable[bytes, bytes] = made.stream_unary(TELL)
    chat: grpc.StreamStreamMultiCallable[bytes, bytes] = made.stream_stream(CHAT)
    return [
        say(b"1", timeout=20),
        say.with_call(b"2", timeout=20)[0],
        say.future(b"3", timeout=20).result(),
        list(listen(b"4", timeout=20)),
        tell(iter([b"5", b"6"]), timeout=20),
        tell.with_call(iter([b"7"]), timeout=20)[0],
        tell.future(iter([b"8"]), timeout=20).result(),
        list(chat(iter([b"9"]), timeout=20)),
    ]


ANSWERS = [b"a1", b"a2", b"a3", [b"a", b"4"], b"a56", b"a7", b"a8", [b"a9"]]


def test_channel_calls_in_every_way(
    registry: Registry, resolver: Resolver, following: ResolverChannel
) -> None:
    """Stubs get what they get from a channel of gRPC, on one connection for each server."""
    with server(registry, resolver, "a") as (info, _):
        assert all_ways(following) == ANSWERS
        assert connections(info) == 1


class PassingOn(grpc.UnaryUnaryClientInterceptor):
    """Does nothing, as a part of what many interceptors do."""

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:  # noqa: ANN401 - gRPC's own
        return continuation(details, request)


def test_channel_takes_interceptors(
    registry: Registry, resolver: Resolver, following: ResolverChannel
) -> None:
    """It goes into grpc.intercept_channel like any other, also when a call fails."""
    seen: list[str] = []

    class Noting(grpc.UnaryUnaryClientInterceptor):
        def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:  # noqa: ANN401 - gRPC's own
            seen.append(details.method)
            return continuation(details, request)

    intercepted = grpc.intercept_channel(following, Noting())
    say: grpc.UnaryUnaryMultiCallable[bytes, bytes] = intercepted.unary_unary(SAY)
    with pytest.raises(NoInstanceError):
        say(b"", timeout=20)
    with server(registry, resolver, "a"):
        assert say(b"1", timeout=20) == b"a1"
    assert seen == [SAY, SAY]


def test_channel_picks_by_weight(
    registry: Registry, resolver: Resolver, following: ResolverChannel
) -> None:
    """A server of three times the weight gets about three times the calls."""
    say: grpc.UnaryUnaryMultiCallable[bytes, bytes] = following.unary_unary(SAY)
    with server(registry, resolver, "light", 10), server(registry, resolver, "heavy", 30):
        served = Counter(say(b"", timeout=20) for _ in range(400))
    assert served.total() == 400
    assert 240 <= served[b"heavy"] <= 360


def test_channel_tries_another_server_when_one_has_died(
    registry: Registry, resolver: Resolver, following: ResolverChannel
) -> None:
    """Whoever cannot be connected to has not seen the call: no call fails for it."""
    with ExitStack() as dead, server(registry, resolver, "a", weight=1):
        for _ in range(4):
            dead.enter_context(dead_server(registry, resolver))
        assert all_ways(following) == ANSWERS


def test_channel_fails_when_all_have_died(
    registry: Registry, resolver: Resolver, following: ResolverChannel
) -> None:
    """The error is gRPC's own, and says why nobody could be connected to."""
    say: grpc.UnaryUnaryMultiCallable[bytes, bytes] = following.unary_unary(SAY)

    def say_later() -> bytes:
        return say.future(b"", timeout=20).result()

    calls: list[Callable[[], bytes]] = [lambda: say(b"", timeout=20), say_later]
    with dead_server(registry, resolver):
        for call in calls:
            with pytest.raises(grpc.RpcError) as caught:
                call()
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert "failed to connect" in str(caught.value.details())


def test_channel_repeats_what_broke_only_if_it_may(registry: Registry, resolver: Resolver) -> None:
    """A call whose outcome nobody knows is made again for a repeatable method alone."""
    with (
        server(registry, resolver, "a", weight=1),
        server(registry, resolver, "breaking", WEIGHTY) as (_, echo),
        channel(resolver) as careful,
        channel(resolver, repeatable=[BREAK]) as named,
        channel(resolver, repeatable=True) as bold,
    ):
        with pytest.raises(grpc.RpcError, match="Socket closed"):
            careful.unary_unary(BREAK)(b"", timeout=20)
        assert echo.broken == 1
        assert named.unary_unary(BREAK)(b"", timeout=20) == b"a"
        assert bold.unary_unary(BREAK)(b"", timeout=20) == b"a"


def test_channel_does_not_repeat_a_call_of_which_a_gateway_says_that_it_went_nowhere(
    registry: Registry, resolver: Resolver, following: ResolverChannel
) -> None:
    """The gateway itself was called, and may have done a part of its work."""
    with (
        server(registry, resolver, "gateway", WEIGHTY) as (_, gateway),
        server(registry, resolver, "a", weight=1),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            following.unary_unary(BREAK)(b"", timeout=20)
        assert caught.value.details() == BEHIND
        assert gateway.broken == 1


def test_channel_does_not_wait_for_a_unix_socket_that_nobody_accepts_on(
    registry: Registry, resolver: Resolver, following: ResolverChannel, socket_folder: Path
) -> None:
    """A hung server whose queue is full does not hold up a call beyond its time."""
    path = f"{socket_folder}/hung"
    with (
        socket.socket(socket.AF_UNIX) as listener,
        socket.socket(socket.AF_UNIX) as waiting,
    ):
        listener.bind(path)
        listener.listen(0)
        waiting.connect(path)
        hung = Info(service_name="echo", addr=f"unix:{path}", weight=WEIGHTY)
        registry.register(hung)
        seen_by(resolver, hung)
        with server(registry, resolver, "a", weight=1):
            assert list(following.unary_stream(LISTEN)(b"", timeout=5)) == [b"a", b""]


@pytest.mark.parametrize(
    "addr, named, is_named",
    [
        ("127.0.0.1:80", "ipv4:127.0.0.1:80", True),
        ("127.0.0.1:80", "ipv4:127.0.0.1:8080", False),
        ("[::1]:80", "ipv6:%5B::1%5D:80", True),
        ("[::1]:80", "ipv6:%5B::2%5D:80", False),
        ("localhost:80", "ipv4:127.0.0.1:80", True),
        ("nowhere.invalid:80", "ipv4:127.0.0.1:80", False),
        ("unix:/run/a.sock", "unix:/run/a.sock", True),
        ("unix:/run/a.sock", "unix:/run/a.sock2", False),
    ],
)
def test_an_error_of_connecting_counts_for_the_address_that_it_names(
    addr: str, named: str, *, is_named: bool
) -> None:
    """Each kind of address is found in gRPC's words, and no other one is taken for it."""
    error = FailedToConnect(f"failed to connect to all addresses; last error: X: {named}: refused")
    assert never_sent(error, Address.parse(addr)) is is_named


def test_an_error_of_resolving_counts_for_the_name_that_it_names() -> None:
    """There are two ways in which gRPC has said so."""
    addr = Address.parse("nowhere.invalid:80")
    assert never_sent(FailedToConnect("DNS resolution failed for nowhere.invalid:80: no"), addr)
    assert never_sent(FailedToConnect("errors resolving nowhere.invalid:80: [no]"), addr)
    assert not never_sent(FailedToConnect("errors resolving other.invalid:80: [no]"), addr)


class FailedToConnect(grpc.RpcError):
    """An error as gRPC raises one."""

    def __init__(self, details: str) -> None:
        super().__init__()
        self._details = details

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        return self._details


def test_channel_does_not_repeat_other_errors(registry: Registry, resolver: Resolver) -> None:
    """A server that refuses is not asked a second time, nor is another one."""
    with server(registry, resolver, "a"), channel(resolver, repeatable=True) as bold:
        with pytest.raises(grpc.RpcError) as caught:
            bold.unary_unary("/echo.Echo/Unknown")(b"", timeout=20)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_channel_gives_up_after_its_attempts(registry: Registry, resolver: Resolver) -> None:
    """A call tries so many servers and no more, and then fails with the last one's error."""
    with (
        server(registry, resolver, "a", weight=1),
        server(registry, resolver, "breaking", WEIGHTY),
        channel(resolver, repeatable=True, attempts=1) as hasty,
        pytest.raises(grpc.RpcError, match="Socket closed"),
    ):
        hasty.unary_unary(BREAK)(b"", timeout=20)


def test_channel_keeps_to_the_timeout(
    registry: Registry, resolver: Resolver, following: ResolverChannel
) -> None:
    """A call has its time, whatever is tried in it."""
    began = time.monotonic()
    with (
        server(registry, resolver, "a", weight=1),
        dead_server(registry, resolver),
        pytest.raises(grpc.RpcError) as caught,
    ):
        list(following.unary_stream(LISTEN)(b"endless", timeout=0.5))
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - began < 10


def test_channel_keeps_to_the_timeout_before_the_first_list() -> None:
    """A call that waits for the registry ends as gRPC's own does whose time is over."""
    with unheard_resolver() as (resolver, _), channel(resolver) as following:
        say: grpc.UnaryUnaryMultiCallable[bytes, bytes] = following.unary_unary(SAY)
        listen: grpc.UnaryStreamMultiCallable[bytes, bytes] = following.unary_stream(LISTEN)
        passing_on = grpc.intercept_channel(following, PassingOn())
        intercepted: grpc.UnaryUnaryMultiCallable[bytes, bytes] = passing_on.unary_unary(SAY)
        calls: list[Callable[[], object]] = [
            lambda: say(b"", timeout=0.2),
            lambda: say.future(b"", timeout=0.2),
            lambda: next(listen(b"", timeout=0.2)),
            lambda: intercepted(b"", timeout=0.2),
        ]
        began = time.monotonic()
        for call in calls:
            with pytest.raises(grpc.RpcError, match="first list of 'echo'") as caught:
                call()
            assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert 0.6 < time.monotonic() - began < 10


def test_channel_waits_for_the_first_list_no_longer_than_the_registry() -> None:
    """A call that has more time raises what a pick raises."""
    with unheard_resolver(timeout_s=0.1) as (resolver, _), channel(resolver) as following:
        for timeout in (20, None):
            with pytest.raises(UnavailableError, match="nothing is known of 'echo' yet"):
                following.unary_unary(SAY)(b"", timeout=timeout)


def test_channel_waits_for_the_first_list() -> None:
    """It may come within the time of the call."""
    with (
        unheard_resolver() as (resolver, source),
        channel(resolver) as following,
        ThreadPoolExecutor(1) as pool,
    ):
        call = pool.submit(following.unary_unary(SAY), b"", timeout=15)
        source.opened(1).list()
        with pytest.raises(NoInstanceError):
            call.result(20)


def test_error_of_the_deadline_is_the_call_that_has_ended() -> None:
    """Whoever looks at it as a call, or as a future, is told what gRPC's own errors tell."""
    error = DeadlineError("too late")
    called: list[object] = []
    error.add_done_callback(called.append)
    assert (called, error.add_callback(lambda: None)) == ([error], False)
    assert (error.done(), error.running(), error.is_active()) == (True, False, False)
    assert (error.cancel(), error.cancelled(), error.time_remaining()) == (False, False, 0)
    assert (error.initial_metadata(), error.trailing_metadata()) == ((), ())
    assert (error.details(), error.exception(), error.traceback()) == ("too late", error, None)
    with pytest.raises(DeadlineError) as caught:
        error.result()
    assert caught.value is error
    assert error.traceback() is not None


def test_channel_leaves_a_server_that_leaves_after_its_calls(
    registry: Registry, resolver: Resolver, following: ResolverChannel
) -> None:
    """A server that leaves gets no new call, keeps those that run, and then its connection ends."""
    say: grpc.UnaryUnaryMultiCallable[bytes, bytes] = following.unary_unary(SAY)
    with (
        server(registry, resolver, "leaves", WEIGHTY) as (info, _),
        server(registry, resolver, "stays", 1),
    ):
        running = following.unary_stream(LISTEN)(b"endless", timeout=20)
        assert next(running) == b"leaves"
        registry.deregister(info)
        eventually(lambda: info not in resolver.instances, why="it has left")

        assert {say(b"", timeout=20) for _ in range(20)} == {b"stays"}
        assert connections(info) == 1
        running.cancel()
        eventually(lambda: connections(info) == 0, why="its connection is closed")


def test_channel_closes_the_idle_connection_of_a_server_that_leaves(
    registry: Registry, resolver: Resolver, following: ResolverChannel
) -> None:
    """Nothing has to be called for that."""
    with server(registry, resolver, "leaves") as (info, _):
        assert following.unary_unary(SAY)(b"", timeout=20) == b"leaves"
        registry.deregister(info)
        eventually(lambda: connections(info) == 0, why="its connection is closed")


def test_channel_is_ready_when_somebody_can_be_picked(
    registry: Registry, resolver: Resolver, following: ResolverChannel
) -> None:
    """grpc.channel_ready_future waits for the first server."""
    ready = grpc.channel_ready_future(following)
    with pytest.raises(grpc.FutureTimeoutError):
        ready.result(timeout=0.1)
    with server(registry, resolver, "a"):
        ready.result(timeout=20)


def test_channel_tells_its_subscribers(
    registry: Registry, resolver: Resolver, following: ResolverChannel
) -> None:
    """A subscriber hears of the first server and of the last, until it is unsubscribed."""
    resolver.wait_for(0)
    heard: list[grpc.ChannelConnectivity] = []
    following.subscribe(heard.append)
    with server(registry, resolver, "a"):
        eventually(lambda: len(heard) == 2, why="the first server is heard of")
    eventually(lambda: len(heard) == 3, why="so is its end")
    following.unsubscribe(heard.append)
    with server(registry, resolver, "b"):
        following.unary_unary(SAY)(b"", timeout=20)
    down, up = grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.READY
    assert heard == [down, up, down]


def test_close_cancels_what_runs_and_refuses_what_comes(
    registry: Registry, resolver: Resolver
) -> None:
    """A closed channel holds no connection, and says that it was closed."""
    with server(registry, resolver, "a") as (info, _):
        made = channel(resolver)
        running = made.unary_stream(LISTEN)(b"endless", timeout=20)
        assert next(running) == b"a"
        made.close()
        made.close()
        with pytest.raises(grpc.RpcError) as caught:
            next(running)
        assert caught.value.code() is grpc.StatusCode.CANCELLED
        eventually(lambda: connections(info) == 0, why="its connection is closed")
        with pytest.raises(ClosedError, match="channel to 'echo' was closed"):
            made.unary_unary(SAY)(b"")


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"attempts": "3"}, {"repeatable": SAY}])
def test_channel_refuses_wrong_options(resolver: Resolver, wrong: dict[str, Any]) -> None:
    """What would be misunderstood is refused at once."""
    with pytest.raises(InvalidOptionError, match=next(iter(wrong))):
        channel(resolver, **wrong)
