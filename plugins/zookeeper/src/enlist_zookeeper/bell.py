"""Tells kazoo's connection thread that requests wait, and never makes anybody wait for it."""

from __future__ import annotations

import socket
import threading

__all__ = ["Bell"]


class Bell:
    """Both ends of kazoo's pair of sockets: what is sent is counted, and received as often.

    kazoo sends a byte for each request. A few hundred of them fill a pair of sockets, and whoever
    sends one more waits, without a limit, until the connection thread reads again: in an outage
    that is when it is over. Here at most one byte is under way, so nothing fills.
    """

    def __init__(self) -> None:
        """Open the sockets."""
        self._lock = threading.Lock()
        self._sent = 0
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)

    def fileno(self) -> int:
        """Return what is readable while more was sent than received."""
        return self._reader.fileno()

    def send(self, data: bytes) -> int:
        """Take one byte.

        Raises:
            OSError: it is closed.
        """
        with self._lock:
            if not self._sent:
                self._writer.send(data)
            self._sent += 1
        return len(data)

    def recv(self, size: int) -> bytes:
        """Give one byte.

        Raises:
            OSError: there is none, or it is closed.
        """
        with self._lock:
            data = self._reader.recv(size) if self._sent <= 1 else b"\0"
            self._sent -= 1
        return data

    def close(self) -> None:
        """Close the sockets; a second time is no error."""
        with self._lock:
            self._reader.close()
            self._writer.close()
