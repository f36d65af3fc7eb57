"""What is asked of whoever makes requests that the agent answers when something changes."""

from __future__ import annotations

from typing import Final

from enlist_consul.connection import Answer

__all__ = ["Allowance", "next_index"]

_INDEX: Final = "X-Consul-Index"
_MOST_AT_ONCE: Final = 20
_PER_SECOND: Final = 10.0


def next_index(before: int, answer: Answer) -> int:
    """Return the index to wait for; 0 to ask at once, where the agent's went backwards.

    Source: https://developer.hashicorp.com/consul/api-docs/features/blocking
    """
    try:
        index = int(answer.headers.get(_INDEX, ""))
    except ValueError:
        return 0
    return index if index >= max(before, 1) else 0


class Allowance:
    """How soon to ask again: at once after a few answers, and ten times a second in the long run.

    An agent answers at once for a service without instances whenever anything else changes.
    """

    def __init__(self, now: float) -> None:
        """Begin with as much as there can be."""
        self._left = float(_MOST_AT_ONCE)
        self._at = now

    def take(self, now: float) -> float:
        """Return for how many seconds to wait before the next request."""
        self._left = min(_MOST_AT_ONCE, self._left + (now - self._at) * _PER_SECOND) - 1
        self._at = now
        return max(0.0, -self._left / _PER_SECOND)
