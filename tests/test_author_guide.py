"""The guide for plugin authors: its blocks are a plugin, installed and tried as they stand."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs_blocks import blocks_of

ROOT = Path(__file__).resolve().parent.parent
GUIDE = ROOT / "docs" / "how-to" / "write-a-plugin.md"
PLUGIN, TESTS = "enlist_folder.py", "test_conformance.py"
MOST_LINES = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the guide tells to write."""
    folder = tmp_path_factory.mktemp("guide")
    for block in blocks_of(GUIDE):
        if name := block.marks.get("file"):
            (folder / name).write_text(block.text, encoding="utf-8")
    return folder


def test_plugin_is_shorter_than_sixty_lines(folder: Path) -> None:
    """Besides its imports and its docstring the whole backend takes less than 60 lines."""
    text = (folder / PLUGIN).read_text(encoding="utf-8")
    prose = ast.parse(text).body[0].end_lineno or 0
    lines = [line for line in text.splitlines()[prose:] if line.strip()]

    code = [line for line in lines if not line.startswith(("import ", "from ", "#"))]

    assert len(code) < MOST_LINES


@pytest.mark.timeout(600)
def test_plugin_of_the_guide_keeps_all_rules_of_r_and_v(folder: Path, tmp_path: Path) -> None:
    """Who copies the guide's files, installs them and runs the tests sees that they pass."""
    site = tmp_path / "site"
    install = ("-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(folder))
    run(tmp_path, *install)

    said = run(
        tmp_path,
        *(
            "-m",
            "pytest",
            "-q",
            "-c",
            os.devnull,
            "--rootdir",
            str(folder),
            "-p",
            "no:cacheprovider",
        ),
        *("-k", "test_R or test_V or test_A", str(folder / TESTS)),
        PYTHONPATH=str(site),
    )

    assert "broken" not in said
    for rule in (
        *(f"R{number}" for number in range(1, 9)),
        *(f"V{number}" for number in range(1, 10)),
    ):
        (line,) = [line for line in said.splitlines() if line.startswith(f"{rule} ")]
        assert "kept" in line or "not claimed" in line


def run(folder: Path, *arguments: str, **variables: str) -> str:
    """Run this interpreter elsewhere and return what it printed; fail if it fails."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=own | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
