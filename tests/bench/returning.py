"""What an outage costs: how soon all is back, and what waiting for that uses."""

import contextlib
import time
from collections.abc import Callable
from typing import Final

from tests.bench.bench import Bench
from tests.bench.figures import Estimate
from tests.bench.holder import INTERVAL_S, Holder
from tests.servers.process import Server
from tests.waiting import eventually

AWAY_S: Final = 12.0
PROMISED_INTERVALS: Final = 2.0
GIVE_UP_S: Final = 120.0


def seconds_until(count: Callable[[], int], wanted: int, *, since_s: float | None = None) -> float:
    """Return the seconds until so many are there; two minutes where they are not by then.

    Args:
        count: returns how many there are.
        wanted: how many there are to be.
        since_s: the moment to count from, monotonic; now if None.
    """
    begin = time.monotonic() if since_s is None else since_s
    # Giving up is a figure like any other, beyond every limit.
    with contextlib.suppress(AssertionError):
        eventually(lambda: count() >= wanted, within_s=GIVE_UP_S, why=f"{wanted} are there")
    return time.monotonic() - begin


def empty_restart(bench: Bench, server: Server, holder: Holder) -> float:
    """Kill a server, keep it away, and start it with no data; return processor use meanwhile.

    When this returns the server has just given its first answer.

    Returns:
        The share of a core that the holder used while the server was away.
    """
    bench.progress("kill -9")
    server.kill()
    before = holder.usage()
    time.sleep(bench.seconds(AWAY_S))  # that it is away for so long is what is measured
    after = holder.usage()
    server.wipe()
    bench.progress("start with empty data")
    server.spawn()
    server.wait_ready()
    return (after.cpu_s - before.cpu_s) / (after.at_s - before.at_s)


def add_return(bench: Bench, what: str, seconds: list[float]) -> None:
    """Add the row for how soon all was back; the slowest of all trials is judged."""
    intervals = [each / INTERVAL_S for each in seconds]
    note = "trials: " + ", ".join(f"{each:.2g} s" for each in seconds)
    bench.add(
        f"{what}: all back, in intervals",
        Estimate.exact(max(intervals), len(intervals)),
        at_most=PROMISED_INTERVALS,
        note=note,
    )
