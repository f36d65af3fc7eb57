"""Which CPythons this machine has: on PATH, and where pyenv keeps its own."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

_ASK = "import sys; print(sys.implementation.name, '%d.%d' % sys.version_info[:2], sys.executable)"
_ANSWER_WITHIN_S = 30


def find_pythons(versions: Sequence[str]) -> dict[str, str]:
    """Find an interpreter for each version, in the order given; a missing one is left out.

    Each candidate is run and asked what it is, since the name says little: a shim of pyenv
    is called python3.13 also where only another project may use that version.

    Args:
        versions: what to look for, as "3.12".

    Returns:
        The path of an interpreter by its version.
    """
    found = {}
    for version in versions:
        answers = (_ask(candidate, version) for candidate in _candidates(version))
        if (path := next(filter(None, answers), None)) is not None:
            found[version] = path
    return found


def _candidates(version: str) -> Iterator[Path]:
    """Name every place where this version may be, the likeliest first."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        yield Path(sys.executable)
    name = f"python{version}"
    for folder in os.get_exec_path():
        if os.access(path := Path(folder, name), os.X_OK):
            yield path
    for home in _pyenv_homes(version):
        if os.access(path := home / "bin" / name, os.X_OK):
            yield path


def _pyenv_homes(version: str) -> list[Path]:
    """List pyenv's installations of this version, the newest patch release first."""
    versions = _pyenv_root() / "versions"
    if not os.access(versions, os.R_OK):  # missing, or another user's
        return []
    pattern = re.compile(rf"{re.escape(version)}\.(\d+)")
    matches = [
        (int(match[1]), home)
        for home in versions.glob(f"{version}.*")
        if (match := pattern.fullmatch(home.name))
    ]
    return [home for _, home in sorted(matches, reverse=True)]


def _pyenv_root() -> Path:
    """Ask pyenv where it keeps its versions; without pyenv, name where it would."""
    if root := os.environ.get("PYENV_ROOT"):
        return Path(root)
    if pyenv := shutil.which("pyenv"):
        command = [pyenv, "root"]
        return Path(
            subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        )
    return Path.home() / ".pyenv"


def _ask(python: Path, version: str) -> str | None:
    """Return the real path of a candidate when it runs and is that version of CPython."""
    command = [str(python), "-I", "-c", _ASK]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_ANSWER_WITHIN_S
        ).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        sys.stderr.write(f"{python} cannot be used: {error}\n")
        return None
    name, _, rest = answer.strip().partition(" ")
    found, _, path = rest.partition(" ")
    return path if (name, found) == ("cpython", version) else None
