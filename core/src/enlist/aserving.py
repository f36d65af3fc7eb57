"""The asyncio twins of :mod:`enlist.serving`: the same steps, taken in a thread of their own.

Nothing blocks the event loop, and no step depends on a free thread of the loop's executor.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar, Unpack

from enlist.health import Observer
from enlist.listening import ListenAddress
from enlist.server_options import ServerOptions, Settings, as_options
from enlist.serving import Enlistment, Registration
from enlist.signals import told_to_stop

__all__ = ["aenlisted", "outlasted", "run_in_thread", "run_until_stopped"]

_T = TypeVar("_T")


@asynccontextmanager
async def aenlisted(
    server: str | ServerOptions,
    listen_addr: ListenAddress,
    *,
    payload_codec: str = "",
    ready: Callable[[], object] | None = None,
    observer: Observer | None = None,
    **settings: Unpack[Settings],
) -> AsyncIterator[Registration]:
    """Keep a running server enlisted while the ``async with`` block runs.

    As :func:`enlist.enlisted`, whose arguments and errors it has, without blocking the loop. A
    cancelled start registers nothing. A cancelled block is a stop like any other; cancelled
    again during the drain, the rest of the drain is skipped.

    Args:
        server: the service name, or all options.
        listen_addr: where the server listens, with the port that it was really given.
        payload_codec: such as "thrift" or "protobuf"; what registry_info says is stronger.
        ready: asked in another thread until it says yes.
        observer: told in another thread how it goes.
        **settings: fields of :class:`~enlist.ServerOptions`, and ``tags``.

    Yields:
        The :class:`Registration`; await its ``aupdate``, since ``update`` blocks.
    """
    options = as_options(server, **settings)
    enlistment = Enlistment(
        options, listen_addr, payload_codec=payload_codec, ready=ready, observer=observer
    )
    with _thread() as executor:
        try:
            registration = await _finished(executor, enlistment.start, enlistment)
        except asyncio.CancelledError:
            # It may have been registered at the last moment.
            await _finished(executor, lambda: enlistment.stop(drain=False), enlistment)
            raise
        failed = False
        try:
            yield registration
        except Exception:
            failed = True
            raise
        finally:
            await _finished(executor, lambda: enlistment.stop(drain=not failed), enlistment)


async def run_until_stopped(enlistment: Enlistment, ended: asyncio.Future[Any]) -> None:
    """Keep a running server enlisted until SIGTERM, SIGINT, its own end or a cancellation.

    Args:
        enlistment: of that server.
        ended: done when the server has ended by itself; stays the caller's.

    Raises:
        ServingError: this is not the main thread.
        EnlistError: as :meth:`enlist.serving.Enlistment.start`.
    """

    def has_ended(_: asyncio.Future[Any]) -> None:
        enlistment.server_ended()

    ended.add_done_callback(has_ended)
    try:
        with told_to_stop(enlistment.ask_to_stop):
            await run_in_thread(enlistment)
    finally:
        ended.remove_done_callback(has_ended)


async def run_in_thread(enlistment: Enlistment) -> None:
    """Keep a running server enlisted until somebody asks for the stop; a cancellation does too.

    Raises:
        EnlistError: as :meth:`enlist.serving.Enlistment.start`.
    """
    with _thread() as executor:
        await _finished(executor, enlistment.run, enlistment)


def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="enlist-serving")


async def _finished(
    executor: ThreadPoolExecutor, step: Callable[[], _T], enlistment: Enlistment
) -> _T:
    """Take one step in the thread; when cancelled, end its waiting and let it finish.

    A step that is left half done would leave a record of a server that is gone.
    """
    future = asyncio.get_running_loop().run_in_executor(executor, step)
    return await outlasted(future, enlistment.ask_to_stop)


async def outlasted(future: asyncio.Future[_T], ask_to_stop: Callable[[], object]) -> _T:
    """Wait for a future that is never cancelled; a cancellation asks it to stop, each time anew.

    Raises:
        asyncio.CancelledError: it has ended, after it was asked to; its error is the cause.
    """
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError as cancelled:
        while not future.done():
            ask_to_stop()
            await _outlived(future)
        raise cancelled from future.exception()


async def _outlived(future: asyncio.Future[_T]) -> None:
    """Wait for the future even if cancelled meanwhile; its outcome is the caller's to look at."""
    try:
        await asyncio.wait([future])
    except asyncio.CancelledError:
        return
