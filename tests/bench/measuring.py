"""How things are measured: pairs in turn, programs of their own, and the time since a change."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

PAIRS: Final = 30
"""The fewest pairs that a limit is judged by."""

_PROGRAM_TIMEOUT_S: Final = 60.0
_CHANGE_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Pairs:
    """The seconds that two sides took, pair by pair."""

    ours: list[float]
    theirs: list[float]


def in_turn(
    ours: Callable[[int], float], theirs: Callable[[int], float], pairs: int, *, warm: int = 1
) -> Pairs:
    """Measure both sides in turn, the other one first in every second pair.

    Args:
        ours: measures once and returns seconds; is given a number that is never repeated.
        theirs: the same for the other side.
        pairs: how many.
        warm: how many pairs are made before and thrown away.
    """
    taken = Pairs([], [])
    for number in range(-warm, pairs):
        if number % 2:
            their_s, our_s = theirs(number), ours(number)
        else:
            our_s, their_s = ours(number), theirs(number)
        if number >= 0:
            taken.ours.append(our_s)
            taken.theirs.append(their_s)
    return taken


def timed(call: Callable[[int], object], calls: int = 1) -> Callable[[int], float]:
    """Return what measures one of ``calls`` calls in a row.

    Args:
        call: is given a number that is never repeated; below 0 while both sides get warm.
        calls: how many make one measurement.
    """

    def measure(number: int) -> float:
        numbers = range(number * calls, (number + 1) * calls)
        begin = time.perf_counter()
        for each in numbers:
            call(each)
        return (time.perf_counter() - begin) / calls

    return measure


def program(code: str, *, before: str = "", after: str = "") -> Callable[[int], float]:
    """Return what measures some code in a fresh interpreter, from its first line to its last.

    Args:
        code: counts.
        before: runs first and does not count.
        after: runs last and does not count.
    """
    text = (
        f"{before}\nimport time\nbegin = time.perf_counter()\n"
        f"{code}\n"
        f"print(time.perf_counter() - begin, flush=True)\n{after}\n"
    )

    def measure(_: int) -> float:
        done = subprocess.run(
            [sys.executable, "-I", "-c", text],
            capture_output=True,
            check=True,
            text=True,
            timeout=_PROGRAM_TIMEOUT_S,
        )
        return float(done.stdout)

    return measure


class Arrivals:
    """When news came in, for a thread that waits for it."""

    def __init__(self) -> None:
        self._came = threading.Event()
        self._at = 0.0

    def note(self, *_: object) -> None:
        """Hear that it came; the first time since the last change counts."""
        if not self._came.is_set():
            self._at = time.perf_counter()
            self._came.set()

    def seconds(self, change: Callable[[], object]) -> float:
        """Make a change and return the seconds until it was heard of.

        Raises:
            TimeoutError: nothing came.
        """
        self._came.clear()
        begin = time.perf_counter()
        change()
        if not self._came.wait(_CHANGE_TIMEOUT_S):
            raise TimeoutError(f"no news of the change within {_CHANGE_TIMEOUT_S:g} s")
        return self._at - begin
