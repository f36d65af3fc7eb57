"""``enlist new-plugin``: what is refused, and that the package works before a line is changed."""

import os
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from enlist.cli import scaffold
from enlist.cli.program import MISUSED, run_program
from enlist.cli.scaffold import RESERVED, write_plugin
from enlist.errors import InvalidOptionError

CORE = Path(__file__).resolve().parents[1]
PYTHONS = ("3.11", "3.12", "3.13")
RULES_TRIED = ("A1", "R1", "R3", "R5", "K3", "K4", "V2", "V4")


@pytest.mark.parametrize("name", ["", "Acme", "my-plugin", "my_plugin", "1up", "a b", "../x", "é"])
def test_write_refuses_a_name_that_nobody_could_type(name: str, tmp_path: Path) -> None:
    """The rule is that of every backend's name, and no file is written."""
    with pytest.raises(InvalidOptionError, match=r"^name=.*: must be a lower-case letter"):
        write_plugin(name, tmp_path)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_write_refuses_our_own_names(name: str, tmp_path: Path) -> None:
    """Two distributions that claim one name cannot be used together."""
    with pytest.raises(InvalidOptionError, match="comes from enlist itself"):
        write_plugin(name, tmp_path)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["test", "testing", "tests2"])
def test_write_refuses_a_name_that_pytest_takes_for_tests(name: str, tmp_path: Path) -> None:
    """The class TestRegistry would be collected wherever a test module imports it."""
    with pytest.raises(InvalidOptionError, match="must not begin with 'test'"):
        write_plugin(name, tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_write_leaves_a_folder_that_is_there(tmp_path: Path) -> None:
    """What somebody has written already is worth more."""
    mine = tmp_path / "enlist-acme" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("a day's work", encoding="utf-8")

    with pytest.raises(InvalidOptionError, match="is there already"):
        write_plugin("acme", tmp_path)

    assert [file.name for file in mine.parent.iterdir()] == ["mine.txt"]


def test_write_says_where_it_cannot_write(tmp_path: Path) -> None:
    """A file in the place of a folder is named."""
    (tmp_path / "file").touch()

    with pytest.raises(InvalidOptionError, match=r"file/enlist-acme.*cannot be written"):
        write_plugin("acme", tmp_path / "file")


def test_write_leaves_no_half_of_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failure in the middle the same command can be tried again."""
    monkeypatch.setattr(scaffold, "_FILES", {"README.md.in": "a/b", "CHANGELOG.md.in": "a/b/c"})

    with pytest.raises(InvalidOptionError, match="cannot be written"):
        write_plugin("acme", tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_write_leaves_no_word_to_be_filled_in(tmp_path: Path) -> None:
    """Every file is named and worded for this plugin, and the project file can be read."""
    folder = write_plugin("acme", tmp_path / "new")

    files = [file for file in folder.rglob("*") if file.is_file()]
    assert folder / ".github" / "workflows" / "tests.yml" in files
    for file in files:
        assert "@" not in file.read_text(encoding="utf-8").replace(
            "actions/checkout@v4", ""
        ).replace("actions/setup-python@v5", "").replace("\n@", "").replace("    @hookimpl", "")
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["name"] == "enlist-acme"
    assert project["entry-points"]["enlist.registries"] == {
        "acme": "enlist_acme.plugin:AcmeRegistry"
    }


def test_package_says_what_an_index_shows(tmp_path: Path) -> None:
    """It is typed, says so, and leaves what only its author knows to be filled in."""
    folder = write_plugin("acme", tmp_path)

    text = (folder / "pyproject.toml").read_text(encoding="utf-8")
    assert (folder / "src" / "enlist_acme" / "py.typed").is_file()
    classifiers = tomllib.loads(text)["project"]["classifiers"]
    assert "Typing :: Typed" in classifiers
    assert {f"Programming Language :: Python :: {one}" for one in PYTHONS} <= set(classifiers)
    for field in ("authors", "license", "license-files", "[project.urls]"):
        assert f"\n# {field}" in text


def test_package_is_tried_with_both_ends_of_its_range(tmp_path: Path) -> None:
    """One job has the lowest enlist that the package says it works with, the others the newest."""
    folder = write_plugin("acme", tmp_path)

    workflow = yaml.safe_load((folder / ".github" / "workflows" / "tests.yml").read_bytes())
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    job = workflow["jobs"]["tests"]
    matrix = job["strategy"]["matrix"]
    assert matrix["python"] == list(PYTHONS)
    assert matrix["enlist"] == ["enlist"]
    (oldest,) = matrix["include"]
    assert oldest["python"] == PYTHONS[0]
    lowest = next(
        one for one in Requirement(project["dependencies"][0]).specifier if ">" in str(one)
    )
    assert oldest["enlist"] == f"enlist=={lowest.version}"
    installs = [step["run"] for step in job["steps"] if "pip install" in step.get("run", "")]
    assert installs == ["python -m pip install '.[test]' '${{ matrix.enlist }}'"]


def test_command_says_what_is_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The folder, and the two commands that show that it works."""
    assert run_program(["new-plugin", "acme", "--into", str(tmp_path)]) == 0

    said = capsys.readouterr().out
    assert str(tmp_path / "enlist-acme") in said
    assert "pip install" in said
    assert "pytest" in said


def test_command_fails_with_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name that is not allowed is a mistake of the command line."""
    assert run_program(["new-plugin", "etcd", "--into", str(tmp_path)]) == MISUSED

    assert "comes from enlist itself" in capsys.readouterr().err


@pytest.mark.timeout(400)
def test_package_keeps_its_rules_before_a_line_is_changed(tmp_path: Path) -> None:
    """Installed with the core's wheel into a clean environment, its own tests are green there."""
    folder = write_plugin("acme", tmp_path)
    python = clean_environment(tmp_path / "venv", [f"{CORE}[testing]", str(folder)])

    done = subprocess.run(
        [
            python,
            "-I",
            "-m",
            "pytest",
            "-q",
            "-k",
            " or ".join(f"test_{rule}_" for rule in RULES_TRIED),
            "tests",
        ],
        cwd=folder,
        env=plain_environ(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    kept = [line.split()[0] for line in lines if " kept " in line and line[0] in "ARKV"]
    assert set(RULES_TRIED) == set(kept), done.stdout


def clean_environment(folder: Path, packages: list[str]) -> str:
    """Make an environment that has these packages and nothing of this one; return its Python."""
    venv.create(folder, with_pip=False)
    python = str(folder / "bin" / "python")
    command = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    done = subprocess.run(
        [*command, *packages], env=plain_environ(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return python


def plain_environ() -> dict[str, str]:
    """Return this process's environment without what would lead back to this repository."""
    leading = ("PYTHON", "PYTEST", "COV", "ENLIST")
    return {name: value for name, value in os.environ.items() if not name.startswith(leading)}
