"""What a stub of asyncio gets for each method of a channel that follows a service."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol, TypeVar

import grpc.aio

from enlist.clients.grpc_aio_calls import (
    Call,
    StreamStreamCall,
    StreamUnaryCall,
    UnaryStreamCall,
    UnaryUnaryCall,
)
from enlist.clients.grpc_aio_finding import Begin, Finder
from enlist.clients.grpc_reaching import end_of

__all__ = ["StreamStream", "StreamUnary", "UnaryStream", "UnaryUnary"]

_AFTER_TIMEOUT: Final = ("metadata", "credentials", "wait_for_ready", "compression")
_C = TypeVar("_C", bound=Call)


class Caller(Protocol):
    """The channel, as far as its methods know it.

    Attributes:
        finder: picks a server for each call.
    """

    finder: Finder

    def hold(self, call: _C) -> _C:
        """Cancel this call when the channel is closed; return it."""


class _Method:
    """A method, and how a channel of gRPC's own gets what calls it."""

    def __init__(
        self, caller: Caller, method: str, of: Callable[[grpc.aio.Channel], Callable[..., Any]]
    ) -> None:
        self._caller = caller
        self._method = method
        self._of: Callable[[grpc.aio.Channel], Any] = of

    def _begin(self, request: Any, named: dict[str, Any]) -> Begin:
        return lambda channel, left: self._of(channel)(request, timeout=left, **named)

    def _start(
        self, request: Any, end: float | None, named: dict[str, Any]
    ) -> Coroutine[Any, Any, Any]:
        return self._caller.finder.start(self._begin(request, named), end)


# The types of grpc say that these four classes are generic; when it runs not all of them are.


class UnaryUnary(_Method, grpc.aio.UnaryUnaryMultiCallable):  # type: ignore[type-arg]
    """One message, and one answer."""

    def __call__(
        self, request: Any, *, timeout: float | None = None, **named: Any
    ) -> UnaryUnaryCall:
        """Begin to call, and return the call, to be awaited."""
        end = end_of(timeout)
        making = self._caller.finder.repeat(self._method, self._begin(request, named), end)
        return self._caller.hold(UnaryUnaryCall(making, end))


class UnaryStream(_Method, grpc.aio.UnaryStreamMultiCallable):  # type: ignore[type-arg]
    """One message, and a stream of answers."""

    def __call__(
        self, request: Any, *, timeout: float | None = None, **named: Any
    ) -> UnaryStreamCall:
        """Begin to call, and return the call, to be iterated over or read from."""
        end = end_of(timeout)
        return self._caller.hold(UnaryStreamCall(self._start(request, end, named), end))


class StreamUnary(_Method, grpc.aio.StreamUnaryMultiCallable):  # type: ignore[type-arg]
    """A stream of messages, and one answer."""

    def __call__(
        self, request_iterator: Any = None, timeout: float | None = None, *rest: Any, **named: Any
    ) -> StreamUnaryCall:
        """Begin to call, and return the call, to be awaited; without an iterator, to write to."""
        end = end_of(timeout)
        making = self._start(request_iterator, end, _all_named(rest, named))
        return self._caller.hold(StreamUnaryCall(making, end))


class StreamStream(_Method, grpc.aio.StreamStreamMultiCallable):  # type: ignore[type-arg]
    """A stream of messages, and one of answers."""

    def __call__(
        self, request_iterator: Any = None, timeout: float | None = None, *rest: Any, **named: Any
    ) -> StreamStreamCall:
        """Begin to call, and return the call, to be read from; without an iterator, to write to."""
        end = end_of(timeout)
        making = self._start(request_iterator, end, _all_named(rest, named))
        return self._caller.hold(StreamStreamCall(making, end))


def _all_named(rest: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments after the timeout, which for streams may be given by their place."""
    return dict(zip(_AFTER_TIMEOUT, rest, strict=False)) | named
