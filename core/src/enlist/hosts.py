"""Lists of servers, such as ``10.0.0.1:2379,[::1]:2379``: one reading of them for every plugin."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from enlist.address import MAX_PORT, Address
from enlist.errors import InvalidInfoError, InvalidOptionError
from enlist.secret import HIDDEN

__all__ = ["HostPort", "Hosts", "hosts_text", "parse_hosts"]

_PORT_RULE: Final = f"must have a port that is a whole number from 1 to {MAX_PORT}"


@dataclass(frozen=True, slots=True)
class HostPort:
    """One server: ``str`` gives "host:port", with an IPv6 host in brackets.

    Attributes:
        host: an IPv4 or IPv6 address without brackets, or a host name in lower case.
        port: 1 to 65535.

    Raises:
        InvalidOptionError: a part breaks its rule.
    """

    host: str
    port: int

    def __post_init__(self) -> None:
        """Check both parts by the rules of an :class:`~enlist.Address`."""
        try:
            checked = Address.tcp(self.host, self.port)
        except InvalidInfoError as exc:
            field = exc.field.removeprefix("addr.")
            raise InvalidOptionError(field, exc.value, exc.rule) from None
        object.__setattr__(self, "host", checked.host)

    def __str__(self) -> str:
        """Return the text that a list of hosts is read from."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


Hosts: TypeAlias = tuple[HostPort, ...]
"""The type of an option that lists servers."""


def parse_hosts(
    given: str | HostPort | Iterable[str | HostPort],
    *,
    default_port: int | None = None,
    field: str = "hosts",
) -> Hosts:
    """Return the servers that a text or a sequence lists, in its order; at least one.

    Args:
        given: text with commas between the servers, a :class:`HostPort`, or several of both.
        default_port: the port of a server that names none; None if each must name its own.
        field: the name of the option, for the message.

    Raises:
        InvalidOptionError: a server cannot be read. What stands where a port belongs and is
            no number is not repeated in the message: it may be a password.
    """
    pieces = given.split(",") if isinstance(given, str) else given
    pieces = [pieces] if isinstance(pieces, HostPort) else list(pieces)
    if pieces in ([], [""]):
        raise InvalidOptionError(field, "", "must name at least one host, as in 'host:port'")
    return tuple(_one(piece, default_port, field) for piece in pieces)


def hosts_text(hosts: Hosts) -> str:
    """Return the text that :func:`parse_hosts` reads back."""
    return ",".join(map(str, hosts))


def _one(piece: object, default_port: int | None, field: str) -> HostPort:
    if isinstance(piece, HostPort):
        return piece
    if not isinstance(piece, str):
        raise InvalidOptionError(field, piece, "must list text such as 'host:port' or HostPort")
    host, port_text = _split(piece.strip(), field)
    if port_text is None:
        if default_port is None:
            raise InvalidOptionError(field, host, f"{_PORT_RULE}, as in 'host:port'")
        return _checked(host, default_port, field)
    # More digits than a port has may be a number that Python refuses to read.
    if not (port_text.isascii() and port_text.isdigit() and len(port_text) <= len(str(MAX_PORT))):
        raise InvalidOptionError(field, f"{host}:{HIDDEN}", _PORT_RULE)
    return _checked(host, int(port_text), field)


def _split(piece: str, field: str) -> tuple[str, str | None]:
    """Return the host without brackets, and the text of the port or None."""
    if not piece:
        raise InvalidOptionError(field, piece, "must not have an empty entry between commas")
    if "@" in piece:
        raise InvalidOptionError(field, HIDDEN, "must not hold a user name or password")
    if piece.startswith("["):
        host, bracket, rest = piece[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise InvalidOptionError(field, HIDDEN, "must write an IPv6 host as '[::1]:port'")
        return host, rest[1:] if rest else None
    if piece.count(":") > 1:
        if _is_ipv6(piece):
            rule = f"must have an IPv6 host in brackets, as in '[{piece}]:port'"
            raise InvalidOptionError(field, piece, rule)
        raise InvalidOptionError(field, f"{piece.partition(':')[0]}:{HIDDEN}", _PORT_RULE)
    host, colon, port_text = piece.partition(":")
    return host, port_text if colon else None


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _checked(host: str, port: int, field: str) -> HostPort:
    try:
        return HostPort(host, port)
    except InvalidOptionError as exc:
        raise InvalidOptionError(field, f"{host}:{port}", f"its {exc.field} {exc.rule}") from None
