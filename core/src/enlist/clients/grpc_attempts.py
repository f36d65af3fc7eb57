"""Which calls may be sent again: judged alike for channels that block and for asyncio."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import grpc

from enlist.clients.grpc_connections import Connection
from enlist.clients.grpc_failures import never_sent
from enlist.errors import InvalidOptionError
from enlist.info import Info

__all__ = ["Attempts", "Repeating"]


@dataclass(frozen=True)
class Repeating:
    """What a channel was told of calls that may be made twice.

    Attributes:
        methods: that may be called twice, or True for all.
        attempts: how many times such a call is sent at most.
    """

    methods: Collection[str] | bool
    attempts: int

    def __post_init__(self) -> None:
        """Refuse what would be misunderstood."""
        if not isinstance(self.attempts, int) or self.attempts < 1:
            raise InvalidOptionError("attempts", self.attempts, "must be a whole number, 1 or more")
        if isinstance(self.methods, str):
            raise InvalidOptionError(
                "repeatable", self.methods, "must be a list of methods, or True"
            )

    def allows(self, method: str) -> bool:
        """Return whether this method may be called twice."""
        return self.methods if isinstance(self.methods, bool) else method in self.methods


class Attempts:
    """What was tried for one call.

    Attributes:
        tried: the servers, which are not to be picked again.
    """

    def __init__(self, method: str, repeating: Repeating) -> None:
        """Have tried nobody yet.

        Args:
            method: that is called.
            repeating: what the channel was told.
        """
        self.tried: list[Info] = []
        self._method = method
        self._repeating = repeating
        self._sent = 0

    def failed(self, error: grpc.RpcError, connection: Connection[Any]) -> bool:
        """Take in a failure, and return whether another server may be tried.

        A host name is looked up for that, which may block.
        """
        unavailable = error.code() is grpc.StatusCode.UNAVAILABLE
        connection.answered(yes=not unavailable)
        if never_sent(error, connection.addr):
            return True
        self._sent += 1
        return (
            unavailable
            and self._sent < self._repeating.attempts
            and self._repeating.allows(self._method)
        )
