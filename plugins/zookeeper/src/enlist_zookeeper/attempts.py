"""What became of the attempts to connect that kazoo makes by itself, in its own thread.

kazoo says nothing of them but warnings in its log: neither why it does not get through, nor
that a server which lost its data refuses it for ever.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from enlist.errors import RegistryError
from enlist_zookeeper.failures import connect_failure

__all__ = ["Attempts"]

_MOST_DOUBLINGS: Final = 16


class Attempts:
    """Written by kazoo's connection thread, read by any.

    Attributes:
        rounds: how many times all servers were tried and none of them listened.
        ended: whether kazoo has given up; only a new client will connect.
        session_timeout_s: what the server granted.
    """

    def __init__(
        self, session_timeout_s: float, brief_s: float, on_change: Callable[[], None]
    ) -> None:
        """Begin without an attempt.

        Args:
            session_timeout_s: what the server will be asked for.
            brief_s: for how long servers may refuse the session before they are asked without
                regard to what they are to have seen; and how long to wait for a first answer.
            on_change: called when a round has failed or kazoo has given up; must not block.
        """
        self.rounds = 0
        self.ended = False
        self.session_timeout_s = session_timeout_s
        self._brief_s = brief_s
        self._on_change = on_change
        self._lock = threading.Lock()
        self._failure: tuple[BaseException, str] | None = None
        self._refused_at: float | None = None
        self._tried = False
        self._silences = 0

    @property
    def refused_for_long(self) -> bool:
        """Whether servers accepted connections, and none the session, for more than a brief while.

        So does a server whose data is older than what the client has seen: one that lost its
        data, for ever, and one that lags behind, until it has caught up.
        """
        refused_at = self._refused_at
        return refused_at is not None and time.monotonic() - refused_at > self._brief_s

    @property
    def patience_s(self) -> float:
        """How long to wait until a server grants the session.

        Some connections that are made while a server starts are never answered, so it is short at
        first. It grows with each silence, since a server that has too much to do is silent too.
        """
        return self._brief_s * 2.0 ** min(self._silences, _MOST_DOUBLINGS)

    def silent(self) -> None:
        """Hear that a server has accepted a connection and said nothing on it."""
        self._silences += 1

    def refused(self) -> None:
        """Hear that a server has accepted a connection and closed it without an answer."""
        if self._refused_at is None:
            self._refused_at = time.monotonic()

    def granted(self, session_timeout_s: float) -> None:
        """Hear that a server has answered; 0 s where it says that the session has expired."""
        self._refused_at = None
        self._silences = 0
        with self._lock:
            self._failure = None
        if session_timeout_s > 0:
            self.session_timeout_s = session_timeout_s

    def failed(self, exc: BaseException, host: str) -> None:
        """Hear that an attempt has failed."""
        with self._lock:
            self._failure = exc, host
            self._tried = True

    def round_ended(self) -> None:
        """Hear that kazoo rests, once all servers were tried; it may say so more than once.

        A round in which a server listened and refused is not counted: it may soon be ready, and
        if it has lost its data it is soon asked otherwise.
        """
        with self._lock:
            if self._failure is None or not self._tried or self._refused_at is not None:
                return
            self._tried = False
            self.rounds += 1
        self._on_change()

    def end(self) -> None:
        """Hear that kazoo's connection thread has ended."""
        self.ended = True
        self._on_change()

    def error(self) -> tuple[RegistryError, BaseException] | None:
        """Return why there is no connection, with what was raised; None if nothing is known."""
        with self._lock:
            failure = self._failure
        return None if failure is None else (connect_failure(*failure), failure[0])
