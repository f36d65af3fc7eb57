"""gRPC servers, ``grpc.Server`` and ``grpc.aio.Server``, around the server that you made.

::

    server = grpc.server(ThreadPoolExecutor())
    add_EchoServicer_to_server(Echo(), server)
    enlist.frameworks.grpc.serve(server, "echo", "0.0.0.0:50051", registry="etcd")

That adds the port, starts the server and enlists it; on SIGTERM or SIGINT it deregisters,
serves on until ``drain`` has passed, and stops the server, which gives running calls ``grace``.
:func:`enlisted` does the same around a ``with`` block, and leaves the signals to you;
:func:`aserve` and :func:`aenlisted` are for ``grpc.aio``. A server that you bind and start
yourself goes into :func:`enlist.enlisted` with ``payload_codec="protobuf"``.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final, Unpack

from enlist.address import Address
from enlist.errors import InvalidOptionError, ServingError
from enlist.frameworks.grpc_health import AsyncHealth, Health, SyncHealth
from enlist.frameworks.grpc_ports import taken
from enlist.serving import awaited, blocking
from enlist.serving.awaited import outlasted
from enlist.serving.binding import address_to_bind
from enlist.serving.enlistment import Enlistment
from enlist.serving.registration import Registration
from enlist.serving.server_options import ServerOptions, Settings, as_options

if TYPE_CHECKING:
    import datetime as dt

    import grpc
    import grpc.aio

__all__ = ["PAYLOAD_CODEC", "aenlisted", "aserve", "bind", "enlisted", "serve"]

PAYLOAD_CODEC: Final = "protobuf"


def bind(
    server: grpc.Server | grpc.aio.Server,
    listen: str,
    credentials: grpc.ServerCredentials | None = None,
    *,
    reuse_port: bool = False,
) -> Address:
    """Add a port to a server that was not started yet, and return where it really listens.

    A port that somebody listens on is refused, although gRPC itself would share it: a server that
    was started twice by mistake would get a part of the calls.

    Args:
        server: the server.
        listen: "0.0.0.0:50051", "[::]:50051", ":50051" (every address), "localhost:50051" or
            "unix:/run/echo.sock". Port 0 has the system choose one.
        credentials: for TLS, from ``grpc.ssl_server_credentials``; None for plain text.
        reuse_port: share the port with other processes that do the same, on purpose. They are
            one instance, which one of them or ``enlist run`` enlists.

    Raises:
        InvalidOptionError: ``listen`` is no such text.
        ServingError: somebody listens there, or gRPC could not bind to it; its error is chained.
    """
    addr, port = address_to_bind(listen)
    wanted = f"[::]{listen}" if listen.startswith(":") else listen
    shared = reuse_port and addr.network != "unix"
    if not shared and taken(addr, port):
        raise ServingError(
            f"could not bind to {wanted!r}: somebody listens there already. End that server, or "
            "choose another port"
        )
    try:
        bound = (
            server.add_insecure_port(wanted)
            if credentials is None
            else server.add_secure_port(wanted, credentials)
        )
    except RuntimeError as exc:
        raise ServingError(
            f"gRPC could not bind to {wanted!r}: it must be an address of this machine, with a "
            "port that this user may open"
        ) from exc
    return addr if addr.network == "unix" else Address.tcp(addr.host, bound)


@contextmanager
def enlisted(
    server: grpc.Server,
    options: str | ServerOptions,
    listen: str,
    *,
    credentials: grpc.ServerCredentials | None = None,
    health: Health = False,
    ready: Callable[[], object] | None = None,
    **settings: Unpack[Settings],
) -> Iterator[Registration]:
    """Bind, start and enlist a server while the ``with`` block runs, then drain and stop it.

    Args:
        server: not started yet.
        options: the service name, or all options.
        listen: as in :func:`bind`.
        credentials: as in :func:`bind`.
        health: True adds the gRPC health service, for which grpcio-health-checking must be
            installed; or the servicer that you have added, as which it is then told. It says
            that the server as a whole serves once it is enlisted and while it is healthy, and
            from the start of the stop on, for good, that nothing is served.
        ready: as in :func:`enlist.enlisted`.
        **settings: as in :func:`enlist.enlisted`.

    Yields:
        The registration, with the port that was really bound.

    Raises:
        EnlistError: as :func:`bind` and :func:`enlist.enlisted`; the server was stopped.
    """
    chosen = as_options(options, **settings)
    _check_sync(server)
    told = SyncHealth(health, server)
    addr = _start(server, listen, credentials)
    try:
        with blocking.enlisted(
            chosen, addr, payload_codec=PAYLOAD_CODEC, ready=ready, observer=told
        ) as registration:
            yield registration
    finally:
        _stop(server, chosen.grace, told)


def serve(
    server: grpc.Server,
    options: str | ServerOptions,
    listen: str,
    *,
    credentials: grpc.ServerCredentials | None = None,
    health: Health = False,
    ready: Callable[[], object] | None = None,
    **settings: Unpack[Settings],
) -> None:
    """Bind, start and enlist a server until SIGTERM, SIGINT or its own end; drain and stop it.

    The signals are handled as in :func:`enlist.serve`: a second one skips the rest of the drain.

    Args:
        server: as in :func:`enlisted`.
        options: as in :func:`enlisted`.
        listen: as in :func:`enlisted`.
        credentials: as in :func:`enlisted`.
        health: as in :func:`enlisted`.
        ready: as in :func:`enlisted`.
        **settings: as in :func:`enlisted`.

    Raises:
        ServingError: gRPC could not bind, or this is not the main thread.
        EnlistError: as :func:`enlist.enlisted`; the server was stopped.
    """
    chosen = as_options(options, **settings)
    _check_sync(server)
    told = SyncHealth(health, server)
    addr = _start(server, listen, credentials)
    started = _Started(server, chosen.grace, told)
    try:
        blocking.serve(
            started, chosen, addr, payload_codec=PAYLOAD_CODEC, ready=ready, observer=told
        )
    finally:
        _stop(server, chosen.grace, told)


@asynccontextmanager
async def aenlisted(
    server: grpc.aio.Server,
    options: str | ServerOptions,
    listen: str,
    *,
    credentials: grpc.ServerCredentials | None = None,
    health: Health = False,
    ready: Callable[[], object] | None = None,
    **settings: Unpack[Settings],
) -> AsyncIterator[Registration]:
    """Do what :func:`enlisted` does for a ``grpc.aio.Server``, without blocking the event loop."""
    chosen = as_options(options, **settings)
    _check_async(server)
    told = AsyncHealth(health, server)
    addr = await _astart(server, listen, credentials)
    try:
        async with awaited.aenlisted(
            chosen, addr, payload_codec=PAYLOAD_CODEC, ready=ready, observer=told
        ) as registration:
            yield registration
    finally:
        await _astop(server, chosen.grace, told)


async def aserve(
    server: grpc.aio.Server,
    options: str | ServerOptions,
    listen: str,
    *,
    credentials: grpc.ServerCredentials | None = None,
    health: Health = False,
    ready: Callable[[], object] | None = None,
    **settings: Unpack[Settings],
) -> None:
    """Do what :func:`serve` does for a ``grpc.aio.Server``, without blocking the event loop.

    Its event loop must run in the main thread. A cancellation stops the server like a signal.
    """
    chosen = as_options(options, **settings)
    _check_async(server)
    told = AsyncHealth(health, server)
    addr = await _astart(server, listen, credentials)
    # Never cancelled: gRPC would take that for the end of its shutdown. The stop ends it.
    ended = asyncio.ensure_future(server.wait_for_termination())
    try:
        enlistment = Enlistment(
            chosen, addr, payload_codec=PAYLOAD_CODEC, ready=ready, observer=told
        )
        await awaited.run_until_stopped(enlistment, ended)
    finally:
        try:
            await _astop(server, chosen.grace, told)
        finally:
            await asyncio.wait([ended])


class _Started:
    """A started server as :func:`enlist.serve` runs one."""

    def __init__(self, server: grpc.Server, grace: dt.timedelta, health: SyncHealth) -> None:
        self._server = server
        self._grace = grace
        self._health = health

    def serve_forever(self) -> None:
        self._server.wait_for_termination()

    def shutdown(self) -> None:
        _stop(self._server, self._grace, self._health)


def _check_sync(server: grpc.Server) -> None:
    if inspect.iscoroutinefunction(server.start):
        raise InvalidOptionError("server", server, "is a grpc.aio.Server: use aserve or aenlisted")


def _check_async(server: grpc.aio.Server) -> None:
    if not inspect.iscoroutinefunction(server.start):
        raise InvalidOptionError("server", server, "is no grpc.aio.Server: use serve or enlisted")


def _start(server: grpc.Server, listen: str, credentials: grpc.ServerCredentials | None) -> Address:
    addr = bind(server, listen, credentials)
    server.start()
    return addr


async def _astart(
    server: grpc.aio.Server, listen: str, credentials: grpc.ServerCredentials | None
) -> Address:
    addr = bind(server, listen, credentials)
    try:
        # Waited for also if cancelled: one that is half started cannot be stopped.
        await outlasted(asyncio.ensure_future(server.start()), _nothing_sooner)
    except BaseException:
        await server.stop(None)
        raise
    return addr


def _nothing_sooner() -> None:
    """Ask for nothing: a start ends soon by itself."""


def _stop(server: grpc.Server, grace: dt.timedelta, health: SyncHealth) -> None:
    """Refuse new calls, let running ones end within the grace; a second time does nothing."""
    stopped = server.stop(grace.total_seconds())
    health.end_watches()  # only now: a client begins its watch anew at once
    stopped.wait()


async def _astop(server: grpc.aio.Server, grace: dt.timedelta, health: AsyncHealth) -> None:
    """Do what :func:`_stop` does; a cancellation cuts the calls that still run."""
    stops = [asyncio.ensure_future(server.stop(grace.total_seconds()))]
    health.end_watches()
    try:
        await outlasted(stops[0], lambda: stops.append(asyncio.ensure_future(server.stop(None))))
    finally:
        await asyncio.wait(stops)
