"""ASGI and WSGI applications under hypercorn: Quart, FastAPI, Starlette and every other.

::

    enlist.frameworks.hypercorn.serve(app, config, "api", registry="etcd")

in the place of ``asyncio.run(hypercorn.asyncio.serve(app, config))``: the server is enlisted once
its socket accepts, which is after the start of the application's lifespan. On SIGTERM or SIGINT
it is deregistered, serves on until ``drain`` has passed, and is then told to shut down, with
``grace`` for running calls where the configuration leaves hypercorn's own limit. A second signal
skips the rest of the drain. :func:`aserve` does the same in a running event loop.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import sys
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Final, Literal, Unpack

from enlist.address import Address
from enlist.errors import InvalidOptionError
from enlist.serving.awaited import run_until_stopped
from enlist.serving.enlistment import Enlistment
from enlist.serving.listening import best_reached, listen_address
from enlist.serving.server_options import ServerOptions, Settings, as_options

if TYPE_CHECKING:
    import datetime as dt
    import socket

    import hypercorn.config
    import hypercorn.typing

__all__ = ["PAYLOAD_CODEC", "aserve", "serve"]

PAYLOAD_CODEC: Final = "http"
_CUT_WITHIN_S: Final = 1.0
# By whose configuration a task runs: all that hypercorn begins inherits it.
_SERVER: Final[ContextVar[object]] = ContextVar("enlist_hypercorn", default=None)
_log = logging.getLogger(__name__)


def serve(
    app: hypercorn.typing.Framework,
    config: hypercorn.config.Config,
    options: str | ServerOptions,
    *,
    mode: Literal["asgi", "wsgi"] | None = None,
    ready: Callable[[], object] | None = None,
    **settings: Unpack[Settings],
) -> None:
    """Serve in an event loop of its own, enlisted from when it accepts until it leaves.

    Args:
        app: the application.
        config: hypercorn's; it is copied. Its ``worker_class`` and what else sets up a loop or
            processes is ignored, as by hypercorn's own ``serve``.
        options: the service name, or all options.
        mode: which kind of application it is; None to have hypercorn find out.
        ready: as in :func:`enlist.enlisted`.
        **settings: as in :func:`enlist.enlisted`.

    Raises:
        InvalidOptionError: the configuration asks for several processes or ``max_requests``.
        ServingError: this is not the main thread.
        EnlistError: as :func:`enlist.enlisted`; the server was stopped.
        Exception: what hypercorn raised, such as the failure of a lifespan's start.
    """
    asyncio.run(aserve(app, config, options, mode=mode, ready=ready, **settings))


async def aserve(
    app: hypercorn.typing.Framework,
    config: hypercorn.config.Config,
    options: str | ServerOptions,
    *,
    mode: Literal["asgi", "wsgi"] | None = None,
    ready: Callable[[], object] | None = None,
    **settings: Unpack[Settings],
) -> None:
    """Do what :func:`serve` does in the running event loop, which must be the main thread's.

    A cancellation stops the server like a signal.
    """
    import hypercorn.asyncio  # noqa: PLC0415 - only who serves with hypercorn pays for it

    chosen = as_options(options, **settings)
    own = _own_config(config, chosen.grace)
    sockets = own.create_sockets()
    vars(own).update(create_sockets=lambda: sockets)
    over = asyncio.Event()
    marked = copy_context()
    marked.run(_SERVER.set, own)
    serving = asyncio.get_running_loop().create_task(
        hypercorn.asyncio.serve(app, own, shutdown_trigger=over.wait, mode=mode), context=marked
    )
    try:
        enlistment = Enlistment(chosen, _where(sockets), payload_codec=PAYLOAD_CODEC, ready=ready)
        await run_until_stopped(enlistment, serving)
    finally:
        over.set()
        try:
            await _ended(serving, own)
        finally:
            for each in _all(sockets):
                each.close()


def _own_config(config: hypercorn.config.Config, grace: dt.timedelta) -> hypercorn.config.Config:
    if config.workers > 1:
        rule = "takes several processes: use 'enlist run -- hypercorn ...', which may have them"
        raise InvalidOptionError("workers", config.workers, rule)
    if config.max_requests is not None:
        # Nothing tells beforehand, so that there could be no drain.
        rule = (
            "closes the sockets while calls still come: use 'enlist run -- hypercorn ...', "
            "which keeps them open and begins a process anew"
        )
        raise InvalidOptionError("max_requests", config.max_requests, rule)
    own = copy.copy(config)
    if own.graceful_timeout == type(own).graceful_timeout:
        own.graceful_timeout = grace.total_seconds()
    return own


def _where(sockets: hypercorn.config.Sockets) -> Address:
    # With TLS, those without are there to send people on.
    return best_reached(map(listen_address, sockets.secure_sockets or sockets.insecure_sockets))


def _all(sockets: hypercorn.config.Sockets) -> list[socket.socket]:
    return [*sockets.secure_sockets, *sockets.insecure_sockets, *sockets.quic_sockets]


async def _ended(serving: asyncio.Future[None], config: hypercorn.config.Config) -> None:
    """Wait for hypercorn to end within its own limits, which it passes by on newer Pythons.

    From 3.12 on its wait for closed listeners is one for their connections too, without an end.
    """
    within_s = config.graceful_timeout + config.shutdown_timeout
    try:
        await asyncio.wait([serving], timeout=within_s)
    except asyncio.CancelledError:
        await _cancelled(serving, config)
        raise
    if not serving.done():
        _log.error("hypercorn has not ended %g s after it was told to; cancelled", within_s)
        await _cancelled(serving, config)
    elif not serving.cancelled():
        serving.result()  # or its error


async def _cancelled(serving: asyncio.Future[None], config: hypercorn.config.Config) -> None:
    """Cut what runs; from Python 3.12 on hypercorn leaves its connections to whoever cancels it."""
    serving.cancel()
    await asyncio.wait([serving])
    if sys.version_info >= (3, 12):
        left = [task for task in asyncio.all_tasks() if task.get_context().get(_SERVER) is config]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=_CUT_WITHIN_S)
