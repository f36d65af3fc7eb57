"""The conformance kit finds every broken plugin by the rule that it breaks, and no correct one."""

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

import pytest

from core.tests.kit.broken_plugins import BREAKS
from core.tests.kit.memory_plugin import MemoryRegistry
from core.tests.kit.trying import Tried, try_plugin
from enlist.testing import RULES
from enlist.testing.report import Outcome, Verdict

UNCLAIMED = {"compact"}
CAUGHT = "test_broken_plugin_is_caught"
AT_ONCE = 6  # most of the time of each is spent waiting

Runs: TypeAlias = dict[type[MemoryRegistry], Future[Tried]]


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """What the kit says of each broken plugin that a test of this run is about, or why nothing."""
    asked = {item.name for item in request.session.items}
    chosen = [one for one in BREAKS if f"{CAUGHT}[{one.__name__}]" in asked]

    def run(plugin: type[MemoryRegistry]) -> Tried:
        return try_broken(plugin, tmp_path_factory.mktemp(plugin.__name__))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return {one: pool.submit(run, one) for one in chosen}


def try_broken(plugin: type[MemoryRegistry], folder: Path) -> Tried:
    """Run the tests of the one rule that the plugin breaks."""
    value = f"{plugin.__module__}:{plugin.__qualname__}"
    return try_plugin("broken", value, folder, only=[BREAKS[plugin]])


@pytest.mark.timeout(300)
def test_correct_plugin_keeps_every_rule(tmp_path: Path) -> None:
    """The plugin from which the broken ones are made passes everything, and claims nearly all."""
    plugin = f"{MemoryRegistry.__module__}:{MemoryRegistry.__qualname__}"

    tried = try_plugin("memory", plugin, tmp_path)

    assert tried.report.with_verdict(Verdict.KEPT) == tuple(RULES), tried.output
    missing = {ability for result in tried.report.rules for ability in result.missing}
    assert missing == UNCLAIMED
    kept = "26 of 26 rules kept; of these in part: V7"
    assert f"{kept} (enlist 0.1.0, enlist-kit-plugins 7.8.9, Python" in tried.output


@pytest.mark.parametrize(
    "plugin, rule_id", [pytest.param(one, rule, id=one.__name__) for one, rule in BREAKS.items()]
)
@pytest.mark.timeout(600)
def test_broken_plugin_is_caught(
    plugin: type[MemoryRegistry], rule_id: str, runs: Runs, tmp_path: Path
) -> None:
    """Each broken plugin fails a test of the rule that it breaks, and the failure has the rule."""
    run = runs.pop(plugin, None)
    tried = run.result() if run else try_broken(plugin, tmp_path)  # a second try is a new run

    assert tried.report.with_verdict(Verdict.BROKEN) == (rule_id,), tried.output
    assert RULES[rule_id].text.splitlines()[0] in tried.output
    (result,) = [result for result in tried.report.rules if result.rule.id == rule_id]
    failed = [test for test in result.tests if test.outcome is Outcome.FAILED]
    assert all(test.detail for test in failed)


def test_broken_plugins_are_many_and_break_nearly_every_rule() -> None:
    """No rule is left without a plugin that breaks it, but those that the core alone keeps."""
    assert len(BREAKS) >= 25
    assert set(RULES) - set(BREAKS.values()) == {"A1", "K9"}
