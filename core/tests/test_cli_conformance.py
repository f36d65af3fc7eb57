"""`enlist conformance`: a report of the rules that an installed backend keeps."""

import json
from pathlib import Path

import pytest

from enlist.cli.program import FAILED, MISUSED, run_program


def test_reports_what_a_backend_keeps(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The rule that was asked for is kept, said on the screen and in the file."""
    report = tmp_path / "report.json"
    url = f"local:{tmp_path / 'registry'}?ttl=2"

    status = run_program(["conformance", url, "--rule", "R8", "--json", str(report)])

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
