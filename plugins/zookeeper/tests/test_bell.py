"""The bell: it never makes anybody wait, and forgets nothing."""

import select
from collections.abc import Iterator

import pytest

from enlist_zookeeper.bell import Bell


@pytest.fixture
def bell() -> Iterator[Bell]:
    made = Bell()
    yield made
    made.close()


def is_readable(bell: Bell) -> bool:
    return bool(select.select([bell], [], [], 0)[0])


def test_bell_is_readable_as_often_as_it_was_sent_to(bell: Bell) -> None:
    """Far more than a pair of sockets holds is taken at once, and given back one by one."""
    assert not is_readable(bell)
    for _ in range(10_000):
        assert bell.send(b"\0") == 1

    for _ in range(10_000):
        assert is_readable(bell)
        assert bell.recv(1) == b"\0"

    assert not is_readable(bell)


def test_bell_has_nothing_to_give_that_was_not_sent(bell: Bell) -> None:
    """Receiving fails at once instead of waiting, and the next byte is not lost by it."""
    for _ in range(3):
        with pytest.raises(BlockingIOError):
            bell.recv(1)
        bell.send(b"\0")
        bell.send(b"\0")
        assert (bell.recv(1), bell.recv(1)) == (b"\0", b"\0")


def test_closed_bell_refuses(bell: Bell) -> None:
    """Kazoo tells a request from that that the client is closed; both ends close it."""
    bell.close()
    bell.close()

    with pytest.raises(OSError, match="descriptor"):
        bell.send(b"\0")
    with pytest.raises(OSError, match="descriptor"):
        bell.recv(1)
