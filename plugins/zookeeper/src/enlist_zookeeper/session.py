"""The one session that every record of this process hangs on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from enlist.backend_options import hosts_text
from enlist.errors import RegistryError, UnavailableError
from enlist.hookspecs import Stop
from enlist_zookeeper.deadline import Deadline
from enlist_zookeeper.options import ZooKeeperOptions

if TYPE_CHECKING:
    from enlist_zookeeper.link import Link

__all__ = ["Session"]

_ENDED_S: Final = 1.0
"""A client that has given up has little to end."""


class Session:
    """Begins with the first call; kazoo moves it between servers, and replaces it when expired."""

    def __init__(self, options: ZooKeeperOptions, on_lost: Callable[[], None]) -> None:
        """Know whom to connect to; nothing is opened.

        Args:
            options: of the registry.
            on_lost: called in kazoo's thread when the connection is lost; must not block.
        """
        self._options = options
        self._on_lost = on_lost
        self._changed = threading.Condition()
        self._link: Link | None = None
        self._is_closed = False

    @property
    def timeout_s(self) -> float:
        """What the server granted; what it was asked for until it has."""
        link = self._link
        if link is None:
            return self._options.ttl.total_seconds()
        return link.attempts.session_timeout_s

    @property
    def current_id(self) -> int:
        """The session's number; 0 while there is none."""
        link = self._link
        return 0 if link is None else link.session_id

    def connected(self, deadline: Deadline, stop: Stop | None = None) -> Link:
        """Return the client once it is connected.

        Waits until a server takes us, and no longer than until nobody listens: the core calls
        again.

        Args:
            deadline: by when.
            stop: ends the waiting early; whoever sets it calls ``wake``.

        Raises:
            UnavailableError: no server was reached, or the waiting was ended.
            UnauthorisedError: TLS or the credentials failed.
        """
        link = self._current()
        if not link.kazoo.connected:
            self._wait_for(link, deadline, stop)
        return link

    def wake(self) -> None:
        """Have those who wait look again whether to go on; from any thread."""
        with self._changed:
            self._changed.notify_all()

    def close(self, timeout_s: float) -> None:
        """End the session, and with it all its records, and every thread; then stay closed."""
        with self._changed:
            self._is_closed = True
            link, self._link = self._link, None
            self._changed.notify_all()
        if link is not None:
            link.stop(timeout_s)

    def _current(self) -> Link:
        """Return the client, a new one in the place of one that has given up."""
        with self._changed:
            if self._is_closed:
                raise UnavailableError("ZooKeeper: the session has been closed.")
            ended = self._link if self._link is not None and self._link.attempts.ended else None
            if self._link is None or ended is not None:
                self._link = self._new_link()
            link = self._link
        if ended is not None:
            ended.stop(_ENDED_S)
        return link

    def _new_link(self) -> Link:
        from enlist_zookeeper.link import Link  # noqa: PLC0415 - it loads kazoo

        return Link(self._options, self.wake, self._on_lost)

    def _wait_for(self, link: Link, deadline: Deadline, stop: Stop | None) -> None:
        attempts = link.attempts
        rounds = attempts.rounds

        def decided() -> bool:
            return (
                link.kazoo.connected
                or attempts.ended
                or attempts.rounds > rounds
                or self._is_closed
                or (stop is not None and stop.is_set())
            )

        with self._changed:
            self._changed.wait_for(decided, deadline.left_s())
        if not link.kazoo.connected:
            raise self._why(link)

    def _why(self, link: Link) -> RegistryError:
        """Return why there is no connection."""
        known = link.attempts.error()
        if known is None:
            return UnavailableError(
                f"ZooKeeper: no connection to {hosts_text(self._options.hosts)}."
            )
        error, cause = known
        # A new one each time: several threads may raise it at once.
        raised = type(error)(str(error))
        raised.__cause__ = cause
        return raised
