"""Clients of a Thrift service that follow it: a pick for each call, connections that are kept."""

from __future__ import annotations

import select
import socket
import threading
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

from thriftpy2.protocol import TBinaryProtocolFactory
from thriftpy2.thrift import TClient, TException
from thriftpy2.transport import TFramedTransportFactory, TSocket, TTransportException

import enlist


@dataclass(frozen=True, slots=True)
class Connection:
    """A client of one server, and its socket."""

    client: TClient
    socket: TSocket

    def usable(self) -> bool:
        """Return whether nothing has come: nothing is to, but the news that it was closed."""
        return not select.select([self.socket.sock], [], [], 0)[0]


class ThriftPool:
    """Calls one service. Its methods may be called from any thread."""

    def __init__(
        self,
        service: Any,  # noqa: ANN401 - thriftpy2 makes it at run time
        resolver: enlist.Resolver,
        timeout_ms: int = 3000,
    ) -> None:
        """Connect to nobody yet; the resolver stays yours.

        Args:
            service: such as ``echo_thrift.Echo``.
            resolver: of the service.
            timeout_ms: how long a server may take to be connected to, and to answer.
        """
        self._service = service
        self._resolver = resolver
        self._timeout_ms = timeout_ms
        self._lock = threading.Lock()
        self._idle: dict[enlist.Address, list[Connection]] = defaultdict(list)
        self._there: set[enlist.Address] = set()
        self._unsubscribe = resolver.on_change(self._follow)
        self._follow(resolver.snapshot())

    def call(self, method: str, *args: object, repeatable: bool = False, attempts: int = 3) -> Any:  # noqa: ANN401 - as above
        """Call a method on one of the instances.

        A server that cannot be connected to has not seen the call: another one is tried. So it is
        when a connection breaks within a call, if the call may be made twice.

        Args:
            method: its name.
            *args: its arguments.
            repeatable: whether the call may be made twice.
            attempts: how often to send a call that may be made twice.
        """
        tried: list[enlist.Info] = []
        failure: Exception | None = None
        sent = 0
        while True:
            try:
                instance = self._resolver.pick(exclude=tried)
            except enlist.NoInstanceError:
                if failure is None:
                    raise
                raise failure from None
            addr = cast("enlist.Address", instance.addr)  # whoever is enlisted has one
            tried.append(instance)
            try:
                connection = self._connected(addr)
            except TTransportException as exc:
                failure = exc
                continue
            try:
                return self._called(connection, addr, method, args)
            except (OSError, TTransportException) as exc:
                failure = exc
                sent += 1
                if not repeatable or sent == attempts:
                    raise

    def close(self) -> None:
        """Close the connections; those in use after their calls."""
        self._unsubscribe()
        self._keep_only(())

    def _called(
        self, connection: Connection, addr: enlist.Address, method: str, args: Iterable[object]
    ) -> Any:  # noqa: ANN401 - as above
        whole = False
        try:
            result = getattr(connection.client, method)(*args)
            whole = True
        except TTransportException:
            raise
        except TException:
            whole = True  # the server's own answer
            raise
        else:
            return result
        finally:
            self._put_back(connection, addr, whole=whole)

    def _connected(self, addr: enlist.Address) -> Connection:
        while (connection := self._waiting(addr)) is not None:
            if connection.usable():
                return connection
            connection.socket.close()
        family = socket.AF_INET6 if ":" in addr.host else socket.AF_INET
        opened = TSocket(
            addr.host, addr.port, socket_family=family, socket_timeout=self._timeout_ms
        )
        opened.open()
        framed = TFramedTransportFactory().get_transport(opened)
        return Connection(
            TClient(self._service, TBinaryProtocolFactory().get_protocol(framed)), opened
        )

    def _waiting(self, addr: enlist.Address) -> Connection | None:
        with self._lock:
            waiting = self._idle[addr]
            return waiting.pop() if waiting else None

    def _put_back(self, connection: Connection, addr: enlist.Address, *, whole: bool) -> None:
        with self._lock:
            if whole and addr in self._there:
                self._idle[addr].append(connection)
                return
        connection.socket.close()

    def _follow(self, snapshot: enlist.Snapshot) -> None:
        self._keep_only(info.addr for info in snapshot.instances if info.addr)

    def _keep_only(self, there: Iterable[enlist.Address]) -> None:
        """Close the connections to whoever is not there any more."""
        with self._lock:
            self._there = set(there)
            leavers = [self._idle.pop(addr) for addr in self._idle.keys() - self._there]
        for connection in (one for connections in leavers for one in connections):
            connection.socket.close()
