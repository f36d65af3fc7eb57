"""`enlist conformance`: a report of the rules that an installed backend keeps."""

import json
from pathlib import Path

import pytest

from enlist.cli.program import FAILED, MISUSED, run_program


def test_reports_what_a_backend_keeps(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The rule that was asked for is kept, said on the screen and in the file."""
    report = tmp_path / "report.json"
    url = f"local:{tmp_path / 'registry'}?ttl=2"

    status = run_program(["conformance", url, "--rule", "R8", "--report", str(report)])

    said = capfd.readouterr().out
    assert status == 0, said
    assert "R8" in said
    assert json.loads(report.read_text())["rules"]


def test_says_what_to_install_without_pytest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The extra is named."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)

    assert run_program(["conformance", "local"]) == FAILED

    assert "enlist[testing]" in capsys.readouterr().err


def test_refuses_a_rule_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    """A mistyped rule names those that there are, and nothing is run."""
    assert run_program(["conformance", "local", "--rule", "R1", "--rule", "z9"]) == MISUSED
    said = capsys.readouterr().err
    assert "no rule 'Z9'" in said
    assert "R1, R2" in said


def test_refuses_a_backend_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence, before any test is run."""
    assert run_program(["conformance", "nosuch"]) == MISUSED
    assert "No backend 'nosuch'" in capsys.readouterr().err


@pytest.mark.parametrize("path", ["", "no/such/folder/report.json", "a-file/report.json"])
def test_refuses_a_file_that_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], path: str
) -> None:
    """That is said before the run, which takes minutes."""
    (tmp_path / "a-file").touch()

    status = run_program(["conformance", "nosuch", "--report", str(tmp_path / path)])

    said = capsys.readouterr()
    assert status == MISUSED
    assert "'--report'" in said.err
    assert said.out == ""


def test_prints_the_report_before_it_is_written(capfd: pytest.CaptureFixture[str]) -> None:
    """A disk that is full, or what else cannot be foreseen, leaves the report on the screen."""
    status = run_program(["conformance", "local?ttl=2", "--rule", "R8", "--report", "/dev/full"])

    said = capfd.readouterr()
    assert status == FAILED
    assert "1 of 26 rules kept" in said.out
    assert said.err == "enlist: the report cannot be written: [Errno 28] No space left on device\n"
