"""Where a server is reached: a TCP host and port, or the path of a unix socket."""

from __future__ import annotations

import functools
import ipaddress
import re
from dataclasses import dataclass
from typing import Final, Literal

from enlist.errors import InvalidInfoError
from enlist.text import check_text

__all__ = ["Address"]

MAX_PORT: Final = 65_535
MAX_HOST_BYTES: Final = 253
# sun_path has 108 bytes on Linux, the last of which ends the text.
MAX_UNIX_PATH_BYTES: Final = 107
_UNIX_PREFIX: Final = "unix:"
# RFC 1123 labels, and the underscore that container networks put into their names.
_HOST_NAME: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")
_LOOKS_LIKE_IPV4: Final = re.compile(r"[0-9.]+")
# As many digits as the largest has: int() itself refuses to read thousands of them.
_PORT: Final = re.compile(r"[0-9]{1,5}")
_FORM: Final = (
    "must look like '10.0.0.1:8888', '[::1]:8888', 'host.example:8888' or 'unix:/run/echo.sock'"
)


@dataclass(frozen=True, slots=True)
class Address:
    """One address, checked and in one spelling, so that equal addresses compare equal.

    Make one with :meth:`tcp`, :meth:`unix` or :meth:`parse`; ``str`` gives the text back.

    Attributes:
        network: "tcp" or "unix".
        host: an IPv4 or IPv6 address without brackets, or a host name in lower case; for a
            unix socket its absolute path.
        port: 1 to 65535; 0 for a unix socket.

    Raises:
        InvalidInfoError: a part breaks its rule; the message names part, value and rule.
    """

    network: Literal["tcp", "unix"]
    host: str
    port: int = 0

    def __post_init__(self) -> None:
        """Check every part and bring the host into its one spelling."""
        if self.network == "tcp":
            object.__setattr__(self, "host", _checked_host(self.host))
            _check_port(self.port)
        elif self.network == "unix":
            _check_unix_path(self.host)
            if self.port != 0:
                raise InvalidInfoError("addr.port", self.port, "must be left out for a unix socket")
        else:
            raise InvalidInfoError("addr.network", self.network, "must be 'tcp' or 'unix'")

    @classmethod
    def tcp(cls, host: str, port: int) -> Address:
        """Return the address of a TCP port; an IPv6 host may be bracketed."""
        if isinstance(host, str) and host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        return cls("tcp", host, port)

    @classmethod
    def unix(cls, path: str) -> Address:
        """Return the address of a unix socket; the path is absolute, at most 107 bytes."""
        return cls("unix", path)

    @classmethod
    def parse(cls, text: str) -> Address:
        """Return the address that a text such as "[::1]:8888" or "unix:/run/a.sock" spells."""
        if not isinstance(text, str):
            raise InvalidInfoError("addr", text, _FORM)
        if text.startswith(_UNIX_PREFIX):
            return cls.unix(text.removeprefix(_UNIX_PREFIX))
        host, colon, port = text.rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        if not colon or not host or (":" in host and not bracketed):
            raise InvalidInfoError("addr", text, _FORM)
        if not _PORT.fullmatch(port):
            raise InvalidInfoError(
                "addr.port", port, f"must be a whole number from 1 to {MAX_PORT}"
            )
        return cls.tcp(host, int(port))

    def __str__(self) -> str:
        """Return the text that :meth:`parse` reads; an IPv6 host is bracketed."""
        if self.network == "unix":
            return f"{_UNIX_PREFIX}{self.host}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def ip(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """The host as an IP address, or None for a host name or a unix socket."""
        return _as_ip(self.host) if self.network == "tcp" else None

    def check_reachable(self) -> None:
        """Refuse an address that can be listened on and never be called.

        Raises:
            InvalidInfoError: the host is unspecified (0.0.0.0, ::), multicast, or link-local
                IPv6 without a zone.
        """
        rule = _unreachable(self.host) if self.network == "tcp" else ""
        if rule:
            raise InvalidInfoError("addr.host", self.host, rule)


@functools.lru_cache(maxsize=1_024)  # asked again and again for the few hosts that a process has
def _as_ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


@functools.lru_cache(maxsize=1_024)  # asked at each registration
def _unreachable(host: str) -> str:
    """Return the rule by which nobody can call this host; nothing if somebody may."""
    ip = _as_ip(host)
    if ip is None:
        return ""
    if ip.is_unspecified:
        return "means every interface and cannot be called; publish one that clients can reach"
    if ip.is_multicast:
        return "is a multicast address, which no server listens on alone"
    if isinstance(ip, ipaddress.IPv6Address) and ip.is_link_local and ip.scope_id is None:
        return "is link-local and needs its zone, as in fe80::1%eth0; better be routable"
    return ""


def _checked_host(host: str) -> str:
    check_text("addr.host", host, most_bytes=MAX_HOST_BYTES)
    if ip := _as_ip(host):
        # A zone ends up in keys and URLs, where these characters would be read as something else.
        if "%" in host and not re.fullmatch(r"[A-Za-z0-9._-]+", host.partition("%")[2]):
            raise InvalidInfoError(
                "addr.host", host, "has a zone that is not the name or number of an interface"
            )
        return str(ip)
    name = host.lower()
    if _LOOKS_LIKE_IPV4.fullmatch(name) or not _HOST_NAME.fullmatch(name):
        rule = "must be an IPv4 or IPv6 address, or a host name of a-z, 0-9, '-', '_' and '.'"
        raise InvalidInfoError("addr.host", host, rule)
    return name


def _check_port(port: int) -> None:
    if not isinstance(port, int) or isinstance(port, bool) or not 1 <= port <= MAX_PORT:
        raise InvalidInfoError("addr.port", port, f"must be a whole number from 1 to {MAX_PORT}")


def _check_unix_path(path: str) -> None:
    check_text("addr.path", path, most_bytes=MAX_UNIX_PATH_BYTES)
    if not path.startswith("/"):
        raise InvalidInfoError(
            "addr.path", path, "must be absolute: a client's working directory is not yours"
        )
