"""Measures what this project has promised; prints a table and ends with 1 if a limit is missed."""

import argparse
import importlib
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.bench import Bench
from tests.bench.rows import Row, Verdict, heading


@dataclass(frozen=True, slots=True)
class Suite:
    """One module with a function ``run``.

    Attributes:
        module: its name, imported when it is to run.
        minutes: how long it takes on two cores.
    """

    module: str
    minutes: int


SUITES: Final = {
    "core": Suite("tests.bench.core", 2),
    "etcd": Suite("tests.bench.etcd", 5),
    "zookeeper": Suite("tests.bench.zookeeper", 8),
    "consul": Suite("tests.bench.consul", 12),
}


def run_suite(name: str, *, is_smoke: bool) -> list[Row]:
    """Run one suite, print its rows as they stand, and return them."""
    bench = Bench(name, is_smoke, _to_stderr, lambda row: _to_stdout(row.line()))
    bench.progress(f"takes about {SUITES[name].minutes} minutes")
    importlib.import_module(SUITES[name].module).run(bench)
    return bench.rows


def main(arguments: Sequence[str]) -> int:
    """Run what was asked for; return the exit status."""
    chosen = _parser().parse_args(arguments)
    _to_stdout(heading())
    rows: list[Row] = []
    for name in chosen.suites or SUITES:
        rows += run_suite(name, is_smoke=chosen.quick)
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(_report(rows), indent=1) + "\n", encoding="utf-8")
    missed = [row for row in rows if row.verdict is Verdict.MISSED]
    for row in missed:
        _to_stderr(f"missed: {row.suite}: {row.name}")
    return 1 if missed else 0


def _report(rows: Sequence[Row]) -> dict[str, object]:
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "processors": os.cpu_count(),
        "figures": [row.as_json() for row in rows],
    }


def _parser() -> argparse.ArgumentParser:
    times = ", ".join(f"{name} {suite.minutes} min" for name, suite in SUITES.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=__doc__,
        epilog=f"A suite takes about: {times}. A limit is missed if the whole interval is "
        "beyond it; times are shown and not judged. Run it on a machine that does nothing else.",
    )
    parser.add_argument("suites", nargs="*", type=_suite, metavar="SUITE", help="default: all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument(
        "--quick", action="store_true", help="only try whether it works; nothing is judged"
    )
    return parser


def _suite(name: str) -> str:
    if name not in SUITES:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(SUITES)}")
    return name


def _to_stdout(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _to_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
