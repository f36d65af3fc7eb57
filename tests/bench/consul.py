"""The Consul plugin beside raw PUTs on a kept connection, on a real Consul."""

import contextlib
import datetime as dt
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Final

from enlist import Info, open_registry
from enlist_consul.options import ConsulOptions
from enlist_consul.plugin import ConsulRegistry
from tests.bench.bench import Bench
from tests.bench.figures import Estimate, ratio
from tests.bench.holder import (
    INTERVAL_S,
    SERVICE,
    STEADY_INTERVALS,
    Holder,
    add_steady_rows,
)
from tests.bench.measuring import Arrivals, program, timed
from tests.bench.plain_plugin import deregister_each, hooks_of, info, infos, register_each
from tests.bench.raw_consul import OWNER, RawConsul
from tests.bench.returning import seconds_until
from tests.bench.taps import HttpTap
from tests.servers.consul import ConsulServer
from tests.servers.proxy import Proxy
from tests.waiting import eventually

CALL_LIMIT: Final = 1.25
HELD_CPU_PERCENT: Final = 8.0
WATCH_LIMIT: Final = 1.25
RETURN_TIMES: Final = 0.8

_MANY: Final = 1_000
_COUNTED: Final = 100
_BEATEN: Final = 100
_PRESENT: Final = 10
# Slower than the plugin's allowance of ten lists a second, which more changes share.
_APART_S: Final = 0.15
_CALL_S: Final = 10.0
_LONG_TTL: Final = dt.timedelta(seconds=600)
_BEAT: Final = "PUT /v1/agent/check/pass"


def run(bench: Bench) -> None:
    """Measure everything here."""
    with ConsulServer() as server:
        opening(bench, server)
        calls(bench, server)
        round_trips(bench, server)
        beats(bench, server)
        propagation(bench, server)
        held(bench, server)
        back(bench, server)


def url(endpoint: str, ttl: dt.timedelta | None = None) -> str:
    """Return what users would type."""
    return f"consul://{endpoint}" + ("" if ttl is None else f"?ttl={ttl.total_seconds():g}")


@contextlib.contextmanager
def connected(server: ConsulServer) -> Iterator[RawConsul]:
    """Give a raw client whose records need no sign of life for long."""
    raw = RawConsul(server.port, ConsulOptions(address=server.endpoint, ttl=_LONG_TTL))
    try:
        yield raw
    finally:
        raw.close()


def opening(bench: Bench, server: ConsulServer) -> None:
    """Open the plugin up to its first answer, beside importing urllib3."""
    use = f"registry = enlist.open_registry({url(server.endpoint)!r})\nregistry.probe()"
    bench.compare(
        "open and probe / import urllib3 (enlist is imported)",
        program(use, before="import enlist", after="registry.close()"),
        program("import urllib3", before="import enlist"),
    )


def calls(bench: Bench, server: ConsulServer) -> None:
    """Register and deregister, in time."""
    with connected(server) as raw, open_registry(url(server.endpoint, _LONG_TTL)) as registry:
        registry.register(info("bench-ours", -1_000))
        bench.compare(
            "register() / raw PUT",
            timed(lambda number: registry.register(info("bench-ours", number))),
            timed(lambda number: raw.put(info("bench-raws", number))),
            pairs=bench.size(200),
            at_most=CALL_LIMIT,
        )
        bench.compare(
            "register() again / raw PUT again",
            timed(lambda number: registry.register(weighted("bench-ours", number))),
            timed(lambda number: raw.put(weighted("bench-raws", number))),
            pairs=bench.size(200),
            at_most=CALL_LIMIT,
        )
        bench.compare(
            "deregister() / raw PUT",
            timed(lambda number: registry.deregister(info("bench-ours", number))),
            timed(lambda number: raw.remove(info("bench-raws", number))),
            pairs=bench.size(200),
        )


def weighted(service_name: str, number: int) -> Info:
    """Return another Info of the same identity."""
    return replace(info(service_name, number), weight=20)


def round_trips(bench: Bench, server: ConsulServer) -> None:
    """Register and deregister, in requests on the wire."""
    tap = HttpTap()
    counted = infos("bench-counted", bench.size(_COUNTED))
    with (
        Proxy(server.endpoint, tap=tap) as proxy,
        open_registry(url(proxy.endpoint, _LONG_TTL)) as registry,
    ):
        registry.register(info("bench-counted", -1))
        # The keeper's first round follows at once, the next one long after this is over.
        eventually(lambda: tap.counts[_BEAT], why="the first one was beaten")
        before = tap.counts.copy()
        register_each(registry, counted)
        taken = tap.counts - before
        requests = Estimate.exact(taken.total() / len(counted))
        bench.add("register(): requests", requests, at_most=1, note=text_of(taken))
        before = tap.counts.copy()
        deregister_each(registry, counted)
        taken = tap.counts - before
        requests = Estimate.exact(taken.total() / len(counted))
        bench.add("deregister(): requests", requests, note=text_of(taken))


def text_of(counts: Counter[str]) -> str:
    """Return how many there were of each kind."""
    return ", ".join(f"{kind} {number}" for kind, number in sorted(counts.items()))


def beats(bench: Bench, server: ConsulServer) -> None:
    """Signs of life for many, for each, beside a raw PUT for each after another."""
    many = infos("bench-beat", bench.size(_BEATEN))
    options = ConsulOptions(address=server.endpoint, ttl=_LONG_TTL)
    hook = hooks_of(ConsulRegistry(options, OWNER))
    with connected(server) as raw, contextlib.ExitStack() as stack:
        stack.callback(hook.close, timeout_s=_CALL_S)
        for each in many:
            hook.register(info=each, timeout_s=_CALL_S)
        beat_all = timed(lambda _: hook.keep_alive(infos=many, timeout_s=_CALL_S))
        bench.compare(
            "keep_alive() of 100, for each / raw PUT of a beat",
            lambda number: beat_all(number) / len(many),
            timed(lambda number: raw.beat(many[number % len(many)]), len(many)),
            at_most=CALL_LIMIT,
        )


def propagation(bench: Bench, server: ConsulServer) -> None:
    """A raw PUT until a callback: ours, and that of a raw blocking query."""
    with contextlib.ExitStack() as stack:
        raw = stack.enter_context(connected(server))
        ours, theirs = Arrivals(), Arrivals()
        for name in ("bench-seen", "bench-read"):
            for one in infos(name, _PRESENT):
                raw.put(one)
                stack.callback(raw.remove, one)
        registry = stack.enter_context(open_registry(url(server.endpoint)))
        resolver = stack.enter_context(registry.resolver("bench-seen"))
        resolver.wait_for(_PRESENT)
        resolver.on_change(ours.note)

        def change(service_name: str, number: int) -> Callable[[], None]:
            return lambda: raw.put(replace(info(service_name, 0), weight=100 + number))

        def spaced(arrivals: Arrivals, service_name: str) -> Callable[[int], float]:
            def measure(number: int) -> float:
                time.sleep(bench.seconds(_APART_S))
                return arrivals.seconds(change(service_name, number))

            return measure

        end = raw.watch("bench-read", theirs.note)
        stack.callback(end, change("bench-read", -50))
        bench.compare(
            f"change to callback, {_PRESENT} instances / raw blocking query",
            spaced(ours, "bench-seen"),
            spaced(theirs, "bench-read"),
            pairs=bench.size(100),
            at_most=WATCH_LIMIT,
        )


def held(bench: Bench, server: ConsulServer) -> None:
    """Hold many while nothing happens, and count what some of them send."""
    with Holder(url(server.endpoint), bench.size(_MANY)) as holder, connected(server) as raw:
        add_steady_rows(bench, holder, at_most_percent=HELD_CPU_PERCENT)
        lost = Estimate.exact(holder.count - raw.passing(SERVICE))
        note = str(holder.states())
    bench.add(f"{holder.count} held: not seen by readers", lost, at_most=0, note=note)
    tap = HttpTap()
    with (
        Proxy(server.endpoint, tap=tap) as proxy,
        Holder(url(proxy.endpoint), bench.size(_COUNTED)) as holder,
    ):
        before = tap.counts.copy()
        bench.progress("count the requests of six intervals")
        time.sleep(bench.seconds(STEADY_INTERVALS * INTERVAL_S))  # they are what is counted
        taken = tap.counts - before
    per_interval = Estimate.exact(taken.total() / STEADY_INTERVALS)
    bench.add(f"{holder.count} held: requests an interval", per_interval, note=text_of(taken))


def back(bench: Bench, server: ConsulServer) -> None:
    """Kill the agent, start it empty, and see how fast all goes in, beside raw PUTs.

    The other side is an agent of its own, started empty as often. What counts is the time from
    the first record to the last, with all pauses between them.
    """
    ours: list[float] = []
    theirs: list[float] = []
    waits: list[float] = []
    many = bench.size(_MANY)
    with (
        ConsulServer("consul-raw") as other,
        Holder(url(server.endpoint), many) as holder,
    ):
        for number in range(bench.pairs()):
            start_empty(server)
            waited_s, took_s = returned(server, many)
            waits.append(waited_s + took_s)
            ours.append(took_s / many)
            start_empty(other)
            with connected(other) as raw:
                theirs.append(timed(partial(_put, raw), many)(0))
            bench.progress(f"trial {number}: {took_s:.2g} s, raw {theirs[-1] * many:.2g} s")
        states = holder.states()
    note = f"{1 / statistics.median(ours):.0f} to {1 / statistics.median(theirs):.0f} a second"
    bench.add(
        f"{many} after kill -9 and empty data: rate / raw PUT after PUT",
        ratio(theirs, ours),
        at_least=RETURN_TIMES,
        note=note,
    )
    worst = Estimate.exact(max(waits), len(waits))
    bench.add(f"{many} after kill -9 and empty data: all back", worst, unit="s", note=str(states))


def start_empty(server: ConsulServer) -> None:
    """Kill an agent and start it with nothing; it has just given its first answer."""
    server.kill()
    server.wipe()
    server.start()


def returned(server: ConsulServer, many: int) -> tuple[float, float]:
    """Return the seconds until the first is back, and those from then until all are."""
    first, last = info(SERVICE, 0), info(SERVICE, many - 1)
    begin = time.monotonic()
    with connected(server) as raw:
        seconds_until(lambda: raw.has(first), 1)
        first_at = time.monotonic()
        # To list all is dear, so it is done only once there is a chance.
        seconds_until(lambda: raw.has(last), 1)
        seconds_until(raw.services, many + 1)
    return first_at - begin, time.monotonic() - first_at


def _put(raw: RawConsul, number: int) -> None:
    raw.put(info(SERVICE, number))
