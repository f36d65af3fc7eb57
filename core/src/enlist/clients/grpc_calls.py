"""What a stub gets for each method of a channel that follows a service."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import grpc

__all__ = ["Caller", "StreamStream", "StreamUnary", "UnaryStream", "UnaryUnary"]

_T = TypeVar("_T")


class Caller(Protocol):
    """What the channel does with a call."""

    def repeat(
        self, method: str, call: Callable[[grpc.Channel, float | None], _T], timeout: float | None
    ) -> _T:
        """Make it on one server after another, until one could be called."""

    def start(
        self, begin: Callable[[grpc.Channel, float | None], Any], timeout: float | None
    ) -> Any:
        """Begin it once, on a server that is connected to."""


class _Method:
    """A method, and how a channel of gRPC's own gets what calls it."""

    def __init__(
        self, caller: Caller, method: str, of: Callable[[grpc.Channel], Callable[..., Any]]
    ) -> None:
        self._caller = caller
        self._method = method
        self._of: Callable[[grpc.Channel], Any] = of

    def _repeat(self, call: str, request: Any, timeout: float | None, rest: Any, named: Any) -> Any:
        return self._caller.repeat(
            self._method,
            lambda channel, left: getattr(self._of(channel), call)(request, left, *rest, **named),
            timeout,
        )

    def _start(self, call: str, request: Any, timeout: float | None, rest: Any, named: Any) -> Any:
        return self._caller.start(
            lambda channel, left: getattr(self._of(channel), call)(request, left, *rest, **named),
            timeout,
        )


# The types of grpc say that these four classes are generic; when it runs they are not.


class UnaryUnary(_Method, grpc.UnaryUnaryMultiCallable):  # type: ignore[type-arg]
    """One message, and one answer."""

    def __call__(self, request: Any, timeout: float | None = None, *rest: Any, **named: Any) -> Any:
        """Call, and return the answer."""
        return self._repeat("__call__", request, timeout, rest, named)

    def with_call(
        self, request: Any, timeout: float | None = None, *rest: Any, **named: Any
    ) -> Any:
        """Call, and return the answer and the call."""
        return self._repeat("with_call", request, timeout, rest, named)

    def future(self, request: Any, timeout: float | None = None, *rest: Any, **named: Any) -> Any:
        """Begin to call, and return the call, which is a future."""
        return self._start("future", request, timeout, rest, named)


class UnaryStream(_Method, grpc.UnaryStreamMultiCallable):  # type: ignore[type-arg]
    """One message, and a stream of answers."""

    def __call__(self, request: Any, timeout: float | None = None, *rest: Any, **named: Any) -> Any:
        """Begin to call, and return the call, which is an iterator."""
        return self._start("__call__", request, timeout, rest, named)


class StreamUnary(_Method, grpc.StreamUnaryMultiCallable):  # type: ignore[type-arg]
    """A stream of messages, and one answer."""

    def __call__(
        self, request_iterator: Any, timeout: float | None = None, *rest: Any, **named: Any
    ) -> Any:
        """Call, and return the answer."""
        return self._start("future", request_iterator, timeout, rest, named).result()

    def with_call(
        self, request_iterator: Any, timeout: float | None = None, *rest: Any, **named: Any
    ) -> Any:
        """Call, and return the answer and the call."""
        call = self._start("future", request_iterator, timeout, rest, named)
        return call.result(), call

    def future(
        self, request_iterator: Any, timeout: float | None = None, *rest: Any, **named: Any
    ) -> Any:
        """Begin to call, and return the call, which is a future."""
        return self._start("future", request_iterator, timeout, rest, named)


class StreamStream(_Method, grpc.StreamStreamMultiCallable):  # type: ignore[type-arg]
    """A stream of messages, and one of answers."""

    def __call__(
        self, request_iterator: Any, timeout: float | None = None, *rest: Any, **named: Any
    ) -> Any:
        """Begin to call, and return the call, which is an iterator."""
        return self._start("__call__", request_iterator, timeout, rest, named)
