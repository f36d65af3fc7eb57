"""``enlist conformance``: which rules of the Registry spec an installed backend keeps."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import click

from enlist.cli.output import complain

__all__ = ["command"]

_NO_PYTEST = "the conformance kit needs pytest; install it with: pip install 'enlist[testing]'"


def _may_be_written(ctx: click.Context, param: click.Parameter, path: Path | None) -> Path | None:
    """Refuse at once what would fail after minutes; click looks at files that are there."""
    if path is None or os.access(path, os.W_OK) or os.access(path.parent, os.W_OK | os.X_OK):
        return path
    rule = f"{str(path)!r} cannot be written: look at its folder, or give another"
    raise click.BadParameter(rule, ctx, param)


@click.command("conformance")
@click.argument("url")
@click.option(
    "--report",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    callback=_may_be_written,
    metavar="FILE",
    help="Also write the report into this file, as JSON.",
)
@click.option("--rule", "rules", multiple=True, metavar="ID", help="Try this rule alone, as R4.")
@click.option("--verbose", is_flag=True, help="Show each test while it runs, and each failure.")
def command(*, url: str, report: Path | None, rules: tuple[str, ...], verbose: bool) -> int:
    """Try the conformance kit on the backend that URL names, and report.

    Registers and removes services whose names begin with "enlist-kit-", and breaks no server:
    rules about outages are tried by the tests of a plugin, which can restart its own. Takes from
    half a minute on; a short ttl in the URL makes it quick. Fails if a rule is broken.

    \b
    Examples:
      enlist conformance local:/tmp/try.registry
      enlist conformance 'etcd://127.0.0.1:2379?ttl=3' --report report.json
    """
    if importlib.util.find_spec("pytest") is None:
        complain(_NO_PYTEST)
        return 1
    from enlist.testing import RULES  # noqa: PLC0415 - needs pytest
    from enlist.testing.conformance import ConformanceError, main  # noqa: PLC0415 - as above

    only = [rule_id.upper() for rule_id in rules]
    if unknown := [rule_id for rule_id in only if rule_id not in RULES]:
        rule = f"no rule {unknown[0]!r}; the rules are {', '.join(RULES)}"
        raise click.BadParameter(rule, param_hint="'--rule'")
    try:
        return main(url, json_path=report, only=only, verbose=verbose)
    except ConformanceError as exc:
        complain(str(exc))
        return 1
