"""What the commands show: tables and colours on a terminal, plain lines in a pipe, or JSON."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import click

from enlist.info import Info

if TYPE_CHECKING:
    from rich.table import Table

__all__ = [
    "INSTANCE_COLUMNS",
    "Grid",
    "complain",
    "instance_row",
    "json_value",
    "narrated",
    "note",
    "on_terminal",
    "printable",
    "rich_table",
    "show",
    "show_json",
]

INSTANCE_COLUMNS: Final = ("service", "address", "weight", "codec", "tags")

_GAP: Final = "  "


@dataclass(frozen=True, slots=True)
class Grid:
    """A table before it is known where it will be shown.

    Attributes:
        columns: the headings.
        rows: as many texts each.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def on_terminal() -> bool:
    """Return whether somebody looks at the standard output."""
    return sys.stdout.isatty()


def printable(text: str) -> str:
    """Return the text with escapes for whatever could steer a terminal: tags come from anyone."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def show(grid: Grid) -> None:
    """Print a table: drawn on a terminal, plain columns elsewhere."""
    if not on_terminal():
        for line in _plain_lines(grid):
            click.echo(line)
        return
    from rich.console import Console  # noqa: PLC0415 - most calls do without

    Console().print(rich_table(grid))


def rich_table(grid: Grid) -> Table:
    """Return the table as rich draws it; no text in it is taken for markup."""
    from rich import box  # noqa: PLC0415 - most calls do without
    from rich.table import Table  # noqa: PLC0415 - the same
    from rich.text import Text  # noqa: PLC0415 - the same

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in grid.columns:
        table.add_column(column, overflow="fold")
    for row in grid.rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def _plain_lines(grid: Grid) -> Iterator[str]:
    rows = [[heading.upper() for heading in grid.columns]]
    rows += [[printable(cell) or "-" for cell in row] for row in grid.rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield _GAP.join(map(str.ljust, row, widths)).rstrip()


def show_json(value: object) -> None:
    """Print one value as JSON, on a line of its own, at once; in ASCII, which all can print."""
    click.echo(json.dumps(value))
    sys.stdout.flush()


def json_value(info: Info) -> Mapping[str, object]:
    """Return an instance as JSON has it; ``start_time`` in ISO 8601, UTC."""
    return {
        "service_name": info.service_name,
        "addr": str(info.addr),
        "payload_codec": info.payload_codec,
        "weight": info.weight,
        "start_time": None if info.start_time is None else info.start_time.isoformat(),
        "warm_up_s": info.warm_up.total_seconds(),
        "tags": dict(info.tags or {}),
    }


def instance_row(info: Info) -> tuple[str, ...]:
    """Return an instance as a row under INSTANCE_COLUMNS."""
    tags = " ".join(f"{key}={value}" for key, value in sorted((info.tags or {}).items()))
    return info.service_name, str(info.addr), str(info.weight), info.payload_codec, tags


def complain(message: str) -> None:
    """Print what went wrong, on standard error."""
    click.secho("enlist: ", fg="red", bold=True, nl=False, err=True)
    click.echo(printable(message), err=True)


def note(message: str) -> None:
    """Print what is worth knowing, on standard error."""
    click.echo(f"enlist: {printable(message)}", err=True)


@contextmanager
def narrated(level: int = logging.WARNING) -> Iterator[None]:
    """Show what the library logs, from this level on, while the block runs."""
    logger = logging.getLogger("enlist")
    handler = _Noting()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


class _Noting(logging.Handler):
    """Writes log lines as notes."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one."""
        try:
            note(self.format(record))
        except Exception:  # noqa: BLE001 - logging's own way: a log line never ends the program
            self.handleError(record)
