"""Thrift servers of thriftpy2, around the processor or the server that you made.

::

    processor = TProcessor(echo_thrift.Echo, Echo())
    enlist.frameworks.thrift.serve(processor, "echo", "0.0.0.0:8888", registry="etcd")

That listens, serves each connection in a thread, and is enlisted; on SIGTERM or SIGINT it
deregisters, serves on until ``drain`` has passed, and gives running calls ``grace``. A connection
that a client keeps is closed between two calls and never within one. :func:`enlisted` does the
same around a ``with`` block, and leaves the signals to you.

A processor is served framed, in the strict binary protocol: what Kitex's clients speak by
themselves since 0.13. For anything else make a ``TThreadedServer``, with ``make_server`` or by
hand, and pass that instead of calling its ``serve()``: its address, its transports, its protocols
and its certificate are used as they are. A server of another kind, that you start yourself, goes
into :func:`enlist.enlisted` with ``payload_codec="thrift"``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Unpack

from enlist.errors import InvalidOptionError, ServingError
from enlist.frameworks.thrift_server import Protocols, ThriftServer
from enlist.serving import blocking
from enlist.serving.binding import listener
from enlist.serving.registration import Registration
from enlist.serving.running import running
from enlist.serving.server_options import ServerOptions, Settings, as_options

if TYPE_CHECKING:
    import thriftpy2.server
    import thriftpy2.thrift

__all__ = ["PAYLOAD_CODEC", "enlisted", "serve"]

PAYLOAD_CODEC: Final = "thrift"

_CALL_TIMEOUT: Final = dt.timedelta(seconds=30)


@contextmanager
def enlisted(
    server: thriftpy2.thrift.TProcessor | thriftpy2.server.TThreadedServer,
    options: str | ServerOptions,
    listen: str | None = None,
    *,
    ready: Callable[[], object] | None = None,
    **settings: Unpack[Settings],
) -> Iterator[Registration]:
    """Listen, serve and enlist while the ``with`` block runs, then drain and stop.

    Args:
        server: a ``TProcessor``, or a ``TThreadedServer`` that was not started.
        options: the service name, or all options.
        listen: for a processor, where to listen: "0.0.0.0:8888", "[::]:8888", ":8888" (every
            address), "localhost:8888" or "unix:/run/echo.sock". Port 0 has the system choose
            one. A server knows its own.
        ready: as in :func:`enlist.enlisted`.
        **settings: as in :func:`enlist.enlisted`.

    Yields:
        The registration, with the port that was really bound.

    Raises:
        InvalidOptionError: ``server`` or ``listen`` is none of these.
        ServingError: it could not listen there.
        EnlistError: as :func:`enlist.enlisted`; the server was stopped.
    """
    chosen = as_options(options, **settings)
    with (
        _made(server, listen, chosen) as made,
        running(made, chosen.grace, _nothing_more),
        blocking.enlisted(
            chosen, made.socket, payload_codec=PAYLOAD_CODEC, ready=ready
        ) as registration,
    ):
        yield registration


def serve(
    server: thriftpy2.thrift.TProcessor | thriftpy2.server.TThreadedServer,
    options: str | ServerOptions,
    listen: str | None = None,
    *,
    ready: Callable[[], object] | None = None,
    **settings: Unpack[Settings],
) -> None:
    """Listen, serve and enlist until SIGTERM or SIGINT; then drain and stop.

    The signals are handled as in :func:`enlist.serve`: a second one skips the rest of the drain.

    Args:
        server: as in :func:`enlisted`.
        options: as in :func:`enlisted`.
        listen: as in :func:`enlisted`.
        ready: as in :func:`enlisted`.
        **settings: as in :func:`enlisted`.

    Raises:
        ServingError: it could not listen there, or this is not the main thread.
        EnlistError: as :func:`enlisted`.
    """
    chosen = as_options(options, **settings)
    with _made(server, listen, chosen) as made:
        blocking.serve(made, chosen, payload_codec=PAYLOAD_CODEC, ready=ready)


def _nothing_more() -> None:
    """Nobody waits for the end of a server in a block: the block ends by itself."""


def _made(
    server: thriftpy2.thrift.TProcessor | thriftpy2.server.TThreadedServer,
    listen: str | None,
    options: ServerOptions,
) -> ThriftServer:
    from thriftpy2.server import TThreadedServer
    from thriftpy2.thrift import TProcessor

    if isinstance(server, TThreadedServer):
        if listen is not None:
            rule = "must be left out for a server, which knows its own; pass its processor instead"
            raise InvalidOptionError("listen", listen, rule)
        return _of_server(server, options)
    if not isinstance(server, TProcessor):
        raise InvalidOptionError(
            "server", server, "must be a TProcessor or a TThreadedServer of thriftpy2"
        )
    if listen is None:
        raise InvalidOptionError("listen", listen, "must be given for a processor")
    return _of_processor(server, listen, options)


def _of_processor(
    processor: thriftpy2.thrift.TProcessor, listen: str, options: ServerOptions
) -> ThriftServer:
    from thriftpy2.protocol import TBinaryProtocolFactory
    from thriftpy2.transport import TFramedTransportFactory

    framed, binary = TFramedTransportFactory(), TBinaryProtocolFactory()
    return ThriftServer(
        processor,
        listener(listen),
        Protocols(itrans=framed, iprot=binary, otrans=framed, oprot=binary),
        call_timeout=_CALL_TIMEOUT,
        grace=options.grace,
    )


def _of_server(server: thriftpy2.server.TThreadedServer, options: ServerOptions) -> ThriftServer:
    where: Any = server.trans  # typed only in part
    try:
        where.listen()
    except OSError as exc:
        place = where.unix_socket or f"{where.host}:{where.port}"
        raise ServingError(f"could not listen on {place!r}: {exc}") from exc
    timeout_s = where.client_timeout
    return ThriftServer(
        server.processor,
        where.sock,
        Protocols(
            itrans=server.itrans_factory,
            iprot=server.iprot_factory,
            otrans=server.otrans_factory,
            oprot=server.oprot_factory,
        ),
        call_timeout=None if timeout_s is None else dt.timedelta(seconds=timeout_s),
        grace=options.grace,
        tls=getattr(where, "ssl_context", None),
    )
