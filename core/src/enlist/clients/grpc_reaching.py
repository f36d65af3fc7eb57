"""Whether servers can be reached: by what the registry shows, and by trying to connect.

gRPC would tell too, but polls for it in a thread that a closed channel makes crash.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Sequence
from typing import Any, Final

import grpc

from enlist.address import Address
from enlist.finding.view import Snapshot

__all__ = ["aaccepts", "accepts", "channel_options", "connectivity", "end_of", "left_until"]

_CONNECT_WITHIN_S: Final = 3.0
# gRPC waits up to 20 s for a connection and up to 2 min before it tries again: too long where
# there are others to call, and where servers come back at the address that they had.
_OPTIONS: Final = {
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.min_reconnect_backoff_ms": int(_CONNECT_WITHIN_S * 1000),
    "grpc.max_reconnect_backoff_ms": 1000,
}


def channel_options(wanted: Sequence[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Return the options of a channel to one server; what is wanted is stronger than ours."""
    return list({**_OPTIONS, **dict(wanted)}.items())


def connectivity(snapshot: Snapshot) -> grpc.ChannelConnectivity:
    """Return the state of a channel to whoever is there: READY if somebody can be picked."""
    if any(info.weight for info in snapshot.instances):
        return grpc.ChannelConnectivity.READY
    if snapshot.listed:
        return grpc.ChannelConnectivity.TRANSIENT_FAILURE
    return grpc.ChannelConnectivity.CONNECTING


def end_of(timeout: float | None) -> float | None:
    """Return when a call that begins now has to end, in monotonic seconds; None for never."""
    return None if timeout is None else time.monotonic() + timeout


def left_until(end: float | None) -> float | None:
    """Return how many seconds a call has left; None for as many as it likes."""
    return None if end is None else max(0.0, end - time.monotonic())


def accepts(addr: Address, left_s: float | None) -> bool:
    """Return whether a connection to this address is accepted, in the time that a call has left."""
    try:
        if addr.network == "unix":
            with socket.socket(socket.AF_UNIX) as trial:
                # With a time, or it waits for room in the queue of a hung server.
                trial.settimeout(_within_s(left_s))
                trial.connect(addr.host)
        else:
            socket.create_connection((addr.host, addr.port), _within_s(left_s)).close()
    except OSError:
        return False
    return True


async def aaccepts(addr: Address, left_s: float | None) -> bool:
    """Return the same without blocking the loop."""
    if addr.network == "unix":
        return accepts(addr, 0)  # asyncio takes a full queue for a connection
    try:
        async with asyncio.timeout(_within_s(left_s)):
            _, trial = await asyncio.open_connection(addr.host, addr.port)
    except OSError:
        return False
    trial.close()
    return True


def _within_s(left_s: float | None) -> float:
    return _CONNECT_WITHIN_S if left_s is None else min(left_s, _CONNECT_WITHIN_S)
