"""A threaded Thrift server that can stop well, of the parts that thriftpy2 has.

thriftpy2's own servers cannot be stopped: ``close()`` sets a flag that nobody looks at while the
accept, or a read from a client that is silent, blocks. They also close every connection on which
no call came for 3 s, under the hands of clients that keep theirs in a pool.

Here a connection waits for its next call for as long as its client likes, and on a stop it ends
between two calls and never within one.
"""

from __future__ import annotations

import datetime as dt
import logging
import select
import selectors
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from thriftpy2.protocol.base import TProtocolBase
    from thriftpy2.thrift import TProcessor

__all__ = ["Protocols", "ThriftServer"]

_PAUSE_S: Final = 0.1
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocols:
    """How calls are read from a connection and answers written to it, as thriftpy2 has it.

    Attributes:
        itrans: makes the transport to read from.
        iprot: makes the protocol to read with.
        otrans: makes the transport to write to.
        oprot: makes the protocol to write with.
    """

    itrans: Any
    iprot: Any
    otrans: Any
    oprot: Any

    def of(self, connection: _Connection) -> tuple[TProtocolBase, TProtocolBase]:
        """Return what a processor reads from and writes to."""
        reading = self.iprot.get_protocol(self.itrans.get_transport(connection))
        writing = self.oprot.get_protocol(self.otrans.get_transport(connection))
        return reading, writing


class ThriftServer:
    """Serves a processor on a listening socket, each connection in a thread of its own.

    What :func:`enlist.serve` runs. Use it as a context manager: leaving closes the socket.

    Attributes:
        socket: that it listens on.
    """

    def __init__(
        self,
        processor: TProcessor,
        listener: socket.socket,
        protocols: Protocols,
        *,
        call_timeout: dt.timedelta | None,
        grace: dt.timedelta,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Take what is served where; nothing is accepted yet.

        Args:
            processor: thriftpy2's, which calls your handler.
            listener: bound and listening.
            protocols: how calls and answers are written.
            call_timeout: how long a client may pause within a call, but never between two; None
                for as long as it likes.
            grace: how long :meth:`shutdown` lets running calls go on.
            tls: for connections with TLS; None for plain ones.
        """
        self.socket = listener
        self._processor = processor
        self._protocols = protocols
        self._call_timeout_s = None if call_timeout is None else call_timeout.total_seconds()
        self._grace_s = grace.total_seconds()
        self._tls = tls
        # Readable once the stop has begun: what a loop can wait for beside its socket.
        self._stop_seen, self._stop_told = socket.socketpair()
        self._lock = threading.Lock()
        self._connections: dict[threading.Thread, socket.socket] = {}
        self._all_accepted = threading.Event()
        self._all_accepted.set()

    def serve_forever(self) -> None:
        """Accept connections until the server is shut down."""
        self._all_accepted.clear()
        self.socket.setblocking(False)
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self.socket, selectors.EVENT_READ)
                selector.register(self._stop_seen, selectors.EVENT_READ)
                while not any(key.fileobj is self._stop_seen for key, _ in selector.select()):
                    self._accept()
            # Whoever has connected in time may have sent a call.
            while self._accept():
                pass
        finally:
            self.socket.close()
            self._all_accepted.set()

    def shutdown(self) -> None:
        """Accept no more, have each connection end after its running call; wait for the grace.

        Connections that are left then are cut. A second call only waits.
        """
        deadline = time.monotonic() + self._grace_s
        self._stop_told.close()
        self._all_accepted.wait(self._grace_s)
        for thread in self._threads():
            thread.join(max(0.0, deadline - time.monotonic()))
        if left := self._threads():
            _logger.warning("cutting %d calls that took longer than the grace", len(left))
            self._cut()
            for thread in left:
                thread.join(_PAUSE_S)

    def __enter__(self) -> Self:
        """Return the server itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the socket that it listens on, and cut what is left of its connections."""
        self._stop_told.close()
        self.socket.close()
        self._cut()
        self._stop_seen.close()

    def _threads(self) -> list[threading.Thread]:
        with self._lock:
            return list(self._connections)

    def _cut(self) -> None:
        with self._lock:
            for each in self._connections.values():
                _shut(each)

    def _accept(self) -> bool:
        """Take one connection that waits; return whether there was one."""
        try:
            client, _ = self.socket.accept()
        except BlockingIOError:
            return False  # or it has gone again
        except OSError as exc:
            # Such as too many open files: that is over when connections have ended.
            _logger.error("a connection could not be accepted: %s", exc)  # noqa: TRY400 - no bug here
            time.sleep(_PAUSE_S)
            return False
        client.settimeout(self._call_timeout_s)
        thread = threading.Thread(
            target=self._serve, args=(client,), name="enlist-thrift", daemon=True
        )
        self._keep(thread, client)
        try:
            thread.start()
        except RuntimeError as exc:
            # The system has no thread left: that, too, is over when connections have ended.
            _logger.error("a connection could not be served: %s", exc)  # noqa: TRY400 - no bug here
            self._forget(thread)
            client.close()
            time.sleep(_PAUSE_S)
        return True

    def _keep(self, thread: threading.Thread, client: socket.socket) -> None:
        with self._lock:
            self._connections[thread] = client

    def _forget(self, thread: threading.Thread) -> None:
        with self._lock:
            del self._connections[thread]

    def _serve(self, client: socket.socket) -> None:
        """Answer the calls of one connection, one after another."""
        try:
            with self._secured(client) as secured:
                self._keep(threading.current_thread(), secured)
                self._answer(_Connection(secured, self._stop_seen))
        except OSError as exc:
            _logger.debug("a connection has ended: %s", exc)
        except Exception:
            _logger.exception("a call failed; its connection is closed")
        finally:
            client.close()
            self._forget(threading.current_thread())

    def _secured(self, client: socket.socket) -> socket.socket:
        if client.family != socket.AF_UNIX:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # The one way to notice that a silent client is gone without having said so.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return client if self._tls is None else self._tls.wrap_socket(client, server_side=True)

    def _answer(self, connection: _Connection) -> None:
        from thriftpy2.transport import TTransportException

        reading, writing = self._protocols.of(connection)
        try:
            while True:
                connection.between_calls = True
                self._processor.process(reading, writing)
        except TTransportException as exc:
            if exc.type != TTransportException.END_OF_FILE:
                raise


class _Connection:
    """A client's socket as the transports of thriftpy2 use one.

    Attributes:
        between_calls: whether nothing of the next call has been read yet.
    """

    def __init__(self, client: socket.socket, stop_seen: socket.socket) -> None:
        self.between_calls = True
        self._socket = client
        self._stop_fd = stop_seen.fileno()
        self._poll = select.poll()
        self._poll.register(client, select.POLLIN)
        self._poll.register(self._stop_fd, select.POLLIN)

    def read(self, size: int) -> bytes:
        """Return the next bytes, at most this many.

        Raises:
            TTransportException: END_OF_FILE: the client has closed, or this is between two calls
                and the server stops.
            OSError: the client is gone, or has paused for too long within a call.
        """
        data = b"" if self.between_calls and not self._has_call() else self._socket.recv(size)
        self.between_calls = False
        if not data:
            from thriftpy2.transport import TTransportException

            raise TTransportException(TTransportException.END_OF_FILE, "no more calls")
        return data

    def _has_call(self) -> bool:
        """Wait for the next call, or for the stop; a call that has come before it is answered."""
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return True
        ready = {fd for fd, _ in self._poll.poll()}
        return ready != {self._stop_fd}

    def write(self, data: bytes) -> None:
        """Send all of it."""
        self._socket.sendall(data)

    def flush(self) -> None:
        """Do nothing: whatever was written was sent."""

    def is_open(self) -> bool:
        """Return whether the connection is there: its thread closes it, and nobody else."""
        return True

    def close(self) -> None:
        """Leave that to the connection's thread."""


def _shut(client: socket.socket) -> None:
    try:
        client.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it has ended by itself
