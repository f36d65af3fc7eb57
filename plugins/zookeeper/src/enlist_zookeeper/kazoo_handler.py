"""kazoo's threads with our sockets, our pauses and a cheaper way to wait.

kazoo is imported with this module, which is imported when somebody connects.
"""

from __future__ import annotations

import atexit
import math
import select
import socket
import ssl
import threading
from collections.abc import Sequence
from typing import Any, Final

from kazoo.handlers.threading import SequentialThreadingHandler  # noqa: TID253 - see above
from kazoo.retry import KazooRetry  # noqa: TID253 - see above

from enlist_zookeeper.attempts import Attempts
from enlist_zookeeper.bell import Bell
from enlist_zookeeper.dialling import Dialler

__all__ = ["Handler", "retry_policy"]

_JITTER: Final = 0.4
_READABLE: Final = select.POLLIN | select.POLLPRI
_WRITABLE: Final = select.POLLOUT


class Handler(SequentialThreadingHandler):  # type: ignore[misc]  # kazoo has no types
    """kazoo's threads, with our sockets."""

    def __init__(self, dialler: Dialler, attempts: Attempts) -> None:
        """Take what makes the sockets, and what is told of the pauses."""
        super().__init__()
        self._dialler = dialler
        self._attempts = attempts
        self._resting = threading.Event()

    def start(self) -> None:
        """Start kazoo's threads for callbacks."""
        super().start()
        # A forked child would run it at its exit, and wait for a lock that a thread of its parent
        # held when it was forked.
        atexit.unregister(self.stop)

    def sleep_func(self, seconds: float) -> None:
        """Rest between two rounds, in the slices that kazoo makes of it."""
        self._attempts.round_ended()
        self._resting.wait(seconds)

    def create_connection(
        self, address: tuple[str, int], hostname: str, **_: object
    ) -> socket.socket:
        """Return a connected socket."""
        return self._dialler.dial(address, hostname)

    def create_socket_pair(self) -> tuple[Bell, Bell]:
        """Return what requests are announced by."""
        bell = Bell()
        return bell, bell

    def select(
        self,
        readers: Sequence[Any],
        writers: Sequence[Any],
        _faulty: Sequence[Any],
        timeout: float | None = None,
    ) -> tuple[list[Any], list[Any], list[Any]]:
        """Wait until one is ready, but not for what TLS has decrypted already.

        kazoo waits several times for each answer and opens an epoll for each time, which costs
        more than all the rest; poll needs nothing opened.
        """
        pending = [one for one in readers if isinstance(one, ssl.SSLSocket) and one.pending()]
        poller = select.poll()
        for wanted, mask in ((readers, _READABLE), (writers, _WRITABLE)):
            for one in wanted:
                poller.register(one, mask)
        wait_ms = None if timeout is None else math.ceil(timeout * 1_000)
        ready = {number for number, _ in poller.poll(0 if pending else wait_ms)}
        return (
            [one for one in readers if one in pending or one.fileno() in ready],
            [one for one in writers if one.fileno() in ready],
            [],
        )


def retry_policy(handler: Handler, most_s: float) -> Any:  # noqa: ANN401 - kazoo has no types
    """Return kazoo's policy for reconnecting: for ever, never resting for longer than that."""
    return KazooRetry(
        max_tries=-1,
        delay=most_s / 10,
        max_delay=most_s / (1 + _JITTER),
        max_jitter=_JITTER,
        sleep_func=handler.sleep_func,
    )
