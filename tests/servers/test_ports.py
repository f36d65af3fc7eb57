"""Ports of test servers: outside the ephemeral range, and nobody else's."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.ports import HOST, _candidates, _try_claim, claim_port

ROOT = Path(__file__).resolve().parents[2]
CLAIMER = """
import sys
from tests.servers.ports import claim_port
claims = [claim_port() for _ in range(20)]
print(*(claim.number for claim in claims), flush=True)
sys.stdin.readline()
"""


def test_claim_lies_outside_the_ephemeral_range() -> None:
    """No client socket can take the port of a server that is down."""
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())

    with claim_port() as claim:
        assert not low <= claim.number <= high


def test_claim_is_held_until_release() -> None:
    """A claimed port is given to nobody else, a released one is free again."""
    claim = claim_port()
    assert _try_claim(claim.number) is None

    claim.release()

    again = _try_claim(claim.number)
    assert again is not None
    again.close()


def test_claim_refuses_a_port_in_use() -> None:
    """A port where somebody listens is not claimed."""
    with claim_port() as claim, socket.socket() as listener:
        listener.bind((HOST, claim.number))
        listener.listen()
        claim.release()

        assert _try_claim(claim.number) is None


def test_claims_of_two_processes_differ() -> None:
    """Test runs at the same time do not share a port, and death ends a claim."""
    command = [sys.executable, "-c", CLAIMER]
    claimers = [
        subprocess.Popen(command, cwd=ROOT, stdin=-1, stdout=-1, text=True) for _ in range(2)
    ]
    try:
        numbers = []
        for claimer in claimers:
            assert claimer.stdout is not None
            numbers += claimer.stdout.readline().split()
        assert len(set(numbers)) == 40
        assert _try_claim(int(numbers[0])) is None
    finally:
        for claimer in claimers:
            claimer.kill()
            claimer.communicate()
    again = _try_claim(int(numbers[0]))
    assert again is not None
    again.close()


@pytest.mark.parametrize(
    "ephemeral,inside,outside",
    [
        ("32768\t60999\n", 32_767, 32_768),
        ("1024\t60000\n", 60_001, 60_000),
        ("10500 60000", 10_499, 10_500),
    ],
)
def test_candidates_lie_beside_the_ephemeral_range(
    ephemeral: str, inside: int, outside: int
) -> None:
    """Ports come from below the range, and from above it where too few are below."""
    candidates = _candidates(ephemeral)

    assert inside in candidates
    assert outside not in candidates
    assert set(candidates) <= set(range(10_000, 65_536))


def test_candidates_refuse_a_range_that_leaves_nothing() -> None:
    """Where client sockets may have every port, the error says what to change."""
    with pytest.raises(OSError, match="Narrow the range"):
        _candidates("1024 65535")
