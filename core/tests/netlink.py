"""The few requests to Linux that give a network namespace its interfaces, addresses and routes.

Made by hand, so that a fresh machine needs neither iproute2 nor a library. The numbers are those
of linux/rtnetlink.h, linux/if_link.h and linux/if_addr.h.
"""

import ctypes
import ipaddress
import os
import socket
import struct

NEW_USER, NEW_NET = 0x10000000, 0x40000000

_NEW_LINK, _NEW_ADDRESS, _NEW_ROUTE = 16, 20, 24
_MAKE = 0x1 | 0x4 | 0x200 | 0x400  # a request that wants an answer, for what is not there yet
_CHANGE = 0x1 | 0x4
_UP = 0x1
_WITHOUT_DUPLICATE_DETECTION = 0x02
_MAIN_TABLE, _STATIC, _UNICAST = 254, 4, 1
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


def enter_network_of_its_own() -> None:
    """Leave this machine's interfaces behind: a new namespace has none but a loopback that is down.

    Whoever may not do that alone can in a user namespace of its own, where the system allows those.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    for kinds in (NEW_NET, NEW_USER | NEW_NET):
        if libc.unshare(kinds) == 0:
            return
    number = ctypes.get_errno()
    raise PermissionError(number, os.strerror(number))


class Netlink:
    """A connection to the kernel's side of the namespace in which it was opened."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)

    def close(self) -> None:
        self._socket.close()

    def add_bridge(self, name: str) -> None:
        kind = _part(18, _part(1, b"bridge"))
        self._ask(_NEW_LINK, _MAKE, _link() + _part(3, _text(name)) + kind)

    def add_cable(self, name: str, to: int) -> None:
        """Make an interface whose other end, of the same name, is in that process's namespace."""
        other_end = _part(1, _link() + _part(3, _text(name)) + _part(19, struct.pack("I", to)))
        kind = _part(18, _part(1, b"veth") + _part(2, other_end))
        self._ask(_NEW_LINK, _MAKE, _link() + _part(3, _text(name)) + kind)

    def set_up(self, name: str) -> None:
        self._ask(_NEW_LINK, _CHANGE, _link(socket.if_nametoindex(name), _UP))

    def add_address(self, name: str, text: str) -> None:
        """Give an interface an address with the length of its network, as in "10.1.0.5/24"."""
        one = ipaddress.ip_interface(text)
        scope = 253 if one.ip.is_link_local else 0
        body = struct.pack(
            "BBBBI",
            _FAMILIES[one.version],
            one.network.prefixlen,
            _WITHOUT_DUPLICATE_DETECTION,
            scope,
            socket.if_nametoindex(name),
        )
        packed = one.ip.packed
        self._ask(_NEW_ADDRESS, _MAKE, body + _part(2, packed) + _part(1, packed))

    def add_default_route(self, name: str, gateway: str) -> None:
        by = ipaddress.ip_address(gateway)
        body = struct.pack(
            "BBBBBBBBI", _FAMILIES[by.version], 0, 0, 0, _MAIN_TABLE, _STATIC, 0, _UNICAST, 0
        )
        out = _part(4, struct.pack("I", socket.if_nametoindex(name)))
        self._ask(_NEW_ROUTE, _MAKE, body + _part(5, by.packed) + out)

    def _ask(self, what: int, flags: int, body: bytes) -> None:
        self._socket.send(struct.pack("IHHII", 16 + len(body), what, flags, 1, 0) + body)
        (code,) = struct.unpack_from("i", self._socket.recv(65_536), 16)
        if code:
            raise OSError(-code, os.strerror(-code))


def _link(index: int = 0, flags: int = 0) -> bytes:
    return struct.pack("BxHiII", socket.AF_UNSPEC, 0, index, flags, flags)


def _part(kind: int, value: bytes) -> bytes:
    """Pack one attribute: its length, its kind and its value, filled up to four bytes."""
    return struct.pack("HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _text(name: str) -> bytes:
    return name.encode() + b"\0"
