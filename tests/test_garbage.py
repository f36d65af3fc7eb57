"""A failed test's garbage: it must not fail the test that comes next."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
FAILING = """
import gc

tries = []

class Circle:
    def __init__(self):
        self.file = open(__file__)
        self.itself = self

def test_second_try_passes():
    tries.append("")
    if len(tries) == 1:
        kept = Circle()
        raise ValueError

def test_after_it():
    gc.collect()
"""


def test_garbage_of_a_failed_test_fails_no_other(tmp_path: Path) -> None:
    """The file that the first try left open is not held against another, whoever collects it."""
    failing = tmp_path / "test_failing.py"
    failing.write_text(FAILING)
    options = ("-q", "-p", "no:cacheprovider", "-o", "leak_grace_s=0.1", "--reruns=2", "-c")

    run = subprocess.run(
        (sys.executable, "-m", "pytest", *options, str(ROOT / "pyproject.toml"), str(failing)),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    # The first try has failed twice: by itself, and for what it left open.
    assert "2 passed, 2 rerun" in run.stdout, run.stdout
