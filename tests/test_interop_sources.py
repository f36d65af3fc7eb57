"""What the session interop stands on, as far as it can be tested where there is no Go."""

from pathlib import Path

import pytest

from tests.interop import building, table


def fake_go(folder: Path, version: str) -> None:
    """A `go` that knows its version and nothing else."""
    program = folder / "go"
    program.write_text(f"#!/bin/sh\necho {version}\n")
    program.chmod(0o755)


def test_missing_go_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no Go, or one that is too old, the sentence says what to provide."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(building.GoMissingError, match=r"no `go` on PATH: put Go 1\.24 or newer"):
        building.go()
    fake_go(tmp_path, "go1.23.9")
    with pytest.raises(building.GoMissingError, match=r"go1\.23\.9: put Go 1\.24 or newer"):
        building.go()


def test_missing_modules_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the module proxy does not give is said in Go's own words."""
    program = tmp_path / "go"
    program.write_text(
        '#!/bin/sh\n[ "$1" = env ] && echo go1.99.1 && exit\necho "no such module" >&2\nexit 1\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(building.GoMissingError, match="no such module"):
        building.download(building.SOURCES)


def test_page_shows_every_row_and_the_versions_of_go_mod() -> None:
    """The page's table has been written since the rows, or the versions, changed."""
    page = table.PAGE.read_text(encoding="utf-8")
    for row in table.ROWS.values():
        assert f"| {row} |" in page
    assert table.versions() in page
