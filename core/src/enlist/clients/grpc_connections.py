"""One gRPC channel to each server of a service, for as long as the server is there."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeVar, cast

from enlist.address import Address
from enlist.errors import ClosedError
from enlist.finding.view import Snapshot
from enlist.info import Info

__all__ = ["Connection", "Connections"]

_C = TypeVar("_C")
"""A channel of gRPC's own, for threads or for asyncio."""

_TRUSTED_S: Final = 1.0


class Connection(Generic[_C]):
    """A channel, and how many calls run on it, which its :class:`Connections` alone changes.

    Attributes:
        addr: of the server.
        channel: to that address.
        calls: how many have borrowed it.
        left: whether it is to be closed after the last of them.
    """

    def __init__(self, addr: Address, channel: _C, *, left: bool) -> None:
        """Hold a channel on which no call runs."""
        self.addr = addr
        self.channel = channel
        self.calls = 0
        self.left = left
        self._answered_at = -math.inf

    @property
    def trusted(self) -> bool:
        """Whether the server has just answered, so that it need not be asked for that."""
        return time.monotonic() - self._answered_at <= _TRUSTED_S

    def answered(self, *, yes: bool = True) -> bool:
        """Note whether the server has just answered, or could not be called; and return it."""
        self._answered_at = time.monotonic() if yes else -math.inf
        return yes


class Connections(Generic[_C]):
    """Makes a channel when a server is called first, and closes it when the server has left."""

    def __init__(self, connect: Callable[[str], _C], close: Callable[[_C], object]) -> None:
        """Know of no server yet.

        Args:
            connect: makes a channel to a target; may not wait for the connection.
            close: closes a channel, or sees to it.
        """
        self._connect = connect
        self._close = close
        self._lock = threading.Lock()
        self._closed = False
        self._kept: dict[Address | None, Connection[_C]] = {}
        self._borrowed: set[Connection[_C]] = set()
        self._there: set[Address | None] = set()

    def borrow(self, info: Info) -> Connection[_C]:
        """Return the connection to a server, which is to be given back.

        Raises:
            ClosedError: this was closed.
        """
        with self._lock:
            if self._closed:
                raise ClosedError(
                    f"the channel to {info.service_name!r} was closed; open another one"
                )
            addr = cast("Address", info.addr)  # whoever is enlisted has one
            connection = self._kept.get(addr) or self._made(addr)
            connection.calls += 1
            self._borrowed.add(connection)
        return connection

    def _made(self, addr: Address) -> Connection[_C]:
        # A pick may be newer than what was heard of, or older: then it is for this call alone.
        connection = Connection(addr, self._connect(str(addr)), left=addr not in self._there)
        if not connection.left:
            self._kept[addr] = connection
        return connection

    def give_back(self, connection: Connection[_C]) -> None:
        """Tell that a call has ended; the last one of a server that has left closes its channel."""
        with self._lock:
            connection.calls -= 1
            if connection.calls:
                return
            self._borrowed.discard(connection)
            over = connection.left
        if over:
            self._close(connection.channel)

    def follow(self, snapshot: Snapshot) -> None:
        """Take in who is there, and close the channels to others on which no call runs."""
        with self._lock:
            self._there = {info.addr for info in snapshot.instances}
            leavers = [self._kept.pop(addr) for addr in self._kept.keys() - self._there]
            for each in leavers:
                each.left = True
            idle = [each.channel for each in leavers if not each.calls]
        self._close_all(idle)

    def refuse(self) -> None:
        """Lend nothing any more; what was lent stays open until the close."""
        with self._lock:
            self._closed = True

    def close(self) -> None:
        """Close every channel, which cancels the calls that run; a second time does nothing."""
        with self._lock:
            self._closed = True
            channels = {each.channel for each in (*self._kept.values(), *self._borrowed)}
            self._kept = {}
        self._close_all(channels)

    def _close_all(self, channels: Iterable[_C]) -> None:
        for channel in channels:
            self._close(channel)
