"""A new plugin as a package in a folder of its own, which works before a line of it is changed."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from enlist.errors import InvalidOptionError

__all__ = ["RESERVED", "write_plugin"]

RESERVED: Final = frozenset({"consul", "etcd", "local", "prometheus", "pytest", "zookeeper"})
"""The names of what is published together with enlist; enlist_pytest is a module of the core."""

_NAME: Final = re.compile(r"[a-z][a-z0-9]*")

# Template, and where it goes. None may begin with a dot: some tools leave such files out.
_FILES: Final = {
    "pyproject.toml.in": "pyproject.toml",
    "README.md.in": "README.md",
    "CHANGELOG.md.in": "CHANGELOG.md",
    "gitignore.in": ".gitignore",
    "tests.yml.in": ".github/workflows/tests.yml",
    "init.py.in": "src/enlist_@name@/__init__.py",
    "options.py.in": "src/enlist_@name@/options.py",
    "records.py.in": "src/enlist_@name@/records.py",
    "plugin.py.in": "src/enlist_@name@/plugin.py",
    "test_conformance.py.in": "tests/test_conformance.py",
}
_EMPTY: Final = "src/enlist_@name@/py.typed"


def write_plugin(name: str, parent: Path) -> Path:
    """Write the package ``enlist-NAME`` into a new folder of that name, and return the folder.

    Its plugin keeps records as files in a folder, so that its tests pass at once.

    Args:
        name: what users will type to choose the backend.
        parent: the folder that gets the new one; made if it is not there.

    Raises:
        InvalidOptionError: the name is not allowed or is one of ours, or the folder is there
            already or cannot be written; nothing of it is then changed.
    """
    _check(name)
    folder = parent / f"enlist-{name}"
    try:
        folder.mkdir(parents=True)
    except FileExistsError as exc:
        rule = "is there already and was left as it is; choose another name, or place"
        raise InvalidOptionError("folder", str(folder), rule) from exc
    except OSError as exc:
        raise _unwritable(folder, exc) from exc
    try:
        for path, text in _contents(name):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
    except OSError as exc:
        shutil.rmtree(folder, ignore_errors=True)  # half a package helps nobody
        raise _unwritable(folder, exc) from exc
    return folder


def _unwritable(folder: Path, error: OSError) -> InvalidOptionError:
    return InvalidOptionError("folder", str(folder), f"cannot be written: {error.strerror}")


def _check(name: str) -> None:
    if not _NAME.fullmatch(name):
        rule = "must be a lower-case letter, then lower-case letters and digits, as in 'acme'"
        raise InvalidOptionError("name", name, rule)
    if name.startswith("test"):
        rule = "must not begin with 'test': pytest would take the plugin's classes for tests"
        raise InvalidOptionError("name", name, rule)
    if name in RESERVED:
        rule = "is the name of a package that comes from enlist itself; choose another one"
        raise InvalidOptionError("name", name, rule)


def _contents(name: str) -> Iterator[tuple[str, str]]:
    """Yield the path and the text of each file."""
    templates = importlib.resources.files("enlist.cli") / "templates"
    for template, path in _FILES.items():
        text = (templates / template).read_text(encoding="utf-8")
        yield _filled(path, name), _filled(text, name)
    yield _filled(_EMPTY, name), ""


def _filled(text: str, name: str) -> str:
    lowest, next_major = _versions()
    words = {
        "@name@": name,
        "@Name@": name.capitalize(),
        "@lowest@": lowest,
        "@range@": f">={lowest},<{next_major}",
    }
    for word, value in words.items():
        text = text.replace(word, value)
    return text


def _versions() -> tuple[str, int]:
    """Return which enlist the package asks for: the lowest, this one, and the next major one."""
    major, minor, *_ = importlib.metadata.version("enlist").split(".")
    return f"{major}.{minor}", int(major) + 1
