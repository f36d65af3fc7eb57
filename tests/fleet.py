"""How long a whole fleet takes to come back after an outage, simulated with the real policy.

``python -m tests.fleet`` prints a table. Every keeper needs three answers to be back (a beat
that reports it gone, a repair, a list for its clients) and then goes on beating. The server
works through its requests in their order at a fixed rate. It either drops requests whose sender
has given up, or answers them all the same, as most servers do. While it was away its address
refused connections, so all keepers try at least once an interval.
"""

from __future__ import annotations

import argparse
import heapq
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from enlist.keeping.backoff import Backoff

ANSWERS_TO_BE_BACK: Final = 3


class FixedBackoff(Backoff):
    """What most clients have: a wait and a patience that never grow."""

    def failed(self, *, timed_out: bool) -> None:
        """Take a time-out for an ordinary failure."""
        super().failed(timed_out=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A fleet, and the server that it comes back to.

    Attributes:
        keepers: how many processes.
        requests_per_s: what the server can do.
        ttl_s: the time to live of a record.
        drops_abandoned: whether the server skips requests whose sender has given up.
        policy: the pace of the keepers.
        give_up_s: when to stop simulating.
    """

    keepers: int = 100_000
    requests_per_s: float = 10_000.0
    ttl_s: float = 36.0
    drops_abandoned: bool = True
    policy: type[Backoff] = Backoff
    give_up_s: float = 600.0

    @property
    def work_s(self) -> float:
        """The seconds that the server needs for the answers alone."""
        return self.keepers * ANSWERS_TO_BE_BACK / self.requests_per_s


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it went.

    Attributes:
        back: the share of the fleet that was back in the end.
        seconds: from the server's first answer until the last one was back, or the end.
    """

    back: float
    seconds: float


class Server:
    """Serves one request after another, at a fixed rate."""

    def __init__(self, scenario: Scenario) -> None:
        self._service_s = 1.0 / scenario.requests_per_s
        self._drops = scenario.drops_abandoned
        self._free_at = 0.0

    def answered_at(self, arrival: float, patience_s: float) -> float | None:
        """Return when the request is answered; None if its sender has given up by then."""
        begins = max(self._free_at, arrival)
        if self._drops and begins > arrival + patience_s:
            return None
        self._free_at = begins + self._service_s
        return self._free_at if self._free_at <= arrival + patience_s else None


def come_back(scenario: Scenario, seed: int = 0) -> Outcome:
    """Simulate the return of the fleet from the server's first answer on."""
    rng = random.Random(seed)  # noqa: S311 - a simulation that can be repeated
    server = Server(scenario)
    paces = [scenario.policy(scenario.ttl_s, rng) for _ in range(scenario.keepers)]
    answers = [0] * scenario.keepers
    missing = scenario.keepers
    arrivals = []
    for keeper, pace in enumerate(paces):
        for _ in range(3):  # the outage was long: everybody waits up to an interval by now
            pace.failed(timed_out=False)
        arrivals.append((pace.wait_s(0.0), keeper))
    heapq.heapify(arrivals)
    now = 0.0
    while missing and now < scenario.give_up_s:
        now, keeper = arrivals[0]
        pace = paces[keeper]
        answered_at = server.answered_at(now, pace.patience_s)
        if answered_at is None:
            at = now + pace.patience_s
            pace.failed(timed_out=True)
            following = at + pace.wait_s(at)
        else:
            answers[keeper] += 1
            pace.heard(answered_at)
            missing -= answers[keeper] == ANSWERS_TO_BE_BACK
            in_round = answers[keeper] < ANSWERS_TO_BE_BACK
            if not in_round:
                pace.completed()
            following = answered_at + (0.0 if in_round else pace.wait_s(answered_at))
        heapq.heapreplace(arrivals, (following, keeper))
    return Outcome(1.0 - missing / scenario.keepers, now)


def table(keepers: int) -> Iterator[str]:
    """Yield the lines of the table; raise SystemExit if the real policy leaves somebody behind."""
    base = Scenario(keepers=keepers, requests_per_s=keepers / 10.0)
    yield (
        f"{keepers} keepers, ttl {base.ttl_s:g} s, {base.requests_per_s:g} requests/s; "
        f"the answers alone take {base.work_s:g} s"
    )
    yield f"{'policy':10}{'server':32}{'back':>8}{'after':>14}"
    for policy, name in ((Backoff, "enlist"), (FixedBackoff, "fixed")):
        for drops, server in ((True, "drops abandoned requests"), (False, "answers them all")):
            outcome = come_back(replace(base, policy=policy, drops_abandoned=drops))
            after = (
                f"{outcome.seconds:.0f} s"
                if outcome.back == 1.0
                else f"not in {base.give_up_s:g} s"
            )
            yield f"{name:10}{server:32}{outcome.back:>8.1%}{after:>14}"
            if policy is Backoff and outcome.back < 1.0:
                raise SystemExit("the policy left a part of the fleet behind")


def main() -> None:
    """Print the table line by line; 100,000 keepers take some minutes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keepers", type=int, default=100_000, help="default: 100000")
    for line in table(parser.parse_args().keepers):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
