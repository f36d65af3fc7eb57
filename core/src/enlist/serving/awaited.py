"""The asyncio twins of :mod:`enlist.serving.blocking`: the same steps, in a thread of their own.

Nothing blocks the event loop, and no step depends on a free thread of the loop's executor.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar, Unpack

from enlist.errors import InvalidOptionError
from enlist.serving.enlistment import Enlistment
from enlist.serving.health import Observer
from enlist.serving.listening import ListenAddress, best_reached, listen_address
from enlist.serving.registration import Registration
from enlist.serving.server_options import ServerOptions, Settings, as_options
from enlist.serving.signals import SEEN_WITHIN_S, told_to_stop

__all__ = ["aenlisted", "aserve", "outlasted", "run_in_thread", "run_until_stopped"]

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


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


async def aserve(
    runnable: asyncio.Server,
    server: str | ServerOptions,
    listen_addr: ListenAddress | None = None,
    *,
    payload_codec: str = "",
    ready: Callable[[], object] | None = None,
    observer: Observer | None = None,
    **settings: Unpack[Settings],
) -> None:
    """Run an asyncio server until SIGTERM or SIGINT, enlisted from when it is ready.

    ::

        server = await asyncio.start_server(talk, "0.0.0.0", 8888)
        await enlist.aio.serve(server, "echo", registry="etcd")

    As :func:`enlist.serve`, whose arguments and errors it has, without blocking the loop, which
    must run in the main thread. After the drain the server is closed; connections that are open
    then have ``grace`` to end. A cancellation is a stop like a signal.

    Args:
        runnable: what ``asyncio.start_server`` or ``loop.create_server`` made.
        server: the service name, or all options.
        listen_addr: None for where it listens; of several sockets, the one most clients reach.
        payload_codec: such as "thrift" or "protobuf"; what registry_info says is stronger.
        ready: asked in another thread until it says yes.
        observer: told in another thread how it goes.
        **settings: fields of :class:`~enlist.ServerOptions`, and ``tags``.
    """
    options = as_options(server, **settings)
    where = _where(runnable) if listen_addr is None else listen_addr
    enlistment = Enlistment(
        options, where, payload_codec=payload_codec, ready=ready, observer=observer
    )
    ended = asyncio.ensure_future(runnable.wait_closed())
    try:
        await runnable.start_serving()
        await run_until_stopped(enlistment, ended)
    finally:
        runnable.close()
        await _ended(ended, options.grace.total_seconds())


def _where(runnable: asyncio.Server) -> ListenAddress:
    if not runnable.sockets:
        raise InvalidOptionError("runnable", runnable, "listens nowhere: it was closed")
    return best_reached(map(listen_address, runnable.sockets))


async def _ended(ended: asyncio.Future[Any], grace_s: float) -> None:
    """Wait for the connections; from Python 3.12 on that is what a closed server waits for."""
    try:
        _, open_yet = await asyncio.wait([ended], timeout=grace_s)
    finally:
        ended.cancel()
    if open_yet:
        _log.warning("connections were open %g s after the server was closed; left", grace_s)


async def run_until_stopped(enlistment: Enlistment, ended: asyncio.Future[Any]) -> None:
    """Keep a running server enlisted until SIGTERM, SIGINT, its own end or a cancellation.

    Args:
        enlistment: of that server.
        ended: done when the server has ended by itself; stays the caller's.

    Raises:
        ServingError: this is not the main thread.
        EnlistError: as :meth:`enlist.serving.enlistment.Enlistment.start`.
    """

    def has_ended(_: asyncio.Future[Any]) -> None:
        enlistment.server_ended()

    ended.add_done_callback(has_ended)
    try:
        with told_to_stop(enlistment.ask_to_stop), _waking():
            await run_in_thread(enlistment)
    finally:
        ended.remove_done_callback(has_ended)


@contextmanager
def _waking() -> Iterator[None]:
    """Wake the loop now and then: a signal that another thread was given does not."""
    ticking = asyncio.ensure_future(_ticking())
    try:
        yield
    finally:
        ticking.cancel()


async def _ticking() -> None:
    while True:  # noqa: ASYNC110 - it waits for nothing
        await asyncio.sleep(SEEN_WITHIN_S)


async def run_in_thread(enlistment: Enlistment) -> None:
    """Keep a running server enlisted until somebody asks for the stop; a cancellation does too.

    Raises:
        EnlistError: as :meth:`enlist.serving.enlistment.Enlistment.start`.
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
