"""The ZooKeeper plugin beside bare kazoo, on a real ZooKeeper."""

from __future__ import annotations

import contextlib
import datetime as dt
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from enlist import Info, open_registry
from enlist_zookeeper.records import Paths, encode
from tests.bench.bench import Bench
from tests.bench.figures import Estimate
from tests.bench.holder import SERVICE, Holder, add_steady_rows
from tests.bench.measuring import Arrivals, program, timed
from tests.bench.plain_plugin import deregister_each, info, infos, register_each
from tests.bench.returning import add_return, empty_restart, seconds_until
from tests.bench.taps import ZooKeeperTap
from tests.servers.proxy import Proxy
from tests.servers.zookeeper import ZooKeeperServer
from tests.waiting import eventually

if TYPE_CHECKING:
    from kazoo.client import KazooClient

CALL_LIMIT: Final = 1.25
BULK_TIMES: Final = 2.0
WATCH_LIMIT: Final = 1.25
WATCH_TIMES: Final = 5.0
MOST_BEATS: Final = 7
"""That begin within six intervals, each of which may be shorter by a tenth."""

LONG: Final = dt.timedelta(seconds=60)
"""For one call with thousands of registrations."""

_FEW: Final = 10
_MANY: Final = 10_000
_CREATES: Final = 300
_COUNTED: Final = 100
_TRIALS: Final = 2
_CALL_S: Final = 30.0
_OWNER: Final = "0123456789abcdef" * 2
_OF_THE_KEEPER: Final = ("getEphemerals", "ping", "connect")


def run(bench: Bench) -> None:
    """Measure everything here."""
    with ZooKeeperServer() as server:
        opening(bench, server)
        with connected(server.endpoint) as raw:
            calls(bench, server, raw)
            propagation(bench, server, raw, _FEW, at_most=WATCH_LIMIT)
            propagation(bench, server, raw, bench.size(1_000), times_faster=WATCH_TIMES)
            bulk(bench, server, raw)
        round_trips(bench, server)
        held(bench, server)
        back_after_expiry(bench, server)
        back_after_loss(bench, server)


def url(endpoint: str) -> str:
    """Return what users would type."""
    return f"zookeeper://{endpoint}"


@contextlib.contextmanager
def connected(endpoint: str) -> Iterator[KazooClient]:
    """Give a bare kazoo client with a long session."""
    from kazoo.client import KazooClient

    client = KazooClient(hosts=endpoint, timeout=30.0)
    client.start(timeout=_CALL_S)
    try:
        yield client
    finally:
        client.stop()
        client.close()


def create(raw: KazooClient, one: Info) -> None:
    """Create the node that the plugin creates."""
    raw.create(Paths("").of(one), encode(one, _OWNER), ephemeral=True)


def delete(raw: KazooClient, one: Info) -> None:
    """Delete the node of an Info."""
    raw.delete(Paths("").of(one))


def opening(bench: Bench, server: ZooKeeperServer) -> None:
    """Open the plugin up to its first answer, beside importing kazoo."""
    use = f"registry = enlist.open_registry({url(server.endpoint)!r})\nregistry.probe()"
    bench.compare(
        "open and probe / import kazoo.client (enlist is imported)",
        program(use, before="import enlist", after="registry.close()"),
        program("import kazoo.client", before="import enlist"),
    )


def calls(bench: Bench, server: ZooKeeperServer, raw: KazooClient) -> None:
    """Register and deregister, in time."""
    with open_registry(url(server.endpoint)) as registry:
        registry.register(info("bench-ours", -1_000))
        raw.ensure_path("/bench-raws")
        bench.compare(
            "register() / kazoo's create",
            timed(lambda number: registry.register(info("bench-ours", number))),
            timed(lambda number: create(raw, info("bench-raws", number))),
            pairs=bench.size(1_000),
            at_most=CALL_LIMIT,
        )
        bench.compare(
            "deregister() / kazoo's delete",
            timed(lambda number: registry.deregister(info("bench-ours", number))),
            timed(lambda number: delete(raw, info("bench-raws", number))),
            pairs=bench.size(1_000),
        )


def round_trips(bench: Bench, server: ZooKeeperServer) -> None:
    """Register and deregister, in requests on the wire."""
    tap = ZooKeeperTap()
    counted = infos("bench-counted", bench.size(_COUNTED))
    with Proxy(server.endpoint, tap=tap) as proxy, open_registry(url(proxy.endpoint)) as registry:
        registry.register(info("bench-counted", -1))
        for name, act, limit in (
            ("register", register_each, 1),
            ("deregister", deregister_each, None),
        ):
            before = tap.counts.copy()
            act(registry, counted)
            taken = tap.counts - before
            trips = sum(taken[kind] for kind in taken if kind not in _OF_THE_KEEPER)
            figure = Estimate.exact(trips / len(counted), len(counted))
            bench.add(f"{name}(): requests", figure, at_most=limit, note=text_of(taken))


def text_of(counts: Counter[str]) -> str:
    """Return how many there were of each kind."""
    return ", ".join(f"{kind} {number}" for kind, number in sorted(counts.items()))


def propagation(
    bench: Bench,
    server: ZooKeeperServer,
    raw: KazooClient,
    present: int,
    *,
    at_most: float | None = None,
    times_faster: float | None = None,
) -> None:
    """A create until a callback: ours, and that of a ChildrenWatch that reads.

    Args:
        bench: takes the row.
        server: holds the nodes.
        raw: makes the changes.
        present: how many instances there are before.
        at_most: the limit beside one that reads new children alone.
        times_faster: how many times faster we are to be than one that reads all after each change.
    """
    rereads = times_faster is not None
    with contextlib.ExitStack() as stack:
        ours, theirs = Arrivals(), Arrivals()
        for name in ("bench-seen", "bench-read"):
            raw.ensure_path(f"/{name}")
            for one in infos(name, present):
                create(raw, one)
                stack.callback(delete, raw, one)
        watcher = stack.enter_context(connected(server.endpoint))
        end = watch_reading(watcher, "/bench-read", theirs.note, rereads=rereads)
        registry = stack.enter_context(open_registry(url(server.endpoint)))
        resolver = stack.enter_context(registry.resolver("bench-seen"))
        resolver.wait_for(present)
        resolver.on_change(ours.note)

        def measuring(arrivals: Arrivals, service_name: str) -> Callable[[int], float]:
            def measure(number: int) -> float:
                one = info(service_name, present + 100 + number)
                seconds = arrivals.seconds(lambda: create(raw, one))
                arrivals.seconds(lambda: delete(raw, one))
                return seconds

            return measure

        bench.compare(
            f"change to callback, {present} instances / ChildrenWatch, reading "
            + ("all" if rereads else "the new one"),
            measuring(ours, "bench-seen"),
            measuring(theirs, "bench-read"),
            pairs=bench.size(200) if present == _FEW else 0,
            at_most=at_most,
            times_faster=times_faster,
        )
        end()


def watch_reading(
    client: KazooClient, folder: str, note: Callable[[object], object], *, rereads: bool
) -> Callable[[], None]:
    """Read new children on every change, or all, many at once; return what ends it."""
    ended = False
    known: set[str] = set()

    def changed(children: list[str]) -> bool:
        nonlocal known
        if ended:
            return False
        wanted = children if rereads else set(children) - known
        known = set(children)
        asked = [client.get_async(f"{folder}/{child}") for child in wanted]
        note([each.get(timeout=_CALL_S) for each in asked])
        return True

    client.ChildrenWatch(folder, changed)

    def end() -> None:
        nonlocal ended
        ended = True

    return end


def bulk(bench: Bench, server: ZooKeeperServer, raw: KazooClient) -> None:
    """Many at once, beside one create after another; the time for each counts."""
    many = infos("bench-bulk", bench.size(_MANY))
    raw.ensure_path("/bench-one")

    def ours(_: int) -> float:
        with open_registry(url(server.endpoint), timeout=LONG) as registry:
            registry.register(info("bench-bulk", -1))
            seconds = timed(lambda _: registry.register_all(many))(0)
        return seconds / len(many)

    def theirs(number: int) -> float:
        times = bench.size(_CREATES)
        seconds = timed(lambda number: create(raw, info("bench-one", number)), times)(number)
        for each in range(number * times, (number + 1) * times):
            delete(raw, info("bench-one", each))
        return seconds

    bench.compare(
        "register_all() of 10,000, for each / create after create",
        ours,
        theirs,
        times_faster=BULK_TIMES,
    )


def held(bench: Bench, server: ZooKeeperServer) -> None:
    """Hold many while nothing happens."""
    tap = ZooKeeperTap()
    with (
        Proxy(server.endpoint, tap=tap) as proxy,
        Holder(url(proxy.endpoint), bench.size(_MANY)) as holder,
    ):
        taken = add_steady_rows(bench, holder, at_most_percent=None, count=tap.counts.copy)
    pings = taken.pop("ping", 0)
    bench.add(
        f"{holder.count} held: requests in six intervals, but for pings",
        Estimate.exact(taken.total()),
        at_most=MOST_BEATS,
        note=f"{text_of(taken)}; pings: {pings}",
    )


def back_after_expiry(bench: Bench, server: ZooKeeperServer) -> None:
    """End the session behind the client's back, and see when all is back."""
    seconds: list[float] = []
    many = bench.size(_MANY)
    for _ in range(1 if bench.is_smoke else _TRIALS):
        tap = ZooKeeperTap()
        with (
            Proxy(server.endpoint, tap=tap) as proxy,
            Holder(url(proxy.endpoint), many) as holder,
            connected(server.endpoint) as raw,
        ):
            bench.progress("session expiry")
            # Kept out until it is over: its client would take the connection of its session back.
            proxy.refuse()
            server.expire(*tap.sessions[-1])
            expired_s = time.monotonic()
            eventually(partial(is_empty, raw), why="the session's nodes are gone")
            proxy.restore()
            back = partial(children, raw)
            seconds.append(seconds_until(back, many, since_s=expired_s))
            add_exactness(bench, "session expiry", raw, holder)
    add_return(bench, f"{many} after session expiry", seconds)


def back_after_loss(bench: Bench, server: ZooKeeperServer) -> None:
    """Kill ZooKeeper, start it empty, and see when all is back."""
    seconds: list[float] = []
    used: list[float] = []
    many = bench.size(_MANY)
    for _ in range(1 if bench.is_smoke else _TRIALS):
        with Holder(url(server.endpoint), many) as holder:
            used.append(100 * empty_restart(bench, server, holder))
            with connected(server.endpoint) as raw:
                seconds.append(seconds_until(partial(children, raw), many))
                add_exactness(bench, "empty restart", raw, holder)
    add_return(bench, f"{many} after kill -9 and empty data", seconds)
    bench.add("processor use while ZooKeeper is away", Estimate.exact(max(used)), unit="%")


def add_exactness(bench: Bench, what: str, raw: KazooClient, holder: Holder) -> None:
    """Add the row for what is missing or there twice."""
    bench.progress(f"back: {holder.states()}")
    nodes: list[Any] = raw.get_children(f"/{SERVICE}")
    difference = abs(len(nodes) - holder.count)
    bench.add(f"after {what}: missing or too many", Estimate.exact(difference), at_most=0)


def is_empty(raw: KazooClient) -> bool:
    """Return whether none of what is held is there."""
    return children(raw) == 0


def children(raw: KazooClient) -> int:
    """Return how many records of what is held there are."""
    stat = raw.exists(f"/{SERVICE}")
    return 0 if stat is None else int(stat.numChildren)
