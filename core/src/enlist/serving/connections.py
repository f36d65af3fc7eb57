"""The connections of a server of the standard library that are open while it is shut down.

``shutdown()`` of such a server ends its accepting, and knows nothing of the threads in which it
answers. Those of ``http.server.ThreadingHTTPServer`` are daemons: nobody waits for them, and the
end of the process cuts the calls that they run.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from socketserver import BaseServer

__all__ = ["Connections", "connections_of"]

_Request: TypeAlias = Any  # a socket or, with UDP, a pair; a subclass may have its own


class Connections:
    """What was accepted and is not closed yet."""

    def __init__(self) -> None:
        """Begin with none."""
        self._changed = threading.Condition()
        # By id, each with what keeps that id from being another's.
        self._open: dict[int, object] = {}

    def wait(self, within_s: float) -> int:
        """Wait until all are closed, and return how many are not after that many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: not self._open, within_s)
            return len(self._open)

    def opened(self, request: _Request) -> None:
        """Note one that was accepted; it is closed at the latest when nobody has it any more.

        A server may begin TLS in the thread that answers, and close the new socket instead of this
        one, which that thread holds until its end. A pool may close it without a word.
        """
        key = id(request)
        with self._changed:
            try:
                self._open[key] = weakref.ref(request, lambda _: self._ended(key))
            except TypeError:  # the pair that UDP has
                self._open[key] = request

    def closed(self, request: _Request) -> None:
        """Note the end of one."""
        self._ended(id(request))

    def _ended(self, key: int) -> None:
        with self._changed:
            self._open.pop(key, None)
            self._changed.notify_all()


@contextmanager
def connections_of(runnable: object) -> Iterator[Connections]:
    """Follow the connections of a server while the block runs; none for those of other kinds.

    Args:
        runnable: is told apart by being a ``socketserver.BaseServer``, in which each connection
            begins with ``process_request`` and ends with ``close_request``, whichever thread
            or pool answers it. Who forks has closed it at once: a child ends by itself.
    """
    from socketserver import BaseServer  # noqa: PLC0415 - whoever has such a server has imported it

    connections = Connections()
    if not isinstance(runnable, BaseServer):
        yield connections
        return
    before = dict(vars(runnable))
    _follow(runnable, connections)
    try:
        yield connections
    finally:
        for name in ("process_request", "close_request"):
            del vars(runnable)[name]
            vars(runnable).update({name: before[name]} if name in before else {})


def _follow(server: BaseServer, connections: Connections) -> None:
    """Put a note before and after what the server does itself, in this one server."""
    process, close = server.process_request, server.close_request

    def process_request(request: _Request, client_address: object) -> None:
        connections.opened(request)
        process(request, client_address)

    def close_request(request: _Request) -> None:
        try:
            close(request)
        finally:
            connections.closed(request)

    vars(server).update(process_request=process_request, close_request=close_request)
