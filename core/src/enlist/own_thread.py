"""Blocking calls of coroutines, each in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from enlist.host_process import is_thread_limit, too_many_threads

__all__ = ["in_own_thread", "queued"]

_T = TypeVar("_T")


async def in_own_thread(call: Callable[[], _T], name: str) -> _T:
    """Make the call without blocking the event loop; it is made to its end also if cancelled.

    The threads of the loop may all be busy; this one is new, and ends with the call.

    Args:
        call: what may block.
        name: of the thread.

    Raises:
        UnavailableError: the system gives no further thread now.
    """
    executor = ThreadPoolExecutor(1, thread_name_prefix=name)
    future = queued(executor, call)
    executor.shutdown(wait=False)
    return await asyncio.shield(asyncio.wrap_future(future))


def queued(executor: ThreadPoolExecutor, call: Callable[[], _T]) -> Future[_T]:
    """Have an executor make the call, and return what comes of it.

    Raises:
        UnavailableError: the system gives no further thread now. The executor's own ``submit``
            also leaves the call in its queue then, for whoever comes next to carry out.
    """
    outcome: Future[_T] = Future()
    try:
        executor.submit(_carry_out, outcome, call)
    except RuntimeError as exc:
        if not outcome.cancel():  # another of its threads has taken it already
            return outcome
        if is_thread_limit(exc):
            raise too_many_threads(exc) from exc
        raise
    return outcome


def _carry_out(outcome: Future[_T], call: Callable[[], _T]) -> None:
    if not outcome.set_running_or_notify_cancel():
        return
    try:
        outcome.set_result(call())
    except BaseException as exc:  # noqa: BLE001 - whoever asks for the outcome raises it
        outcome.set_exception(exc)
