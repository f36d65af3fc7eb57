"""Which member of the cluster is called, and over which connection."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from enlist.backend_options import HostPort
from enlist.errors import UnavailableError
from enlist_etcd.connection import Connection
from enlist_etcd.messages import MessageClass
from enlist_etcd.options import EtcdOptions

__all__ = ["Connections"]


class Connections:
    """At most one connection to each endpoint; the one that answered last is called first.

    Once another endpoint has answered in its place, the connections to all others are retired,
    and with them their streams: a watch never stays with a member that calls have left.
    """

    def __init__(self, options: EtcdOptions, classes: Mapping[str, MessageClass]) -> None:
        """Know the endpoints; nothing is connected yet."""
        self._options = options
        self._classes = classes
        self._lock = threading.Lock()
        self._preferred = 0
        self._open: dict[HostPort, Connection] = {}
        self._closed = False

    def order(self) -> tuple[HostPort, ...]:
        """Return the endpoints in the order in which to try them."""
        endpoints, first = self._options.endpoints, self._preferred
        return endpoints[first:] + endpoints[:first]

    def enter(self, endpoint: HostPort) -> Connection:
        """Return a connection to use, and to ``leave`` afterwards; a new one if there is none.

        Raises:
            UnauthorisedError: a TLS file cannot be read.
            UnavailableError: everything was closed.
        """
        with self._lock:
            connection = self._open.get(endpoint)
        if connection is not None and connection.enter():
            return connection
        made = Connection(endpoint, self._options, self._classes)
        made.enter()
        with self._lock:
            there = self._open.get(endpoint)
            if there is connection and not self._closed:
                self._open[endpoint] = there = made
        if there is made:
            return made
        made.leave()
        made.retire()
        if there is not None and there.enter():  # another thread was quicker
            return there
        raise UnavailableError("etcd: the connection was closed.")

    def drop(self, connection: Connection) -> None:
        """Use a connection no more."""
        with self._lock:
            if self._open.get(connection.endpoint) is connection:
                del self._open[connection.endpoint]
        connection.retire()

    def prefer(self, endpoint: HostPort) -> None:
        """Call this endpoint first from now on, and leave the others."""
        if self._options.endpoints[self._preferred] == endpoint:
            return
        with self._lock:
            self._preferred = self._options.endpoints.index(endpoint)
            others = [one for one in self._open.values() if one.endpoint != endpoint]
            for one in others:
                del self._open[one.endpoint]
        for one in others:
            one.retire()

    def close(self) -> None:
        """End everything at once; a second call does no harm."""
        with self._lock:
            self._closed = True
            connections = list(self._open.values())
            self._open.clear()
        for connection in connections:
            connection.retire(at_once=True)
