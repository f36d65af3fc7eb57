"""Ports on 127.0.0.1 that stay ours over any number of restarts of a server.

Two dangers are met. Client sockets take ports of the ephemeral range, and with them
the port of a server that is down for a moment: so ports come from outside that
range. Other test processes look for ports too: so a port is claimed by binding an
abstract Unix socket named after it. The kernel keeps such names for each network
namespace, just as it keeps ports, and drops them when the claiming process dies.
"""

import errno
import random
import socket
from pathlib import Path
from types import TracebackType
from typing import Final, Self

HOST: Final = "127.0.0.1"
_RANGE_FILE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FIRST: Final = 10_000  # below lie the well-known services and the defaults of the real servers
_LAST: Final = 65_535
_ENOUGH: Final = 1_000


class ClaimedPort:
    """One port that no other user of this module gets before `release`.

    Args:
        number: The port.
        claim: The bound abstract socket that holds the claim.
    """

    def __init__(self, number: int, claim: socket.socket) -> None:
        self.number: Final = number
        self._claim = claim

    def __repr__(self) -> str:
        """Show the number."""
        return f"ClaimedPort({self.number})"

    def __enter__(self) -> Self:
        """Return this claim."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Release the port."""
        self.release()

    def release(self) -> None:
        """Give the port back. A second call does nothing."""
        self._claim.close()


def claim_port() -> ClaimedPort:
    """Claim one free port, for TCP and UDP, outside the ephemeral range.

    Raises:
        OSError: If every candidate is taken, or the range leaves too few of them.
    """
    candidates = _candidates(_RANGE_FILE.read_text(encoding="ascii"))
    random.shuffle(candidates)
    for number in candidates:
        claim = _try_claim(number)
        if claim is not None:
            return ClaimedPort(number, claim)
    msg = f"All {len(candidates)} ports outside {_RANGE_FILE} are taken."
    raise OSError(errno.EADDRINUSE, msg)


def free_port() -> int:
    """Return a port like a claimed one, for a program that is started at once and binds it."""
    with claim_port() as claim:
        return claim.number


def _candidates(ephemeral: str) -> list[int]:
    """List the ports below the ephemeral range, and those above where these are few."""
    low, high = map(int, ephemeral.split())
    numbers = list(range(_FIRST, min(low, _LAST + 1)))
    if len(numbers) < _ENOUGH:
        numbers += range(max(high, _FIRST - 1) + 1, _LAST + 1)
    if len(numbers) < _ENOUGH:
        msg = (
            f"{_RANGE_FILE} says {low} to {high}, which leaves {len(numbers)} ports for test "
            f"servers; {_ENOUGH} are needed. Narrow the range, e.g. to 32768 60999."
        )
        raise OSError(errno.EADDRNOTAVAIL, msg)
    return numbers


def _try_claim(number: int) -> socket.socket | None:
    """Claim one port, or return None when somebody has or uses it."""
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        claim.bind(f"\0enlist-test-port-{number}")
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            _check_free(number, kind)
    except OSError as exc:
        claim.close()
        if exc.errno in {errno.EADDRINUSE, errno.EACCES}:
            return None
        raise
    return claim


def _check_free(number: int, kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind is socket.SOCK_STREAM:
            # As servers do: a port whose last connections are in TIME_WAIT is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, number))
