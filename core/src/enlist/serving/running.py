"""A blocking server in a thread of its own, shut down in bounded time."""

from __future__ import annotations

import datetime as dt
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from enlist.errors import InvalidOptionError
from enlist.serving.connections import Connections, connections_of
from enlist.serving.signals import SEEN_WITHIN_S, StopRequests

__all__ = ["Runnable", "check_runnable", "running", "socket_of"]

# A framework that is told its grace keeps it by itself; this is for what comes after.
_SLACK_S: Final = 1.0
_log = logging.getLogger(__name__)


class Runnable(Protocol):
    """What :func:`enlist.serve` runs; ``socketserver`` and ``http.server`` have the same two."""

    def serve_forever(self) -> object:
        """Serve until shut down."""

    def shutdown(self) -> object:
        """Have ``serve_forever`` return, in another thread, once running calls have ended.

        The servers of ``socketserver`` return at once; their open connections are waited for.
        """


def check_runnable(runnable: object) -> None:
    """Refuse what cannot be run, before anything is started.

    Raises:
        InvalidOptionError: it lacks a method that is needed.
    """
    for method in ("serve_forever", "shutdown"):
        if not callable(getattr(runnable, method, None)):
            rule = f"must have a method {method}(); around any other server use enlist.enlisted()"
            raise InvalidOptionError("runnable", runnable, rule)


def socket_of(runnable: object) -> socket.socket:
    """Return the socket that a server of the standard library listens on.

    Raises:
        InvalidOptionError: it has none, so its address must be given.
    """
    listener = getattr(runnable, "socket", None)
    if isinstance(listener, socket.socket):
        return listener
    rule = f"must be given, since a {type(runnable).__name__} has no 'socket' that would tell"
    raise InvalidOptionError("listen_addr", None, rule)


@contextmanager
def running(
    runnable: Runnable,
    grace: dt.timedelta,
    ended: Callable[[], object],
    hurry: StopRequests | None = None,
) -> Iterator[None]:
    """Run the server while the block runs, then shut it down.

    The connections of a server of ``socketserver`` are waited for after that; while there are
    any, its listening socket is closed already.

    Args:
        runnable: the server.
        grace: how long its shutdown and its connections together may take before they are left
            to the end of the process.
        ended: called in the server's thread when it ends, for whatever reason.
        hurry: asked after the block, ends the wait for connections.

    Raises:
        Exception: what ``serve_forever()`` raised, after the block.
    """
    failures: list[BaseException] = []

    def run() -> None:
        try:
            runnable.serve_forever()
        except BaseException as exc:  # noqa: BLE001 - raised again in the thread that waits
            failures.append(exc)
        finally:
            ended()

    thread = threading.Thread(target=run, name="enlist-server", daemon=True)
    hurry = hurry or StopRequests()
    with connections_of(runnable) as connections:
        thread.start()
        try:
            yield
        finally:
            hurry.forget()  # what was asked for until here was the stop
            deadline = time.monotonic() + grace.total_seconds()
            if thread.is_alive():
                _shut_down(runnable, thread, grace.total_seconds() + _SLACK_S)
            if not thread.is_alive() and connections.wait(0):
                _close_listener(runnable)
                _outlast(connections, deadline, hurry)
    if failures:
        raise failures[0]


def _close_listener(runnable: object) -> None:
    """Have whoever still connects refused, rather than wait for a server that accepts no more."""
    listener = getattr(runnable, "socket", None)
    # With datagrams there is one socket, by which those answer that are waited for.
    if isinstance(listener, socket.socket) and listener.type == socket.SOCK_STREAM:
        listener.close()


def _outlast(connections: Connections, deadline: float, hurry: StopRequests) -> None:
    while left := connections.wait(min(SEEN_WITHIN_S, max(0.0, deadline - time.monotonic()))):
        if time.monotonic() >= deadline or hurry.wait(0) is not None:
            _log.warning("the server ended; connections that are open still are left: %d", left)
            return


def _shut_down(runnable: Runnable, thread: threading.Thread, within_s: float) -> None:
    # In a thread, since it may block for as long as one slow client likes.
    deadline = time.monotonic() + within_s
    shutdown = threading.Thread(target=runnable.shutdown, name="enlist-shutdown", daemon=True)
    shutdown.start()
    for each in (shutdown, thread):
        each.join(max(0.0, deadline - time.monotonic()))
    if thread.is_alive() or shutdown.is_alive():
        _log.error("the server has not ended %g s after it was shut down; left as it is", within_s)
