"""What the conformance kit says of a backend, and what it costs those who do not use it."""

import datetime as dt
import json
import subprocess
import sys
from pathlib import Path

import pytest

from enlist.errors import UnavailableError, UnknownBackendError
from enlist.info import Info
from enlist.testing import (
    RULES,
    Abilities,
    BackendUnderTest,
    Limits,
    NotProvidedError,
)
from enlist.testing.conformance import KEPT, main, run
from enlist.testing.report import Outcome, Report, RuleResult, TestResult, Verdict, Versions

VERSIONS = Versions("redis", "enlist-redis", "0.3.0", "1.2.0", "3.12.1")
IMPORTED = """
import sys

def test_nothing_of_enlist_is_imported():
    assert [name for name in sys.modules if name.partition(".")[0] == "enlist"] == []
    assert "enlist_pytest" in sys.modules
"""


LEFT_OUT = """
import datetime as dt
import pytest
from enlist.testing import Abilities, BackendUnderTest, ConformanceSuite

@pytest.fixture(scope="module")
def under_test(tmp_path_factory):
    folder = tmp_path_factory.mktemp("registry")
    folder.chmod(0o700)
    under_test = BackendUnderTest()
    under_test.url = f"local:{folder}/x.registry?ttl=2"
    under_test.abilities = Abilities(ttl=dt.timedelta(seconds=2), validate=False)
    return under_test

class TestLeftOut(ConformanceSuite):
    def test_A1_what_is_claimed_is_there(self, trial):
        pytest.skip("no docker")

    @pytest.mark.skip(reason="it fails")
    def test_R1_another_client_finds_it_at_once(self, trial):
        pass

    @pytest.mark.xfail(reason="not yet")
    def test_R6_nobody_else_goes(self, trial):
        raise AssertionError

    def test_V1_nobody_is_an_empty_list(self):
        pass
"""


class Claiming(BackendUnderTest):
    url = "local:/tmp/never-opened"
    abilities = Abilities(ttl=dt.timedelta(seconds=2), kill=True, validate=True)


def result(name: str, outcome: Outcome, detail: str = "") -> TestResult:
    return TestResult(name, outcome, 1.5, detail)


def a_report() -> Report:
    tests = [
        ("R1", result("test_R1_a", Outcome.PASSED)),
        ("R1", result("test_R1_b", Outcome.NOT_CLAIMED, "kill, freeze")),
        ("R4", result("test_R4_a", Outcome.PASSED)),
        ("R4", result("test_R4_b", Outcome.NOT_CLAIMED, "restore")),
        ("K3", result("test_K3_a", Outcome.NOT_CLAIMED, "delete_record")),
        ("V5", result("test_V5_a", Outcome.FAILED, "one bad record")),
        ("V5", result("test_V5_b", Outcome.PASSED)),
    ]
    return Report.of(VERSIONS, tests)


def test_plugin_for_pytest_imports_nothing_unless_the_kit_is_used(tmp_path: Path) -> None:
    """A project that has enlist installed and tests something else pays for one small module."""
    (tmp_path / "test_else.py").write_text(IMPORTED)
    # A project of its own, also where temporary folders lie inside of this repository.
    (tmp_path / "pytest.ini").write_text("[pytest]\n")

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_else.py"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
        text=True,
    )

    assert done.returncode == 0, done.stdout


def test_rule_is_judged_by_its_worst_test() -> None:
    """One failed test breaks a rule; one that passed keeps it although others were not claimed."""
    report = a_report()

    assert report.with_verdict(Verdict.KEPT) == ("R1", "R4")
    assert report.with_verdict(Verdict.NOT_CLAIMED) == ("K3",)
    assert report.with_verdict(Verdict.BROKEN) == ("V5",)
    assert len(report.with_verdict(Verdict.NOT_TRIED)) == len(RULES) - 4


@pytest.mark.parametrize(
    "outcomes, untried, verdict",
    [
        ([Outcome.PASSED], 1, Verdict.NOT_WHOLLY_TRIED),
        ([Outcome.PASSED, Outcome.SKIPPED], 0, Verdict.NOT_WHOLLY_TRIED),
        ([Outcome.PASSED, Outcome.SKIPPED, Outcome.FAILED], 1, Verdict.BROKEN),
        ([Outcome.NOT_CLAIMED, Outcome.SKIPPED], 0, Verdict.NOT_TRIED),
        ([Outcome.NOT_CLAIMED], 1, Verdict.NOT_TRIED),
        ([], 3, Verdict.NOT_TRIED),
    ],
)
def test_rule_is_not_kept_by_tests_that_did_not_run(
    outcomes: list[Outcome], untried: int, verdict: Verdict
) -> None:
    """A test that was skipped or left out counts for nothing, whatever became of the others."""
    tests = tuple(result(f"test_R1_{outcome.name}", outcome) for outcome in outcomes)

    assert RuleResult(RULES["R1"], tests, untried).verdict is verdict


def reported(folder: Path, *arguments: str) -> tuple[Report, str]:
    """Run pytest on a module that leaves tests out; return its report and what was printed."""
    folder.chmod(0o700)
    # A project of its own, also where temporary folders lie inside of this repository.
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_left_out.py").write_text(LEFT_OUT)
    path = folder / "report.json"
    command = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments)

    done = subprocess.run(
        [*command, f"--enlist-report={path}", "test_left_out.py"],
        cwd=folder,
        capture_output=True,
        check=False,
        text=True,
    )

    assert done.returncode == 0, done.stdout
    (written,) = json.loads(path.read_text())
    return Report.from_json(written), done.stdout


def test_test_that_does_not_run_is_told(tmp_path: Path) -> None:
    """However a module leaves tests out, its report says so and calls their rule not kept."""
    report, shown = reported(tmp_path, "-k", "test_A1 or test_R1 or test_R6 or test_R8 or test_V1")

    lines = {line[:3].strip(): line for line in report.lines()}
    assert report.with_verdict(Verdict.KEPT) == ("R8",), shown
    assert report.with_verdict(Verdict.NOT_WHOLLY_TRIED) == ("R1", "R6", "V1")
    assert "A1" in report.with_verdict(Verdict.NOT_TRIED)
    assert lines["A1"].endswith("test_A1_what_is_claimed_is_there: skipped: no docker")
    assert lines["R1"].endswith("1 of 4 not tried")
    assert lines["R6"].endswith("test_R6_nobody_else_goes: expected to fail: not yet")
    assert lines["V1"].endswith("1 of 3 not tried")
    assert "not wholly tried: R1 R6 V1" in report.summary


def test_report_comes_from_several_processes(tmp_path: Path) -> None:
    """pytest-xdist runs the tests in workers, whose results make one report."""
    report, shown = reported(tmp_path, "-n2", "-k", "test_A1 or test_R8")

    assert "enlist conformance: local" in shown
    assert report.with_verdict(Verdict.KEPT) == ("R8",), shown
    assert "A1" in report.with_verdict(Verdict.NOT_TRIED)


def test_report_names_what_is_not_claimed_and_what_failed() -> None:
    """Each rule has a line with its time, the missing abilities and the failures."""
    lines = {line[:3].strip(): line for line in a_report().lines()}

    assert lines["R1"].endswith("kept in part    3.0 s; 1 of 2 not claimed: freeze, kill")
    assert lines["R4"].endswith("kept            3.0 s; 1 of 2 not claimed: restore")
    assert lines["K3"].endswith("not claimed     1.5 s; 1 of 1 not claimed: delete_record")
    assert lines["V5"].endswith("broken          3.0 s; test_V5_a: one bad record")


def test_summary_is_one_line_with_versions() -> None:
    """A README can show how many rules are kept, which not or not wholly tried, and of what."""
    summary = a_report().summary

    assert summary.startswith(
        "redis: 2 of 26 rules kept; of these in part: R1; broken: V5; not claimed: K3; not tried:"
    )
    assert summary.endswith("(enlist 1.2.0, enlist-redis 0.3.0, Python 3.12.1)")


def test_report_survives_json() -> None:
    """What was written as JSON is read back as it was."""
    report = a_report()

    assert Report.from_json(json.loads(json.dumps(report.to_json()))) == report


def test_claim_without_anything_behind_it_is_found() -> None:
    """A hook that is not implemented and a disturbance that is not overridden are both named."""
    false = Claiming().false_claims()

    assert any("the hook 'validate' is claimed, and LocalRegistry" in one for one in false)
    assert "'kill' is claimed, and Claiming does not override start()" in false


def test_hook_that_is_not_claimed_is_found() -> None:
    """A hook that would go untried because nobody claims it is named, and no other."""
    under_test = Claiming()
    under_test.abilities = Abilities(
        ttl=dt.timedelta(seconds=2), validate=False, restore=False, probe=False
    )

    assert under_test.false_claims() == [
        "LocalRegistry implements the hook 'restore', and it is not claimed",
        "LocalRegistry implements the hook 'probe', and it is not claimed",
    ]


def test_disturbance_that_is_not_provided_says_what_to_do() -> None:
    """Calling one raises an error that names the method and the ability."""
    with pytest.raises(NotProvidedError, match=r"override kill\(\)\. Provide it, or do not claim"):
        Claiming().kill()


@pytest.mark.parametrize(
    "limits, fields, passed",
    [
        (Limits(unix_addresses=False), {"addr": "unix:/run/a"}, "addr"),
        (Limits(weights=range(1, 65_536)), {"weight": 0}, "weight"),
        (Limits(service_name="[a-z]*"), {"service_name": "Echo"}, "service_name"),
        (Limits(most_name_bytes=3), {}, "service_name"),
        (Limits(most_tags=1), {"tags": {"a": "1", "b": "2"}}, "tags"),
        (Limits(most_tags_bytes=3), {"tags": {"a": "123"}}, "tags"),
        (Limits(most_value_bytes=2), {"tags": {"a": "123"}}, "tags"),
        (Limits(tag_text="[a-z]*"), {"tags": {"a": "b:c"}}, "tags"),
        (Limits(), {"weight": 0, "addr": "unix:/run/a", "tags": {"a": "\n"}}, None),
    ],
)
def test_limit_is_passed_by_the_field_that_it_is_of(
    limits: Limits, fields: dict[str, object], passed: str | None
) -> None:
    """A declared limit names the field of an Info that passes it."""
    values: dict[str, object] = {"service_name": "echo", "addr": "10.0.0.1:1", **fields}

    assert limits.passed_by(Info(**values)) == passed  # type: ignore[arg-type]  # of mixed types


def test_installed_backend_is_tried_by_its_url(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a test module the rules are tried that need no disturbance, and the rest is named."""
    path = tmp_path / "report.json"
    tmp_path.chmod(0o700)

    code = main(f"local:{tmp_path}/x.registry?ttl=2", json_path=path, only=["R1", "K3"])

    assert code == KEPT
    assert "local: 1 of 26 rules kept; not claimed: K3; not tried: A1 R2" in capsys.readouterr().out
    report = Report.from_json(json.loads(path.read_text()))
    assert report.with_verdict(Verdict.KEPT) == ("R1",)


def test_backend_that_does_not_answer_is_named_before_anything_runs(tmp_path: Path) -> None:
    """A server that is away is one error, not a failure of every rule."""
    with pytest.raises(UnavailableError, match="none is no folder"):
        run(f"local:{tmp_path}/none/x.registry?ttl=2")


def test_unknown_backend_is_named_before_anything_runs() -> None:
    """A misspelt name is an error of its own, not a failed test."""
    with pytest.raises(UnknownBackendError, match="No backend 'locla'"):
        run("locla:/tmp/x")
