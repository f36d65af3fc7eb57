"""Who listens at an address, as the Linux kernel tells it; elsewhere nobody can say."""

from __future__ import annotations

import ipaddress
import re
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from enlist.address import Address

__all__ = ["Holders", "listeners_at", "look"]

_PROC: Final = Path("/proc")
_LISTENING: Final = "0A"
_UNIX_LISTENING: Final = 0x10000
# It has just ended, or it is another user's: /proc may be mounted so that those tell nothing.
_NOT_TOLD: Final = (FileNotFoundError, ProcessLookupError, PermissionError)
_SOCKET: Final = re.compile(r"socket:\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Holders:
    """Whose the listeners at an address are.

    Attributes:
        own: where the command or a process that it started listens.
        stranger: another process that listens there, if none of those does; empty where it
            cannot be told.
    """

    own: tuple[Address, ...] = ()
    stranger: str = ""


def look(listen: Address, command: int) -> Holders:
    """Tell whether what listens at an address belongs to a command.

    Args:
        listen: the address; an unspecified host stands for every one.
        command: its process id, which is that of its process group too.
    """
    listeners = listeners_at(listen)
    if not listeners:
        return Holders()
    family = _family(command)
    own = {number for pid in family for number in _sockets(pid)}
    found = tuple(addr for number, addr in listeners.items() if number in own)
    return Holders(found, "" if found else _stranger(set(listeners), family))


def listeners_at(listen: Address) -> dict[int, Address]:
    """Return where something listens that an address means, by the number of the socket."""
    if not sys.platform.startswith("linux"):
        return {}
    found = _unix_listeners() if listen.network == "unix" else _tcp_listeners()
    return {number: addr for number, addr in found if _is_meant(addr, listen)}


def _is_meant(addr: Address, listen: Address) -> bool:
    if listen.network == "unix":
        return addr == listen
    if addr.port != listen.port or addr.ip is None:
        return False
    # A host name may be any of them.
    return listen.ip is None or listen.ip.is_unspecified or addr.ip.is_unspecified or addr == listen


def _tcp_listeners() -> Iterator[tuple[int, Address]]:
    for line in (*_lines("net/tcp"), *_lines("net/tcp6")):
        words = line.split()
        if words[3] == _LISTENING:
            host, _, port = words[1].partition(":")
            yield int(words[9]), Address.tcp(str(_ip(host)), int(port, 16))


def _ip(digits: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Read an address as the kernel prints it: words of 32 bits, in the order of this machine."""
    words = [int(digits[at : at + 8], 16) for at in range(0, len(digits), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    if len(words) == 1:
        return ipaddress.IPv4Address(packed)
    ip = ipaddress.IPv6Address(packed)
    return ip.ipv4_mapped or ip


def _unix_listeners() -> Iterator[tuple[int, Address]]:
    for line in _lines("net/unix"):
        words = line.split(maxsplit=7)
        if int(words[3], 16) & _UNIX_LISTENING and words[-1].startswith("/"):
            yield int(words[6]), Address.unix(words[-1])


def _lines(name: str) -> list[str]:
    """Return the lines under the heading of a table; none where there is no such table."""
    try:
        return (_PROC / name).read_text(errors="surrogateescape").splitlines()[1:]
    except FileNotFoundError:
        return []


def _family(command: int) -> set[int]:
    """Return the processes of the command: its group, and whatever descends from one of it."""
    parents: dict[int, int] = {}
    family = {command}
    for pid in _pids():
        parent, group = _parent_and_group(pid)
        parents[pid] = parent
        if group == command:
            family.add(pid)
    # A parent may have a greater number than its child.
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return family


def _pids() -> list[int]:
    return [int(folder.name) for folder in _PROC.iterdir() if folder.name.isdigit()]


def _parent_and_group(pid: int) -> tuple[int, int]:
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="surrogateescape")
    except _NOT_TOLD:
        return 0, 0
    # The name before it, in brackets, may hold anything.
    _, parent, group = text.rpartition(")")[2].split()[:3]
    return int(parent), int(group)


def _sockets(pid: int) -> set[int]:
    """Return the numbers of the sockets of a process; none where they are not told."""
    found = set()
    try:
        for descriptor in (_PROC / str(pid) / "fd").iterdir():
            if socket := _SOCKET.fullmatch(str(descriptor.readlink())):
                found.add(int(socket[1]))
    except _NOT_TOLD:
        return found
    return found


def _stranger(sockets: set[int], family: set[int]) -> str:
    for pid in _pids():
        if pid not in family and _sockets(pid) & sockets:
            return f"{_name(pid)} (process {pid})"
    return ""


def _name(pid: int) -> str:
    try:
        return (_PROC / str(pid) / "comm").read_text(errors="replace").strip()
    except _NOT_TOLD:
        return "another process"
