"""The conformance kit finds every broken plugin by the rule that it breaks, and no correct one."""

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

import pytest

from core.tests.kit.broken_plugins import BREAKS
from core.tests.kit.broken_registering import WatchDropsTags
from core.tests.kit.memory_plugin import MemoryRegistry
from core.tests.kit.memory_world import MemoryUnderTest
from core.tests.kit.modest_plugins import (
    NarrowRegistry,
    NarrowUnderTest,
    PolledRegistry,
    PolledUnderTest,
    UnknownUnderTest,
)
from core.tests.kit.trying import Tried, try_plugin
from enlist.testing import RULES
from enlist.testing.report import Outcome, Verdict

UNCLAIMED = {"compact"}
CAUGHT = "test_broken_plugin_is_caught"
KEPT = "test_correct_plugin_keeps_every_rule"
CORRECT: dict[str, tuple[type[MemoryRegistry], type[MemoryUnderTest]]] = {
    "claims-all": (MemoryRegistry, MemoryUnderTest),
    "carries-little": (NarrowRegistry, NarrowUnderTest),
}
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
    return try_plugin("broken", plugin, folder, only=[BREAKS[plugin]])


@pytest.fixture(scope="module")
def correct_runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Tried]:
    """What the kit says of each correct plugin that a test of this run is about."""
    asked = {item.name for item in request.session.items}
    chosen = [name for name in CORRECT if f"{KEPT}[{name}]" in asked]

    def run(name: str) -> Tried:
        return try_correct(name, tmp_path_factory.mktemp(name))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(chosen, pool.map(run, chosen), strict=True))


def try_correct(name: str, folder: Path) -> Tried:
    """Run all tests."""
    plugin, world = CORRECT[name]
    return try_plugin("memory", plugin, folder, world=world)


@pytest.mark.parametrize("name", CORRECT)
@pytest.mark.timeout(600)
def test_correct_plugin_keeps_every_rule(
    name: str, correct_runs: dict[str, Tried], tmp_path: Path
) -> None:
    """What claims nearly all passes everything, and so does one of narrow limits inside these."""
    tried = correct_runs.pop(name, None) or try_correct(name, tmp_path)

    assert tried.report.with_verdict(Verdict.KEPT) == tuple(RULES), tried.output
    missing = {ability for result in tried.report.rules for ability in result.missing}
    assert missing == UNCLAIMED
    kept = "26 of 26 rules kept; of these in part: V7"
    assert f"{kept} (enlist 0.1.0, enlist-kit-plugins 7.8.9, Python" in tried.output


def test_correct_plugin_of_unknown_limits_is_asked_for_them(tmp_path: Path) -> None:
    """Where no limits are known, what the plugin itself refuses is not held against it."""
    only = ["R2", "R8", "V6"]

    tried = try_plugin("memory", NarrowRegistry, tmp_path, world=UnknownUnderTest, only=only)

    assert tried.report.with_verdict(Verdict.KEPT) == tuple(only), tried.output


def test_broken_plugin_of_unknown_limits_is_caught(tmp_path: Path) -> None:
    """Where no limits are known, a watch that loses tags is caught all the same."""
    tried = try_plugin("broken", WatchDropsTags, tmp_path, world=UnknownUnderTest, only=["R2"])

    assert tried.report.with_verdict(Verdict.BROKEN) == ("R2",), tried.output


def test_correct_plugin_without_a_watch_is_not_blamed_for_the_fallback(tmp_path: Path) -> None:
    """What the core cannot see by asking now and then is reported as not claimed."""
    tried = try_plugin("memory", PolledRegistry, tmp_path, world=PolledUnderTest, only=["V8"])

    assert tried.report.with_verdict(Verdict.KEPT) == ("V8",), tried.output
    assert "2 of 3 not claimed: watch" in tried.output


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
