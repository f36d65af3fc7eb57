"""Finding CPythons: what a candidate answers counts, not what it is called."""

from pathlib import Path

import pytest

from pythons import find_pythons


def make_command(path: Path, script: str) -> Path:
    """A program that runs a line of shell."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def make_python(path: Path, *, name: str = "cpython", version: str = "3.99") -> str:
    """An interpreter that says who it is; returns its path."""
    make_command(path, f'echo "{name} {version} {path}"')
    return str(path)


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing but /bin: no Python, no pyenv."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PYENV_ROOT", raising=False)
    return tmp_path


def test_find_gives_the_one_on_path(machine: Path) -> None:
    """PATH is where people expect it to be looked for."""
    python = make_python(machine / "bin" / "python3.99")

    assert find_pythons(["3.99"]) == {"3.99": python}


def test_find_gives_the_newest_patch_release_of_pyenv(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Patch releases are compared as numbers: 10 is newer than 2."""
    root = machine / "elsewhere"
    make_python(root / "versions" / "3.99.2" / "bin" / "python3.99")
    newest = make_python(root / "versions" / "3.99.10" / "bin" / "python3.99")
    make_python(root / "versions" / "3.99.11-debug" / "bin" / "python3.99")
    monkeypatch.setenv("PYENV_ROOT", str(root))

    assert find_pythons(["3.99"]) == {"3.99": newest}


def test_find_asks_pyenv_where_its_versions_are(machine: Path) -> None:
    """Without PYENV_ROOT the program itself knows."""
    root = machine / "asked"
    make_command(machine / "bin" / "pyenv", f"echo {root}")
    python = make_python(root / "versions" / "3.99.0" / "bin" / "python3.99")

    assert find_pythons(["3.99"]) == {"3.99": python}


def test_find_looks_in_the_usual_place_of_pyenv(machine: Path) -> None:
    """A pyenv that is not on PATH still keeps its versions in the home folder."""
    python = make_python(machine / "home/.pyenv/versions/3.99.0/bin/python3.99")

    assert find_pythons(["3.99"]) == {"3.99": python}


def test_find_passes_over_a_shim_that_does_not_work(machine: Path) -> None:
    """A shim that only says where its version would be is no interpreter."""
    make_command(machine / "bin" / "python3.99", "echo 'pyenv: not found' >&2; exit 127")
    python = make_python(machine / "home/.pyenv/versions/3.99.0/bin/python3.99")

    assert find_pythons(["3.99"]) == {"3.99": python}


def test_find_leaves_out_what_is_not_that_cpython(machine: Path) -> None:
    """Neither another implementation nor another version counts, whatever its name."""
    make_python(machine / "bin" / "python3.98", name="pypy", version="3.98")
    make_python(machine / "bin" / "python3.99", version="3.9")

    assert find_pythons(["3.98", "3.99"]) == {}


def test_find_says_so_when_a_candidate_cannot_be_run(
    machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A broken file of that name is named, so that nobody wonders why it was not used."""
    broken = make_command(machine / "bin" / "python3.99", "")
    broken.write_text("#!/nowhere/at/all\n")

    assert find_pythons(["3.99"]) == {}
    assert f"{broken} cannot be used" in capsys.readouterr().err
