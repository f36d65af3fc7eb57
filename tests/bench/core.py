"""The core alone: what importing it, calling through it and picking cost."""

import contextlib
import datetime as dt
import random
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from enlist import AnyRegistry, open_registry
from tests.bench.bench import Bench
from tests.bench.holder import Holder, add_steady_rows
from tests.bench.measuring import Arrivals, program, timed
from tests.bench.plain_plugin import PlainOptions, PlainRegistry, hooks_of, info, infos

IMPORT_LIMIT: Final = 1.5
CALL_LIMIT: Final = 10.0
PICK_LIMIT: Final = 1.5
CHOICE_LIMIT: Final = 3.0
HELD_CPU_PERCENT: Final = 2.0

_CALLS: Final = 2_000
_PICKS: Final = 5_000
_HELD: Final = 10_000


def run(bench: Bench) -> None:
    """Measure everything here."""
    imports(bench)
    calls(bench)
    picks(bench)
    local_calls(bench)
    local_held(bench)


def imports(bench: Bench) -> None:
    """Import what users import, beside what it cannot do without."""
    bench.compare(
        "import enlist / pluggy, dataclasses, importlib.metadata",
        program("import enlist"),
        program("import pluggy, dataclasses, importlib.metadata"),
        at_most=IMPORT_LIMIT,
    )
    # What the import leaves for later comes with the first registry that is opened by name.
    bench.compare(
        "import and open local by name / the same three",
        program(
            "import enlist\nregistry = enlist.open_registry('local')", after="registry.close()"
        ),
        program("import pluggy, dataclasses, importlib.metadata"),
    )


def calls(bench: Bench) -> None:
    """Call through the facade, where nothing is sent, beside a bare call of the same hook."""
    times = bench.size(_CALLS)
    hook = hooks_of(PlainRegistry(PlainOptions(), ""))
    mine = info("bench", 1)
    with open_registry(PlainRegistry) as registry:
        registry.register(mine)
        bench.compare(
            "register() that sends nothing / empty pluggy call",
            timed(lambda _: registry.register(mine), times),
            timed(lambda _: hook.register(info=mine, timeout_s=3.0), times),
            at_most=CALL_LIMIT,
        )
        bench.compare(
            "resolve() that asks nobody / empty pluggy call",
            timed(lambda _: registry.resolve("bench"), times),
            timed(lambda _: hook.resolve(service_name="bench", timeout_s=3.0), times),
            at_most=CALL_LIMIT,
        )


def picks(bench: Bench) -> None:
    """Pick from few and from many."""
    times = bench.size(_PICKS)
    with contextlib.ExitStack() as stack:
        registry = stack.enter_context(open_registry(PlainRegistry))

        def picking(count: int) -> Callable[[int], float]:
            resolver = stack.enter_context(registry.resolver(str(count)))
            resolver.wait_for(count, timeout=dt.timedelta(seconds=60))
            return timed(lambda _: resolver.pick(), times)

        few, some, many = map(picking, (10, 1_000, 10_000))
        everybody = infos("choice", 10_000)
        bench.compare("pick() of 1,000 / of 10", some, few, at_most=PICK_LIMIT)
        bench.compare("pick() of 10,000 / of 10", many, few, at_most=PICK_LIMIT)
        bench.compare(
            "pick() of 10,000 / random.choice of 10,000",
            many,
            timed(lambda _: random.choice(everybody), times),  # noqa: S311 - what we compare with
            at_most=CHOICE_LIMIT,
        )


def local_calls(bench: Bench) -> None:
    """Register, propagate and deregister on ``local``, beside a bare upsert into SQLite."""
    with (
        tempfile.TemporaryDirectory(prefix="enlist-bench-") as folder,
        contextlib.ExitStack() as stack,
    ):
        registry = stack.enter_context(open_registry(f"local:{folder}/registry"))
        upsert = _upsert(stack, Path(folder) / "bare")
        beside = timed(upsert)
        bench.compare(
            "local register() / bare SQLite upsert",
            timed(lambda number: registry.register(info("calls", number))),
            beside,
            pairs=200,
        )
        bench.compare(
            "local deregister() / bare SQLite upsert",
            timed(lambda number: registry.deregister(info("calls", number))),
            beside,
            pairs=200,
        )
        other = stack.enter_context(open_registry(f"local:{folder}/registry"))
        bench.compare(
            "local register() to callback / bare SQLite upsert",
            propagation(stack, registry, other),
            beside,
        )


def propagation(
    stack: contextlib.ExitStack, registry: AnyRegistry, other: AnyRegistry
) -> Callable[[int], float]:
    """Return what measures a register() until another registry's callback has heard of it."""
    arrivals = Arrivals()
    resolver = stack.enter_context(other.resolver("propagation"))
    resolver.wait_for(0)
    resolver.on_change(arrivals.note)
    return lambda number: arrivals.seconds(lambda: registry.register(info("propagation", number)))


def local_held(bench: Bench) -> None:
    """Hold many registrations on ``local`` for some intervals."""
    with tempfile.TemporaryDirectory(prefix="enlist-bench-") as folder:
        bench.progress("hold 10,000 on local")
        with Holder(f"local:{folder}/registry", bench.size(_HELD)) as holder:
            add_steady_rows(
                bench, holder, at_most_percent=HELD_CPU_PERCENT, threads_as_with_one=True
            )


def _upsert(stack: contextlib.ExitStack, file: Path) -> Callable[[int], object]:
    """Return what writes one row into a table like that of ``local``, with the same safety."""
    connection = stack.enter_context(
        contextlib.closing(sqlite3.connect(file, isolation_level=None))
    )
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute(
        "CREATE TABLE bare (service TEXT, address TEXT, value TEXT, PRIMARY KEY (service, address))"
    )
    statement = (
        "INSERT INTO bare VALUES ('bench', ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"
    )
    value = "v" * 200
    return lambda number: connection.execute(statement, (f"10.0.0.1:{number}", value))
