"""``enlist new-plugin``: the beginning of a backend of one's own."""

from __future__ import annotations

from pathlib import Path

import click

from enlist.cli.scaffold import write_plugin

__all__ = ["command"]


@click.command("new-plugin")
@click.argument("name")
@click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="The folder in which the new one is made; the current one if left out.",
)
def command(*, name: str, into: Path) -> None:
    """Write the package enlist-NAME, a backend whose tests pass from the start.

    Its records are files in a folder; put calls to your server in their place, with the tests
    green in between.

    \b
    Examples:
      enlist new-plugin acme
      enlist new-plugin acme --into ~/src
    """
    folder = write_plugin(name, into)
    click.echo(f"{folder} is ready. Next, in that folder:")
    click.echo("  python3 -m pip install -e '.[test]'")
    click.echo("  python3 -m pytest")
