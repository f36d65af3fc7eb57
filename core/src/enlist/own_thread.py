"""One blocking call of a coroutine, in a thread that nobody else can keep busy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["in_own_thread"]

_T = TypeVar("_T")


async def in_own_thread(call: Callable[[], _T], name: str) -> _T:
    """Make the call without blocking the event loop; it is made to its end also if cancelled.

    The threads of the loop may all be busy; this one is new, and ends with the call.

    Args:
        call: what may block.
        name: of the thread.
    """
    executor = ThreadPoolExecutor(1, thread_name_prefix=name)
    future = executor.submit(call)
    executor.shutdown(wait=False)
    return await asyncio.shield(asyncio.wrap_future(future))
