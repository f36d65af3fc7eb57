"""Try a backend that is installed, by its URL: the work of ``enlist conformance URL``."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from enlist.opening import open_registry
from enlist.testing import installed_suite
from enlist.testing.report import Report, Verdict

__all__ = ["ConformanceError", "main", "run"]

KEPT: Final = 0
BROKEN: Final = 1


class ConformanceError(Exception):
    """The kit could not be run, or its report be written; the message says why."""


def run(url: str, *, only: Sequence[str] = (), verbose: bool = False) -> Report:
    """Run the kit on a backend in a process of its own and return the report.

    Registers and removes services whose names begin with "enlist-kit-"; disturbs nothing. Takes
    from half a minute on, by the ttl that the backend grants; give a small one in the URL, such
    as ``etcd://127.0.0.1:2379?ttl=3``. A password is taken from the environment, as always.

    Args:
        url: what ``open_registry`` is given.
        only: the ids of the rules to try, such as "R1"; none for all.
        verbose: show each test while it runs, and each failure.

    Raises:
        BackendError: the plugin cannot be used.
        InvalidOptionError: the URL has no known form, or an option in it is wrong.
        RegistryError: the backend does not answer.
        ConformanceError: the tests could not be run.
    """
    registry = open_registry(url)
    try:
        registry.probe()  # one clear error, rather than one for each test
    finally:
        registry.close()
    with tempfile.TemporaryDirectory(prefix="enlist-conformance-") as folder:
        path = Path(folder) / "report.json"
        done = subprocess.run(  # noqa: S603 - this very interpreter, and our own module
            _command(url, path, only),
            cwd=folder,
            check=False,
            text=True,
            stdout=None if verbose else subprocess.PIPE,
            stderr=None if verbose else subprocess.STDOUT,
        )
        reports = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    if not reports:
        raise ConformanceError(f"no rule could be tried on {url!r}:\n{done.stdout or ''}".rstrip())
    return Report.from_json(reports[0])


def main(
    url: str, *, json_path: Path | None = None, only: Sequence[str] = (), verbose: bool = False
) -> int:
    """Run the kit, write the report to standard output, and return the exit code.

    Args:
        url: as for :func:`run`.
        json_path: also write the report there as JSON.
        only: as for :func:`run`.
        verbose: as for :func:`run`.

    Returns:
        0 if no rule is broken, else 1.

    Raises:
        ConformanceError: the report, which was shown, cannot be written.
        As :func:`run`.
    """
    report = run(url, only=only, verbose=verbose)
    sys.stdout.write("\n".join([*report.lines(), ""]))
    if json_path is not None:
        text = json.dumps(report.to_json(), indent=2, ensure_ascii=False)
        try:
            json_path.write_text(text + "\n", encoding="utf-8")
        except OSError as exc:
            raise ConformanceError(f"the report cannot be written: {exc}") from exc
    return BROKEN if report.with_verdict(Verdict.BROKEN) else KEPT


def _command(url: str, path: Path, only: Sequence[str]) -> list[str]:
    # Nothing of a project's own configuration may change what is tried.
    command = [
        *(sys.executable, "-m", "pytest", str(Path(installed_suite.__file__))),
        *(f"--enlist-url={url}", f"--enlist-report={path}"),
        *("-c", "/dev/null", "--rootdir=.", "-p", "no:cacheprovider", "--import-mode=importlib"),
        *("-W", "error::pytest.PytestUnraisableExceptionWarning"),
    ]
    if only:
        command += ["-k", " or ".join(f"test_{rule_id}_" for rule_id in only)]
    return command
