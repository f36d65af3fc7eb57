"""``enlist plugins``: which backends there are, and whether they can be used."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import click

from enlist.choosing.plugins import InstalledPlugin, installed, load
from enlist.cli.choices import json_option
from enlist.cli.output import Grid, narrated, show, show_json
from enlist.errors import BackendError

__all__ = ["command"]


@dataclass(frozen=True, slots=True)
class _Row:
    """One backend as it is shown."""

    name: str
    distribution: str
    version: str
    spec_version: int | None
    problem: str | None


@click.command("plugins")
@json_option
def command(*, as_json: bool) -> int:
    """List the backends that are installed: the names that --registry understands.

    Imports each of them, to tell whether it can be used; fails if one cannot. With --json, one
    list.

    \b
    Examples:
      enlist plugins
      enlist plugins --json | jq -r '.[] | select(.problem) | .distribution'
    """
    with narrated():
        rows = [_row(plugin) for plugin in installed()]
    if as_json:
        show_json([asdict(row) for row in rows])
    else:
        show(
            Grid(
                ("name", "distribution", "version", "spec", "loads"),
                [
                    (
                        row.name,
                        row.distribution,
                        row.version,
                        str(row.spec_version or ""),
                        row.problem or "yes",
                    )
                    for row in rows
                ],
            )
        )
    return int(any(row.problem for row in rows))


def _row(plugin: InstalledPlugin) -> _Row:
    spec_version, problem = None, None
    try:
        spec_version = load(plugin.name).cls.spec_version
    except BackendError as exc:
        problem = str(exc)
    return _Row(plugin.name, plugin.distribution, plugin.version, spec_version, problem)
