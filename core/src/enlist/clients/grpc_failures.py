"""What an error of gRPC tells: whether the call has ever left this process."""

from __future__ import annotations

import socket
from typing import Final
from urllib.parse import unquote

import grpc

from enlist.address import Address

__all__ = ["never_sent"]

# How gRPC says, in its versions, that it had no connection to send a call on.
_NO_CONNECTION: Final = (
    "failed to connect to all addresses",
    "DNS resolution failed",
    "errors resolving",
)


def never_sent(error: grpc.RpcError, addr: Address) -> bool:
    """Return whether a call failed since nobody at this address could be connected to.

    A server that passes on the error of another one, as gateways do, answers with the same
    status and the same words, and may have done its work. But its words name another address.

    Args:
        error: with which the call failed.
        addr: where the call was to go.
    """
    details = unquote(error.details() or "")  # gRPC quotes the brackets of IPv6
    return (
        error.code() is grpc.StatusCode.UNAVAILABLE
        and details.startswith(_NO_CONNECTION)
        and any(f"{mark}{name}:" in details for name in _names(addr) for mark in ": ")
    )


def _names(addr: Address) -> set[str]:
    """Return what gRPC may call an address: a host name after what it stands for."""
    if addr.network == "unix":
        return {addr.host}
    names = {str(addr)}
    if addr.ip is None:
        names |= {str(Address.tcp(ip, addr.port)) for ip in _looked_up(addr)}
    return names


def _looked_up(addr: Address) -> set[str]:
    try:
        found = socket.getaddrinfo(addr.host, addr.port, type=socket.SOCK_STREAM)
    except OSError:
        return set()
    return {str(where[0]) for _, _, _, _, where in found}
