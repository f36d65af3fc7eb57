"""One gRPC channel to each server of a service, for as long as the server is there."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, cast

import grpc

from enlist.address import Address
from enlist.errors import ClosedError
from enlist.finding.resolver import Resolver
from enlist.finding.view import Snapshot
from enlist.info import Info

__all__ = ["Connection", "Connections"]

_TRUSTED_S: Final = 1.0


class Connection:
    """A channel, and how many calls run on it, which its :class:`Connections` alone changes.

    Attributes:
        addr: of the server.
        channel: to that address.
        calls: how many have borrowed it.
        left: whether it is to be closed after the last of them.
    """

    def __init__(self, addr: Address, channel: grpc.Channel, *, left: bool) -> None:
        """Hold a channel on which no call runs."""
        self.addr = addr
        self.channel = channel
        self.calls = 0
        self.left = left
        self._answered_at = -math.inf

    def answered(self, *, yes: bool = True) -> None:
        """Note that the server has just answered, or that it could not be called."""
        self._answered_at = time.monotonic() if yes else -math.inf

    def reached(self, within_s: float) -> bool:
        """Return whether the server accepts connections; asks it unless it has just answered.

        gRPC would tell too, but polls for it in a thread that a closed channel makes crash.
        """
        if time.monotonic() - self._answered_at > _TRUSTED_S:
            self.answered(yes=_accepts(self.addr, within_s))
        return self._answered_at > -math.inf


def _accepts(addr: Address, within_s: float) -> bool:
    try:
        if addr.network == "unix":
            with socket.socket(socket.AF_UNIX) as trial:
                trial.settimeout(within_s)  # or it waits for room in the queue of a hung server
                trial.connect(addr.host)
        else:
            socket.create_connection((addr.host, addr.port), within_s).close()
    except OSError:
        return False
    return True


class Connections:
    """Makes a channel when a server is picked first, and closes it when the server has left."""

    def __init__(self, resolver: Resolver, connect: Callable[[str], grpc.Channel]) -> None:
        """Follow the resolver, which stays the caller's.

        Args:
            resolver: of the service.
            connect: makes a channel to a target; may not wait for the connection.
        """
        self._resolver = resolver
        self._connect = connect
        self._lock = threading.Lock()
        self._closed = False
        self._kept: dict[Address | None, Connection] = {}
        self._borrowed: set[Connection] = set()
        self._there: set[Address | None] = set()
        self._unsubscribe = resolver.on_change(self._follow)
        self._follow(resolver.snapshot())

    def borrow(self, exclude: Iterable[Info]) -> tuple[Info, Connection]:
        """Pick a server, and return its connection, which is to be given back.

        Raises:
            NoInstanceError: as :meth:`enlist.Resolver.pick`, whose other errors it has too.
            ClosedError: this was closed.
        """
        info = self._resolver.pick(exclude=list(exclude))
        with self._lock:
            if self._closed:
                raise ClosedError(
                    f"the channel to {self._resolver.service_name!r} was closed; open another one"
                )
            addr = cast("Address", info.addr)  # whoever is enlisted has one
            connection = self._kept.get(addr) or self._made(addr)
            connection.calls += 1
            self._borrowed.add(connection)
        return info, connection

    def _made(self, addr: Address) -> Connection:
        # A pick may be newer than what was heard of, or older: then it is for this call alone.
        connection = Connection(addr, self._connect(str(addr)), left=addr not in self._there)
        if not connection.left:
            self._kept[addr] = connection
        return connection

    def give_back(self, connection: Connection) -> None:
        """Tell that a call has ended; the last one of a server that has left closes its channel."""
        with self._lock:
            connection.calls -= 1
            if connection.calls:
                return
            self._borrowed.discard(connection)
            over = connection.left
        if over:
            connection.channel.close()

    def close(self) -> None:
        """Close every channel, which cancels the calls that run; a second time does nothing."""
        self._unsubscribe()
        with self._lock:
            self._closed = True
            channels = {each.channel for each in (*self._kept.values(), *self._borrowed)}
            self._kept = {}
        _close(channels)

    def _follow(self, snapshot: Snapshot) -> None:
        with self._lock:
            self._there = {info.addr for info in snapshot.instances}
            leavers = [self._kept.pop(addr) for addr in self._kept.keys() - self._there]
            for each in leavers:
                each.left = True
            idle = [each.channel for each in leavers if not each.calls]
        _close(idle)


def _close(channels: Iterable[Any]) -> None:
    for channel in channels:
        channel.close()
