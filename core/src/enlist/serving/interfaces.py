"""Which IP addresses this machine has, and which one its outward route uses. Nothing is sent.

The standard library names the interfaces and not their addresses, so the addresses are asked of
the Linux kernel: IPv4 by one ioctl, IPv6 from /proc.
"""

from __future__ import annotations

import array
import ipaddress
import socket
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeAlias

__all__ = ["HostNetwork", "Interface", "IpAddress", "NetworkView"]

IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_SIOCGIFCONF: Final = 0x8912
_SIOCGIFFLAGS: Final = 0x8913
_IFF_UP: Final = 0x1
# struct ifreq: a name of 16 bytes, then a union whose largest member is struct ifmap.
_IFREQ: Final = "16sLLHBBB0L"
_NAME_BYTES: Final = 16
_IF_INET6: Final = Path("/proc/net/if_inet6")
# Flags of /proc/net/if_inet6: duplicate detection failed or under way, or soon to be removed.
_UNUSABLE: Final = 0x08 | 0x20 | 0x40
_TEMPORARY: Final = 0x01

# Addresses that RFC 5737 and RFC 3849 keep free for documents: whatever leads there leads outward.
_OUTWARD: Final = {4: (socket.AF_INET, "203.0.113.1"), 6: (socket.AF_INET6, "2001:db8::1")}
_DISCARD_PORT: Final = 9
_ANSWER_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Interface:
    """One address of one network interface.

    Attributes:
        name: of the interface, such as "eth0"; several addresses share it.
        ip: the address; link-local IPv6 without its zone.
    """

    name: str
    ip: IpAddress


class NetworkView(Protocol):
    """What :mod:`enlist.serving.advertise` asks about the machine."""

    def interfaces(self) -> list[Interface]:
        """Return every address of every interface, the best of each interface first."""

    def outward(self, version: int) -> IpAddress | None:
        """Return the address that packets to the outside carry, or None without such a route.

        Args:
            version: of IP: 4 or 6.
        """

    def accepts_ipv4(self, port: int) -> bool:
        """Return whether a server here accepts IPv4 connections at that port now."""


class HostNetwork:
    """The machine that this process runs on, or its container."""

    def interfaces(self) -> list[Interface]:
        """Return every address of every interface that is up: IPv4 first, then IPv6.

        Raises:
            OSError: the kernel refused to tell, or is not Linux.
        """
        if not sys.platform.startswith("linux"):
            raise OSError(f"on {sys.platform} the addresses of network interfaces cannot be listed")
        listed = _IF_INET6.read_text(encoding="ascii") if _IF_INET6.exists() else ""
        return [*_ipv4_interfaces(), *parse_if_inet6(listed)]

    def outward(self, version: int) -> IpAddress | None:
        """Return the address that packets to the outside carry, or None without such a route."""
        family, somewhere = _OUTWARD[version]
        try:
            # Connecting a datagram socket looks up the route and sends nothing.
            with socket.socket(family, socket.SOCK_DGRAM) as asking:
                asking.connect((somewhere, _DISCARD_PORT))
                return ipaddress.ip_address(asking.getsockname()[0])
        except OSError:
            return None

    def accepts_ipv4(self, port: int) -> bool:
        """Return whether a server here accepts IPv4 connections at that port now."""
        try:
            with socket.create_connection(("127.0.0.1", port), _ANSWER_S):
                return True
        except TimeoutError:
            return True  # somebody listens, and is busy: nobody's port refuses at once
        except OSError:
            return False


def parse_if_inet6(listed: str) -> list[Interface]:
    """Return the usable addresses in the text of /proc/net/if_inet6, temporary ones last."""
    found: list[tuple[bool, Interface]] = []
    for line in listed.splitlines():
        digits, _, _, _, flags_text, name = line.split()
        flags = int(flags_text, 16)
        if not flags & _UNUSABLE:
            interface = Interface(name, ipaddress.IPv6Address(int(digits, 16)))
            found.append((bool(flags & _TEMPORARY), interface))
    return [interface for _, interface in sorted(found, key=lambda each: each[0])]


def _ipv4_interfaces() -> list[Interface]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        # Those that are down have their IPv4 addresses still, unlike their IPv6 ones.
        entries = [entry for entry in _ipv4_entries(asking) if _is_up(asking, entry)]
    return [_ipv4_interface(entry) for entry in entries]


def _ipv4_entries(asking: socket.socket) -> list[bytes]:
    # Linux only, like the ioctl below.
    import fcntl  # noqa: PLC0415

    entry_size = struct.calcsize(_IFREQ)
    room = 64
    while True:
        entries = array.array("B", bytes(entry_size * room))
        where, _ = entries.buffer_info()
        asked = struct.pack("iP", len(entries), where)
        (used,) = struct.unpack_from("i", fcntl.ioctl(asking, _SIOCGIFCONF, asked))
        if used < len(entries):
            return [entries[at : at + entry_size].tobytes() for at in range(0, used, entry_size)]
        room *= 2  # the kernel fills what there is and does not say what it left out


def _is_up(asking: socket.socket, entry: bytes) -> bool:
    import fcntl  # noqa: PLC0415

    try:
        answer = fcntl.ioctl(asking, _SIOCGIFFLAGS, entry)
    except OSError:
        return False  # it has gone since
    (flags,) = struct.unpack_from("H", answer, _NAME_BYTES)
    return bool(flags & _IFF_UP)


def _ipv4_interface(entry: bytes) -> Interface:
    """Read a ``struct ifreq``: 16 bytes of name, then a ``struct sockaddr_in``."""
    label = entry[:_NAME_BYTES].partition(b"\0")[0].decode()
    # "eth0:1" is the old way to name a second address of eth0.
    return Interface(label.partition(":")[0], ipaddress.IPv4Address(entry[20:24]))
