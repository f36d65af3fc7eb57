"""The noxfile as a script: it gets nox by itself, once, and says what is missing."""

import ast
import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import bootstrap

ROOT = Path(__file__).parent.parent


def make_wheel(folder: Path, name: str) -> str:
    """The path of a wheel that pip installs without an index."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{name}.py", "")
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/RECORD", "")
    return str(path)


@pytest.fixture
def wheel(tmp_path: Path) -> str:
    """A wheel of a module called tiny."""
    return make_wheel(tmp_path, "tiny")


def has(python: Path, module: str) -> bool:
    """Whether the environment has a module."""
    command = [str(python), "-c", f"import {module}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_prepare_installs_the_requirements_when_there_is_no_environment(
    tmp_path: Path, wheel: str
) -> None:
    """The first call gives a Python that has what was asked for."""
    python = bootstrap.prepare(tmp_path / "envs", [wheel])

    assert has(python, "tiny")


def test_prepare_keeps_the_environment_when_it_is_ready(tmp_path: Path, wheel: str) -> None:
    """A second call changes nothing, which is what makes it quick."""
    first = bootstrap.prepare(tmp_path / "envs", [wheel])
    (first.parent / "kept").touch()

    assert bootstrap.prepare(tmp_path / "envs", [wheel]) == first
    assert (first.parent / "kept").exists()


def test_prepare_starts_anew_when_it_was_interrupted(tmp_path: Path, wheel: str) -> None:
    """An environment that was left half made is not used."""
    python = bootstrap.prepare(tmp_path / "envs", [wheel])
    (python.parent.parent / "ready").unlink()
    (python.parent / "half-made").touch()

    assert has(bootstrap.prepare(tmp_path / "envs", [wheel]), "tiny")
    assert not (python.parent / "half-made").exists()


def test_prepare_starts_anew_when_the_requirements_changed(tmp_path: Path, wheel: str) -> None:
    """What the project needs today counts, not what it needed when it was first run."""
    python = bootstrap.prepare(tmp_path / "envs", [wheel])
    assert not has(python, "other")

    python = bootstrap.prepare(tmp_path / "envs", [wheel, make_wheel(tmp_path, "other")])
    assert has(python, "other")


def test_prepare_says_so_when_pip_fails(tmp_path: Path, wheel: str) -> None:
    """A failed installation is an error with a next step, and the next call tries again."""
    with pytest.raises(SystemExit, match=r"Installing .*missing\.whl failed"):
        bootstrap.prepare(tmp_path / "envs", [str(tmp_path / "missing.whl")])

    assert has(bootstrap.prepare(tmp_path / "envs", [wheel]), "tiny")


def test_prepare_says_what_to_install_when_pip_is_missing(
    tmp_path: Path, wheel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without pip and ensurepip one sentence says what Debian and Ubuntu call it."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(SystemExit, match="apt install python3-pip"):
        bootstrap.prepare(tmp_path / "envs", [wheel])


def test_noxfile_says_what_it_needs_when_python_is_too_old() -> None:
    """Too old a Python gets one sentence, not a traceback."""
    pretend = "import runpy, sys; sys.version_info = (3, 8, 0); runpy.run_path('noxfile.py')"

    run = subprocess.run(
        [sys.executable, "-c", pretend], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert run.returncode == 1
    assert run.stderr.startswith("enlist needs Python 3.11 or newer; this is 3.8 (")
    assert run.stderr.count("\n") == 1


def test_noxfile_can_be_read_when_python_is_too_old() -> None:
    """No newer syntax stands in the file, or it could not say its sentence."""
    ast.parse((ROOT / "noxfile.py").read_text(), feature_version=(3, 7))
