"""The error of a call whose time was over before there was a server to call."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, NoReturn

import grpc

__all__ = ["DeadlineError"]


class DeadlineError(grpc.RpcError, grpc.Call, grpc.Future):  # type: ignore[type-arg]
    """What gRPC raises after a deadline: an error that is also the call which ended with it.

    And a future, since interceptors get the error of a call in the place of one.
    """

    def __init__(self, details: str) -> None:
        """Say what was waited for in vain."""
        super().__init__(details)
        self._details = details

    def code(self) -> grpc.StatusCode:
        """Return DEADLINE_EXCEEDED."""
        return grpc.StatusCode.DEADLINE_EXCEEDED

    def details(self) -> str:
        """Return what was waited for in vain."""
        return self._details

    def initial_metadata(self) -> tuple[Any, ...]:
        """Return nothing, which is what came."""
        return ()

    def trailing_metadata(self) -> tuple[Any, ...]:
        """Return nothing, which is what came."""
        return ()

    def time_remaining(self) -> float:
        """Return that no time is left."""
        return 0.0

    def is_active(self) -> bool:
        """Return that the call has ended."""
        return False

    def running(self) -> bool:
        """Return that the call has ended."""
        return False

    def done(self) -> bool:
        """Return that the call has ended."""
        return True

    def cancel(self) -> bool:
        """Return that there is nothing to cancel."""
        return False

    def cancelled(self) -> bool:
        """Return that nobody has cancelled it."""
        return False

    def result(self, timeout: float | None = None) -> NoReturn:  # noqa: ARG002 - gRPC's own
        """Raise this error."""
        raise self

    def exception(self, timeout: float | None = None) -> DeadlineError:  # noqa: ARG002 - the same
        """Return this error."""
        return self

    def traceback(self, timeout: float | None = None) -> TracebackType | None:  # noqa: ARG002 - the same
        """Return where it was raised."""
        return self.__traceback__

    def add_callback(self, callback: Callable[[], None]) -> bool:  # noqa: ARG002 - the same
        """Return that it comes too late to be called."""
        return False

    def add_done_callback(self, fn: Callable[[Any], None]) -> None:
        """Call the function at once."""
        fn(self)
