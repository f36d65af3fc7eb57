"""Runs the kit on a plugin of this folder, in a process of its own, as its author would."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.tests.kit.memory_plugin import MemoryRegistry
from core.tests.kit.memory_world import MemoryUnderTest
from enlist.testing.report import Report

ROOT = Path(__file__).parents[3]
TAKES_AT_MOST_S = 280

METADATA = "Metadata-Version: 2.1\nName: enlist-kit-plugins\nVersion: 7.8.9\n"
MODULE = """
import pytest
from {module} import {world}
from enlist.testing import ConformanceSuite

@pytest.fixture(scope="module")
def under_test(tmp_path_factory):
    under_test = {world}({name!r}, tmp_path_factory.mktemp("server"))
    yield under_test
    under_test.close()

class TestMemory(ConformanceSuite):
    pass
"""


@dataclass(frozen=True)
class Tried:
    """What came of a run."""

    report: Report
    output: str


def try_plugin(
    name: str,
    plugin: type[MemoryRegistry],
    folder: Path,
    *,
    world: type[MemoryUnderTest] = MemoryUnderTest,
    only: Sequence[str] = (),
) -> Tried:
    """Install a plugin under a name by metadata in ``folder``, and run the kit on it.

    Args:
        name: of the entry point.
        plugin: its value.
        folder: an empty one, for everything that is written.
        world: what is claimed of it.
        only: ids of rules; none for all. With some, the first failure is enough.
    """
    install(folder / "site", {name: f"{plugin.__module__}:{plugin.__qualname__}"})
    module = MODULE.format(name=name, module=world.__module__, world=world.__qualname__)
    (folder / "test_conformance.py").write_text(module)
    path = folder / "report.json"
    extra = ["-x", "-k", " or ".join(f"test_{rule_id}_" for rule_id in only)] if only else []
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "test_conformance.py", "-c", os.devnull),
            # The kit's own entry point and no other: the rest of what is installed costs time.
            *(
                "-p",
                "no:hypothesispytest",
                "-p",
                "no:timeout",
                "--rootdir=.",
                "-q",
                "-p",
                "no:cacheprovider",
                f"--enlist-report={path}",
                *extra,
            ),
        ],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder / "site"), str(ROOT)])},
        check=False,
        capture_output=True,
        text=True,
        timeout=TAKES_AT_MOST_S,
    )
    output = done.stdout + done.stderr
    assert path.exists(), output
    reports = json.loads(path.read_text())
    assert len(reports) == 1, output
    return Tried(Report.from_json(reports[0]), output)


def install(site: Path, plugins: dict[str, str]) -> None:
    """Write the metadata of a distribution that provides these plugins."""
    metadata = site / "enlist_kit_plugins-7.8.9.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(METADATA)
    lines = [f"{name} = {value}" for name, value in plugins.items()]
    text = "\n".join(["[enlist.registries]", *lines, ""])
    (metadata / "entry_points.txt").write_text(text)
