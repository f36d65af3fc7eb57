"""ASGI applications under uvicorn: FastAPI, Starlette, Django and every other.

::

    enlist.frameworks.uvicorn.serve(uvicorn.Config(app, port=8000), "api", registry="etcd")

in the place of ``uvicorn.run(app, port=8000)``: the server is enlisted once its socket accepts,
which is after the start of the application's lifespan. The signals stay uvicorn's: the first
SIGTERM or SIGINT is told to it only after the server was deregistered and has served on until
``drain`` has passed; a second one skips the rest of the drain. What uvicorn itself does to stop
comes after that, with ``grace`` for running calls where its configuration names no limit.
:func:`aserve` does the same in a running event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, Unpack

from enlist.errors import EnlistError, InvalidOptionError, ServingError
from enlist.serving.awaited import outlasted, run_in_thread
from enlist.serving.enlistment import Enlistment
from enlist.serving.listening import best_reached, listen_address
from enlist.serving.server_options import ServerOptions, Settings, as_options

if TYPE_CHECKING:
    import socket
    from types import FrameType

    import uvicorn

__all__ = ["PAYLOAD_CODEC", "aserve", "serve"]

PAYLOAD_CODEC: Final = "http"
_NOT_STARTED: Final = "uvicorn did not start; its log says why"


def serve(
    server: uvicorn.Config | uvicorn.Server,
    options: str | ServerOptions,
    *,
    ready: Callable[[], object] | None = None,
    **settings: Unpack[Settings],
) -> None:
    """Run a server in an event loop of its own, enlisted from when it accepts until it leaves.

    It ends as ``uvicorn.run`` does, which raises the signal that ended it once more.

    Args:
        server: the configuration of a server, or one that was not started yet.
        options: the service name, or all options.
        ready: as in :func:`enlist.enlisted`.
        **settings: as in :func:`enlist.enlisted`.

    Raises:
        InvalidOptionError: the configuration asks for several processes.
        ServingError: uvicorn did not start, and has logged why.
        EnlistError: as :func:`enlist.enlisted`; the server was stopped.
    """
    stay = _Stay(server, as_options(options, **settings), ready)
    try:
        with contextlib.suppress(KeyboardInterrupt):  # SIGINT, which uvicorn has raised again
            stay.server.run()
    finally:
        if path := stay.server.config.uds:
            Path(path).unlink(missing_ok=True)
    stay.check_started()


async def aserve(
    server: uvicorn.Config | uvicorn.Server,
    options: str | ServerOptions,
    *,
    ready: Callable[[], object] | None = None,
    **settings: Unpack[Settings],
) -> None:
    """Do what :func:`serve` does in the running event loop. A cancellation is like a signal."""
    stay = _Stay(server, as_options(options, **settings), ready)
    await outlasted(asyncio.ensure_future(stay.server.serve()), stay.ask_to_stop)
    stay.check_started()


class _Stay:
    """What the start, the stop and the signals of one server also do, so that it is enlisted."""

    def __init__(
        self,
        server: uvicorn.Config | uvicorn.Server,
        options: ServerOptions,
        ready: Callable[[], object] | None,
    ) -> None:
        import uvicorn  # noqa: PLC0415 - only who serves with uvicorn pays for it

        self.server = uvicorn.Server(server) if isinstance(server, uvicorn.Config) else server
        self._options = options
        self._ready = ready
        self._enlistment: Enlistment | None = None
        self._staying: asyncio.Task[None] | None = None
        self._signal: int | None = None
        self._asked = False
        self._check(self.server.config)
        self._startup = self.server.startup
        self._shutdown = self.server.shutdown
        self._handle_exit = self.server.handle_exit
        # What uvicorn expects subclasses to override; one server's own stand before its class's.
        vars(self.server).update(
            startup=self.startup, shutdown=self.shutdown, handle_exit=self.handle_exit
        )

    def _check(self, config: uvicorn.Config) -> None:
        for option, several in (("workers", config.workers > 1), ("reload", config.should_reload)):
            if several:
                rule = (
                    "takes several processes: use 'enlist run -- uvicorn ...', which may have them"
                )
                raise InvalidOptionError(option, getattr(config, option), rule)
        if config.timeout_graceful_shutdown is None:
            config.timeout_graceful_shutdown = math.ceil(self._options.grace.total_seconds())

    def ask_to_stop(self) -> None:
        """Leave the registry, then stop the server; asked again, skip the rest of the drain."""
        self._asked = True
        if self._enlistment is None:
            self.server.should_exit = True
        else:
            self._enlistment.ask_to_stop()

    def check_started(self) -> None:
        """Raise ServingError where uvicorn returned without having started."""
        if not self.server.started:
            raise ServingError(_NOT_STARTED)

    # --- called by uvicorn -------------------------------------------------------------------

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await self._startup(sockets=sockets)
        except SystemExit as exc:  # what ends a program of uvicorn's own, and would end the loop
            raise ServingError(_NOT_STARTED) from exc
        if self.server.should_exit:  # the start failed, or a signal came meanwhile
            return
        try:
            self._enlistment = self._enlistment_here()
        except EnlistError:
            await self._shutdown(sockets=sockets)
            raise
        self._staying = asyncio.create_task(self._stay(self._enlistment))

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._staying is None or self._staying.done():
            self._handle_exit(sig, frame)
        else:
            self._signal = self._signal or sig
            self.ask_to_stop()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            if self._staying is not None:
                if not self._asked:  # it ends by itself, as after its last request
                    self.ask_to_stop()
                await self._staying
        finally:
            await self._shutdown(sockets=sockets)

    # --- the steps ---------------------------------------------------------------------------

    def _enlistment_here(self) -> Enlistment:
        listeners = [one for each in self.server.servers for one in each.sockets]
        listen = best_reached(map(listen_address, listeners))
        return Enlistment(self._options, listen, payload_codec=PAYLOAD_CODEC, ready=self._ready)

    async def _stay(self, enlistment: Enlistment) -> None:
        try:
            await run_in_thread(enlistment)
        finally:
            if self._signal is None:
                self.server.should_exit = True
            else:
                self._handle_exit(self._signal, None)
