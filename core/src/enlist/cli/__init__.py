"""The ``enlist`` command: needs the extra ``enlist[cli]``, which a server process does not carry.

``main`` is all that the script calls; :mod:`enlist.cli.program` lists the commands, one module
each, imported when it is asked for.
"""

from __future__ import annotations

import importlib.util
import io
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line and end the process with its exit status; ``enlist --help`` lists them.

    Without the extra it says what to install, and fails with status 1.
    """
    if not all(importlib.util.find_spec(name) for name in ("click", "rich")):
        sys.exit("enlist: this command needs click and rich; install them: pip install enlist[cli]")
    from enlist.cli.program import run_program  # noqa: PLC0415 - it needs what was just looked for

    if isinstance(sys.stdout, io.TextIOWrapper):
        # Tags come from anyone, and the locale may know few characters: show the others as escapes.
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(run_program())
