"""The etcd plugin beside raw gRPC calls, on a real etcd."""

import contextlib
import datetime as dt
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from enlist import open_registry
from tests.bench.bench import Bench
from tests.bench.figures import Estimate
from tests.bench.holder import SERVICE, Holder, add_steady_rows
from tests.bench.measuring import Arrivals, program, timed
from tests.bench.plain_plugin import deregister_each, info, infos, register_each
from tests.bench.raw_etcd import OWNER, RawEtcd, calls_so_far, keys_below
from tests.bench.returning import add_return, empty_restart, seconds_until
from tests.servers.etcd import EtcdServer

CALL_LIMIT: Final = 1.25
BULK_TIMES: Final = 10.0
HELD_CPU_PERCENT: Final = 1.0
AWAY_CPU_PERCENT: Final = 2.0
WATCH_LIMIT: Final = 1.25
OPENING_LIMIT: Final = 1.25
MOST_BEATS: Final = 7
"""That begin within six intervals, each of which may be shorter by a tenth."""

LONG: Final = dt.timedelta(seconds=60)
"""For one call with thousands of registrations."""

_MANY: Final = 10_000
_PUTS: Final = 300
_COUNTED: Final = 100
_PRESENT: Final = 10
_TRIALS: Final = 2
_LONG_TTL: Final = dt.timedelta(minutes=10)
_BEATS: Final = ("LeaseKeepAlive", "LeaseTimeToLive")


def run(bench: Bench) -> None:
    """Measure everything here."""
    with EtcdServer() as server:
        opening(bench, server)
        with RawEtcd(server.endpoint) as raw:
            calls(bench, server, raw)
            propagation(bench, server, raw)
            bulk(bench, server, raw)
        held(bench, server)
        back(bench, server)


def url(server: EtcdServer) -> str:
    """Return what users would type."""
    return f"etcd://{server.endpoint}"


def opening(bench: Bench, server: EtcdServer) -> None:
    """Open the plugin, beside importing what it stands on.

    The plugin alone is judged, ready for its first call. That call costs a connection, whoever
    makes it; and what the core adds, the look through the entry points of all that is installed
    above all, is the same for every backend and grows with the environment.
    """
    libraries = (
        "import grpc\nfrom google.protobuf import descriptor_pb2, descriptor_pool, message_factory"
    )
    plugin = (
        "from enlist_etcd.options import EtcdOptions\n"
        "from enlist_etcd.plugin import EtcdRegistry\n"
        f"options = EtcdOptions(endpoints=parse_hosts({server.endpoint!r}))\n"
        f"plugin = EtcdRegistry(options, {OWNER!r})\n"
    )
    core = "import enlist\nfrom enlist.backend_options import parse_hosts"
    bench.compare(
        "import and open the plugin / import grpc and protobuf",
        # By itself it would load them with its first call.
        program(f"{libraries}\n{plugin}plugin._open()", before=core, after="plugin.close(10.0)"),
        program(libraries, before=core),
        at_most=OPENING_LIMIT,
    )
    bench.compare(
        "the same and a first answer / import grpc and protobuf",
        program(f"{plugin}plugin.probe(10.0)", before=core, after="plugin.close(10.0)"),
        program(libraries, before=core),
    )
    use = f"registry = enlist.open_registry({url(server)!r})\nregistry.probe()"
    close = "registry.close()"
    bench.compare(
        "open_registry() by name, probe / import grpc and protobuf",
        program(use, before="import enlist", after=close),
        program(libraries, before="import enlist"),
    )
    bench.compare(
        "import enlist, the same / import grpc and protobuf",
        program(f"import enlist\n{use}", after=close),
        program(libraries),
    )


def calls(bench: Bench, server: EtcdServer, raw: RawEtcd) -> None:
    """Register and deregister, in time and in round trips."""
    # A beat amid deregistrations reads what it misses, which is no part of them: none is due.
    with open_registry(url(server), ttl=_LONG_TTL) as registry:
        registry.register(info("bench-first", 0))
        bench.compare(
            "register() / raw put",
            timed(lambda number: registry.register(info("bench-ours", number))),
            timed(lambda number: raw.put(info("bench-raws", number))),
            pairs=bench.size(1_000),
            at_most=CALL_LIMIT,
        )
        bench.compare(
            "deregister() / the same raw transaction",
            timed(lambda number: registry.deregister(info("bench-ours", number))),
            timed(lambda number: raw.remove(info("bench-raws", number))),
            pairs=bench.size(1_000),
            at_most=CALL_LIMIT,
        )
        counted = infos("bench-counted", bench.size(_COUNTED))
        taken = count(server, lambda: register_each(registry, counted))
        add_round_trips(bench, "register", taken, len(counted))
        taken = count(server, lambda: deregister_each(registry, counted))
        add_round_trips(bench, "deregister", taken, len(counted))


def add_round_trips(bench: Bench, name: str, taken: Counter[str], calls_made: int) -> None:
    """Add the row for what one call costs; the keeper's own beats are shown apart."""
    trips = sum(taken[method] for method in taken if method not in _BEATS)
    note = ", ".join(f"{method} {number}" for method, number in sorted(taken.items()))
    figure = Estimate.exact(trips / calls_made, calls_made)
    bench.add(f"{name}(): round trips", figure, at_most=1, note=note)


def count(server: EtcdServer, act: Callable[[], object]) -> Counter[str]:
    """Return the calls that etcd took meanwhile, by their methods."""
    before = calls_so_far(server.port)
    act()
    return calls_so_far(server.port) - before


def propagation(bench: Bench, server: EtcdServer, raw: RawEtcd) -> None:
    """A raw put until a callback: ours, and that of a raw watch."""
    ours, theirs = Arrivals(), Arrivals()
    with contextlib.ExitStack() as stack:
        for number in range(_PRESENT):
            raw.put(info("bench-seen", number))
            raw.put(info("bench-read", number))
        registry = stack.enter_context(open_registry(url(server)))
        resolver = stack.enter_context(registry.resolver("bench-seen"))
        resolver.wait_for(_PRESENT)
        resolver.on_change(ours.note)
        stack.callback(raw.watch("bench-read", theirs.note))

        def change(service_name: str, number: int) -> Callable[[], None]:
            return lambda: raw.put(replace(info(service_name, 0), weight=100 + number))

        bench.compare(
            f"change to callback, {_PRESENT} instances / raw watch stream",
            lambda number: ours.seconds(change("bench-seen", number)),
            lambda number: theirs.seconds(change("bench-read", number)),
            pairs=bench.size(500),
            at_most=WATCH_LIMIT,
        )


def bulk(bench: Bench, server: EtcdServer, raw: RawEtcd) -> None:
    """Many at once, beside one raw put after another; the time for each counts."""
    many = infos("bench-bulk", bench.size(_MANY))

    def ours(_: int) -> float:
        with open_registry(url(server)) as registry:
            registry.register(info("bench-first", 0))
            seconds = timed(lambda _: registry.register_all(many, timeout=LONG))(0)
        return seconds / len(many)

    bench.compare(
        "register_all() of 10,000, for each / raw put after put",
        ours,
        timed(lambda number: raw.put(info("bench-one", number)), bench.size(_PUTS)),
        times_faster=BULK_TIMES,
    )


def held(bench: Bench, server: EtcdServer) -> None:
    """Hold many while nothing happens."""
    with Holder(url(server), bench.size(_MANY)) as holder:
        taken = add_steady_rows(
            bench,
            holder,
            at_most_percent=HELD_CPU_PERCENT,
            count=lambda: calls_so_far(server.port),
        )
    for method in _BEATS:
        bench.add(
            f"{holder.count} held: {method} in six intervals",
            Estimate.exact(taken.pop(method, 0)),
            at_most=MOST_BEATS,
        )
    bench.add(f"{holder.count} held: other calls", Estimate.exact(taken.total()), at_most=0)


def back(bench: Bench, server: EtcdServer) -> None:
    """Kill etcd, start it empty, and see when all is back."""
    seconds, used = [], []
    for _ in range(1 if bench.is_smoke else _TRIALS):
        with Holder(url(server), bench.size(_MANY)) as holder:
            used.append(100 * empty_restart(bench, server, holder))
            seconds.append(seconds_until(lambda: keys_below(server.port, SERVICE), holder.count))
            bench.progress(f"back after {seconds[-1]:.2g} s: {holder.states()}")
    add_return(bench, f"{bench.size(_MANY)} after kill -9 and empty data", seconds)
    bench.add(
        "processor use while etcd is away",
        Estimate.exact(max(used), len(used)),
        unit="%",
        at_most=AWAY_CPU_PERCENT,
    )
