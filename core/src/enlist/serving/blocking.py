"""One call around a server: :func:`enlisted` while somebody else runs it, :func:`serve` to run it.

Their asyncio twins are in :mod:`enlist.serving.awaited`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Unpack

from enlist.serving.enlistment import Enlistment
from enlist.serving.health import Observer
from enlist.serving.listening import ListenAddress
from enlist.serving.registration import Registration
from enlist.serving.running import Runnable, check_runnable, running, socket_of
from enlist.serving.server_options import ServerOptions, Settings, as_options
from enlist.serving.signals import StopRequests, told_to_stop

__all__ = ["enlisted", "serve"]


@contextmanager
def enlisted(
    server: str | ServerOptions,
    listen_addr: ListenAddress,
    *,
    payload_codec: str = "",
    ready: Callable[[], object] | None = None,
    observer: Observer | None = None,
    **settings: Unpack[Settings],
) -> Iterator[Registration]:
    """Keep a running server enlisted while the ``with`` block runs.

    ::

        server.start()
        with enlist.enlisted("echo", "0.0.0.0:8888", registry="etcd", tags={"zone": "a"}):
            wait_for_the_end()
        server.stop()

    Enters when the port accepts connections, ``ready`` says yes, and the registry has the
    server. Leaves in the reverse order: deregisters, then waits while the server goes on
    serving until ``drain`` has passed since the block ended, so that the server may be stopped
    right after. A KeyboardInterrupt during that wait ends it. A block that ends with an
    Exception has failed, and is not waited for. Installs no signal handler: see :func:`serve`.

    Args:
        server: the service name, or all options.
        listen_addr: where the server listens, with the port that it was really given: text such
            as "0.0.0.0:8888" or "unix:/run/echo.sock", an Address, or the listening socket.
        payload_codec: such as "thrift" or "protobuf"; what registry_info says is stronger.
        ready: asked about twenty times a second until it says yes.
        observer: told how it goes, as a framework wants it: see
            :class:`enlist.serving.health.Observer`.
        **settings: fields of :class:`~enlist.ServerOptions`, and ``tags``; stronger than those
            in ``server``.

    Yields:
        The :class:`Registration`: what was published, and a way to update it.

    Raises:
        EnlistError: as :meth:`enlist.serving.enlistment.Enlistment.start`; nothing is left behind.
    """
    enlistment = Enlistment(
        as_options(server, **settings),
        listen_addr,
        payload_codec=payload_codec,
        ready=ready,
        observer=observer,
    )
    registration = enlistment.start()
    failed = False
    try:
        yield registration
    except Exception:
        failed = True
        raise
    finally:
        enlistment.stop(drain=not failed)


def serve(
    runnable: Runnable,
    server: str | ServerOptions,
    listen_addr: ListenAddress | None = None,
    *,
    payload_codec: str = "",
    ready: Callable[[], object] | None = None,
    observer: Observer | None = None,
    **settings: Unpack[Settings],
) -> None:
    """Run a server until SIGTERM or SIGINT, enlisted from when it is ready until it leaves.

    ::

        with ThreadingHTTPServer(("", 8888), Handler) as server:
            enlist.serve(server, "echo", registry="etcd", drain=timedelta(seconds=2))

    The server runs in a thread of its own. On the first signal it is deregistered, serves on
    until ``drain`` has passed since the signal, and is then shut down, for which it has
    ``grace``; so have the connections that a server of the standard library still has then. A
    second signal skips the rest of the drain, and one more does not wait for connections.
    Handlers that were there before are called too, and put back at the end. A server that ends
    by itself is deregistered at once.

    Args:
        runnable: has ``serve_forever()`` and ``shutdown()``, as the servers of the standard
            library have.
        server: the service name, or all options.
        listen_addr: as in :func:`enlisted`; None for a ``runnable`` that has a ``socket``.
        payload_codec: as in :func:`enlisted`.
        ready: as in :func:`enlisted`.
        observer: as in :func:`enlisted`.
        **settings: as in :func:`enlisted`.

    Raises:
        ServingError: this is not the main thread.
        EnlistError: as :meth:`enlist.serving.enlistment.Enlistment.start`; the server was shut
            down, and nothing is left.
        Exception: what ``serve_forever()`` raised.
    """
    check_runnable(runnable)
    options = as_options(server, **settings)
    where = socket_of(runnable) if listen_addr is None else listen_addr
    enlistment = Enlistment(
        options, where, payload_codec=payload_codec, ready=ready, observer=observer
    )
    hurry = StopRequests()

    def asked_to_stop() -> None:
        enlistment.ask_to_stop()
        hurry.ask()

    with (
        told_to_stop(asked_to_stop),
        running(runnable, options.grace, enlistment.server_ended, hurry),
    ):
        enlistment.run()
