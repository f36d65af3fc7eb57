"""A process that holds many registrations and nothing else, so that what it uses is their cost.

Run as a program it opens a registry, registers, and answers each line of its input with one of
JSON: ``usage`` with what the process used so far, ``states`` with how many registrations are in
which state. It ends when its input does.
"""

from __future__ import annotations

import datetime as dt
import gc
import json
import logging
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import psutil

from enlist import open_registry
from tests.bench.bench import Bench
from tests.bench.figures import Estimate, share
from tests.bench.plain_plugin import info, infos

ROOT: Final = Path(__file__).resolve().parents[2]
SERVICE: Final = "bench-held"
TTL_S: Final = 15.0
INTERVAL_S: Final = TTL_S / 3
STEADY_INTERVALS: Final = 6

_REGISTER_TIMEOUT: Final = dt.timedelta(seconds=120)
_END_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used at one moment.

    Attributes:
        at_s: the moment, monotonic.
        cpu_s: processor seconds of all threads so far.
        bytes: of memory that it holds now.
        threads: of the system, those of libraries too.
    """

    at_s: float
    cpu_s: float
    bytes: int
    threads: int


class Holder:
    """Starts that process, asks it, and ends it.

    Attributes:
        count: how many registrations it holds.
        with_one: what it used when it held one.
        with_all: what it used when it had registered all.
        register_s: the seconds that registering all took.
    """

    def __init__(self, registry: str, count: int) -> None:
        """Name what it is to hold: so many, at the registry of that URL."""
        self.count = count
        self._registry = registry

    def __enter__(self) -> Self:
        """Start it, and wait until it holds all."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, self._registry, str(self.count)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            self.with_one = Usage(**self._answer())
            self.register_s = float(self._answer())
            self.with_all = Usage(**self._answer())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End it."""
        self._end()

    def usage(self) -> Usage:
        """Return what it has used by now."""
        return Usage(**self._ask("usage"))

    def states(self) -> dict[str, int]:
        """Return how many registrations are in which state."""
        return dict(self._ask("states"))

    def _ask(self, question: str) -> Any:  # noqa: ANN401 - JSON
        assert self._process.stdin is not None
        self._process.stdin.write(f"{question}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:  # noqa: ANN401 - JSON
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the holder ended with status {self._process.wait()}")
        return json.loads(line)

    def _end(self) -> None:
        with self._process:
            try:
                if self._process.stdin is not None:
                    self._process.stdin.close()
                self._process.wait(_END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()


def add_steady_rows(
    bench: Bench,
    holder: Holder,
    *,
    at_most_percent: float | None,
    threads_as_with_one: bool = False,
    count: Callable[[], Counter[str]] = Counter,
) -> Counter[str]:
    """Watch a holder for six intervals in which nothing happens, and add what it uses.

    Args:
        bench: takes the rows.
        holder: holds its registrations.
        at_most_percent: of a core.
        threads_as_with_one: whether it may have no more threads than with one registration.
        count: returns how many requests of each kind there were so far.

    Returns:
        How many there were in that time.
    """
    bench.progress("wait for the first beats")
    pause = threading.Event()
    pause.wait(bench.seconds(INTERVAL_S))
    stretches = []
    before = count()
    last = holder.usage()
    for number in range(STEADY_INTERVALS):
        bench.progress(f"steady interval {number + 1} of {STEADY_INTERVALS}")
        pause.wait(bench.seconds(INTERVAL_S))
        now = holder.usage()
        stretches.append((now.cpu_s - last.cpu_s, now.at_s - last.at_s))
        last = now
    counted = count() - before
    used = share([(100 * cpu_s, of_s) for cpu_s, of_s in stretches])
    held = f"{holder.count} held"
    bench.add(f"{held}: processor use", used, unit="%", at_most=at_most_percent)
    per_one = (last.bytes - holder.with_one.bytes) / holder.count
    bench.add(f"{held}: memory for each", Estimate.exact(per_one), unit="bytes")
    limit = holder.with_one.threads if threads_as_with_one else None
    note = f"{holder.with_one.threads} with one"
    bench.add(f"{held}: threads", Estimate.exact(last.threads), at_most=limit, note=note)
    return counted


def usage() -> Usage:
    """Return what this process uses."""
    this = psutil.Process()
    rss = this.memory_info().rss
    return Usage(time.monotonic(), time.process_time(), rss, this.num_threads())


def hold(registry: str, count: int) -> None:
    """Register, say how it went, and answer questions until the input ends."""
    with open_registry(registry) as opened:
        opened.register(info(f"{SERVICE}-one", 0))
        gc.collect()
        _say(_as_json(usage()))
        begin = time.perf_counter()
        opened.register_all(infos(SERVICE, count), timeout=_REGISTER_TIMEOUT)
        _say(time.perf_counter() - begin)
        gc.collect()
        _say(_as_json(usage()))
        for line in sys.stdin:
            if line.strip() == "usage":
                _say(_as_json(usage()))
            else:
                _say(Counter(status.state.value for status in opened.status()))


def _as_json(used: Usage) -> dict[str, float]:
    return {name: getattr(used, name) for name in Usage.__slots__}


def _say(answer: object) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)  # that all is lost in an outage is no news here
    hold(sys.argv[1], int(sys.argv[2]))
