"""Calls of asyncio that exist before a server for them is found."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from functools import partial
from typing import Any, TypeVar

import grpc
import grpc.aio

from enlist.clients.grpc_reaching import left_until

__all__ = ["Call", "StreamStreamCall", "StreamUnaryCall", "UnaryStreamCall", "UnaryUnaryCall"]

_T = TypeVar("_T")


class Call(grpc.aio.Call):
    """A call that a task begins; once it has, this is whatever gRPC's own call is.

    Attributes:
        begun: the task, whose result is the call of gRPC's own.
        ended: done when the call has ended, in whichever way.
    """

    # When a channel is closed, older versions of gRPC look at it in the calls of all tasks.
    _channel: object = None

    def __init__(self, begin: Coroutine[Any, Any, Any], end: float | None) -> None:
        """Have it begun.

        Args:
            begin: gives gRPC's own call; cancelled, it cancels what it has begun.
            end: when it has to be over, in monotonic seconds; None for never.
        """
        loop = asyncio.get_running_loop()
        self._end = end
        self._cancelled = False
        self.begun = loop.create_task(begin)
        self.ended: asyncio.Future[None] = loop.create_future()
        self.begun.add_done_callback(partial(_ends_with, self.ended))

    @property
    def _own(self) -> Any:
        """The call of gRPC's own, None until there is one."""
        begun = self.begun
        failed = not begun.done() or begun.cancelled() or begun.exception()
        return None if failed else begun.result()

    def cancelled(self) -> bool:
        """Return whether it was cancelled here."""
        if self._own is None:
            return self._cancelled or self.begun.cancelled()
        return bool(self._own.cancelled())

    def done(self) -> bool:
        """Return whether it has ended, in whichever way."""
        if self._own is None:
            return self._cancelled or self.begun.done()
        return bool(self._own.done())

    def time_remaining(self) -> float | None:
        """Return how many seconds are left of its timeout; None if it has none."""
        return left_until(self._end)

    def cancel(self) -> bool:
        """Cancel it; return False if it has ended already."""
        if self._own is not None:
            return bool(self._own.cancel())
        if self.done():
            return False
        self._cancelled = True
        return self.begun.cancel()

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Have a function called with this call when it has ended."""
        self.ended.add_done_callback(lambda _: callback(self))

    async def initial_metadata(self) -> grpc.aio.Metadata:
        """Return what the server has sent first."""
        return await self._asked("initial_metadata", grpc.aio.Metadata())

    async def trailing_metadata(self) -> grpc.aio.Metadata:
        """Return what the server has sent last."""
        return await self._asked("trailing_metadata", grpc.aio.Metadata())

    async def code(self) -> grpc.StatusCode:
        """Wait for the end, and return its status."""
        return await self._asked("code", grpc.StatusCode.CANCELLED)

    async def details(self) -> str:
        """Wait for the end, and return what is said of it."""
        return await self._asked("details", "Cancelled before a server was found.")

    async def wait_for_connection(self) -> None:
        """Wait until a server has it."""
        call = await self.begun
        await call.wait_for_connection()

    async def _asked(self, what: str, if_cancelled: _T) -> _T:
        """Ask gRPC's own call. Whoever is cancelled while asking does not cancel the call."""
        await asyncio.wait([self.begun])
        if self.begun.cancelled():
            return if_cancelled
        if isinstance(failed := self.begun.exception(), grpc.aio.AioRpcError):
            told: _T = getattr(failed, what)()
            return told
        answer: _T = await getattr(self.begun.result(), what)()
        return answer


def _ends_with(ended: asyncio.Future[None], begun: asyncio.Task[Any]) -> None:
    def end(_: object) -> None:
        if not ended.done():
            ended.set_result(None)

    # Looked at, an exception is not reported as one that nobody has seen.
    if begun.cancelled() or begun.exception() is not None:
        end(None)
    else:
        begun.result().add_done_callback(end)


class _OneAnswer(Call):
    def __await__(self) -> Generator[Any, None, Any]:
        """Wait for the answer; to be cancelled cancels the call."""
        return self._answer().__await__()

    async def _answer(self) -> Any:
        call = await self.begun
        return await call


class _Answers(Call):
    _messages: AsyncIterator[Any] | None = None

    def __aiter__(self) -> AsyncIterator[Any]:
        """Return the iterator over the answers, the same one each time."""
        if self._messages is None:
            self._messages = self._read_all()
        return self._messages

    async def _read_all(self) -> AsyncIterator[Any]:
        call = await self.begun
        async for message in call:
            yield message

    async def read(self) -> Any:
        """Wait for one answer; ``grpc.aio.EOF`` after the last."""
        call = await self.begun
        return await call.read()


class _Requests(Call):
    async def write(self, request: Any) -> None:
        """Send one message."""
        call = await self.begun
        await call.write(request)

    async def done_writing(self) -> None:
        """Tell that no message follows."""
        call = await self.begun
        await call.done_writing()


class UnaryUnaryCall(_OneAnswer, grpc.aio.UnaryUnaryCall[Any, Any]):
    """One message, and one answer."""


class UnaryStreamCall(_Answers, grpc.aio.UnaryStreamCall[Any, Any]):
    """One message, and a stream of answers."""


class StreamUnaryCall(_Requests, _OneAnswer, grpc.aio.StreamUnaryCall[Any, Any]):
    """A stream of messages, and one answer."""


class StreamStreamCall(_Requests, _Answers, grpc.aio.StreamStreamCall[Any, Any]):
    """A stream of messages, and one of answers."""
