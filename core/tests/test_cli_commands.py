"""`enlist ls`, `plugins`, `check`, `register`, `watch` in a pipe, help, completion and errors."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click  # noqa: TID253 - what the command line is made of
import pytest

from core.tests.cli_world import ENLIST, enlist_process, found, interruptible
from enlist.cli import program as programs
from enlist.cli.program import COMMANDS, run_program
from enlist.info import Info
from enlist.opening import AnyRegistry, open_registry
from tests.servers.ports import free_port
from tests.waiting import eventually

ECHO = Info(service_name="echo", addr="127.0.0.1:81", weight=3, tags={"zone": "a"})


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """SIGINT reaches what these tests start, however they were started themselves."""
    with interruptible():
        yield


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A registry of this test's own, which the environment names."""
    url = f"local:{tmp_path}/registry.db"
    monkeypatch.setenv("ENLIST_REGISTRY", url)
    return url


@pytest.fixture
def registry(place: str) -> Iterator[AnyRegistry]:
    """That registry, opened."""
    with open_registry(place) as opened:
        yield opened


class Result:
    """What one command line did."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status = status
        self.out = out
        self.err = err


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Run a command line in this process."""

    def run(*arguments: str) -> Result:
        status = run_program(arguments)
        said = capsys.readouterr()
        return Result(status, said.out, said.err)

    return run


# --- help ------------------------------------------------------------------------------------


def test_enlist_alone_shows_its_help(call: Callable[..., Result]) -> None:
    """Without arguments nobody is left without a next step."""
    result = call()

    assert result.status == 0
    for name, entry in COMMANDS.items():
        assert f"{name} " in result.out
        assert entry.summary in result.out
    for word in ("Exit status:", "ENLIST_REGISTRY", "_ENLIST_COMPLETE=bash_source", "Examples:"):
        assert word in result.out


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_each_command_has_examples(call: Callable[..., Result], name: str) -> None:
    """Each command's help shows how it is called, and has the same summary as the list."""
    result = call(name, "--help")

    assert result.status == 0
    assert f"Usage: enlist {name} " in result.out
    assert "Examples:\n" in result.out
    assert f"    enlist {name}" in result.out


@pytest.mark.parametrize("name", COMMANDS)
def test_options_are_called_the_same_everywhere(name: str) -> None:
    """An option of one meaning has one name, wherever it occurs."""
    command: click.Command = importlib.import_module(COMMANDS[name].module).command
    names = {option for each in command.params for option in each.opts if option.startswith("--")}

    known = {"--registry", "--service", "--addr", "--port", "--weight", "--tag", "--json"}
    more = {"--timeout", "--payload-codec", "--on-unavailable"}
    own = {
        "run": {"--advertise", "--drain", "--ready-timeout", "--grace"},
        "conformance": {"--rule", "--verbose", "--report"},
        "new-plugin": {"--into"},
    }
    assert names <= known | more | own.get(name, set())
    assert all(each.help for each in command.params if isinstance(each, click.Option))


def test_version_is_that_of_the_distribution(call: Callable[..., Result]) -> None:
    """--version prints the version that pip knows."""
    result = call("--version")

    assert result.out == f"enlist {importlib.metadata.version('enlist')}\n"


def test_help_imports_neither_rich_nor_a_command() -> None:
    """The list of commands costs no more than click."""
    code = (
        "import sys; sys.argv = ['enlist', '--help']; import enlist.cli\n"
        "try: enlist.cli.main()\n"
        "finally: print([m for m in sys.modules if m in ('rich', 'enlist.cli.run', 'grpc')])"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=50
    )

    assert said.stdout.endswith("[]\n")


def test_main_without_the_extra_says_what_to_install() -> None:
    """A plain installation of enlist has the script, which then says one sentence."""
    code = "import sys; sys.modules['click'] = None; import enlist.cli; enlist.cli.main()"
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=50
    )

    assert said.returncode == 1
    assert said.stderr == (
        "enlist: this command needs click and rich; install them: pip install enlist[cli]\n"
    )


@pytest.mark.parametrize(
    "words,offered",
    [
        ("enlist ls --registry lo", ["local"]),
        ("enlist check etc", ["etcd"]),
        ("enlist pl", ["plugins"]),
    ],
)
def test_completion_offers_what_there_is(words: str, offered: list[str]) -> None:
    """The shell completes commands, and the names of installed backends."""
    parts = words.split()
    environ = {
        **os.environ,
        "_ENLIST_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(parts) - 1),
    }
    said = subprocess.run(
        ENLIST, env=environ, capture_output=True, text=True, check=False, timeout=50
    )

    assert said.stdout.splitlines() == [f"plain,{each}" for each in offered]


# --- errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments,status,why",
    [
        (["lss"], 2, "No such command 'lss'"),
        (["ls", "--registri", "local"], 2, "--registri"),
        (["ls", "--registry", "etdc"], 2, "Did you mean 'etcd'?"),
        (["ls", "--registry", "local:relative"], 2, "must be absolute"),
        (["ls", "--registry", "local?ttl=never"], 2, "ttl='never'"),
        (["ls", "--timeout", "0s"], 2, "timeout="),
        (["ls", "a/b"], 2, "service_name='a/b'"),
        (["ls", "--registry", "local:/no/such/folder/registry.db"], 1, "/no/such/folder"),
        (["ls", "--registry", "etcd://127.0.0.1:1"], 1, " -- next: look whether the server runs"),
        (["ls", "--registry", "local", "--registry", "local"], 2, "is named twice"),
        (["watch", "--registry", "local:/no/such/folder/registry.db"], 1, "/no/such/folder"),
        (["register", "--service", "echo"], 2, "Give one of --addr and --port"),
        (["register", "--service", "echo", "--addr", "0.0.0.0:81"], 2, "0.0.0.0"),
        (["check", "local", "--registry", "local"], 2, "Give REGISTRY or --registry, not both"),
    ],
)
def test_errors_are_one_sentence(
    call: Callable[..., Result], place: str, arguments: list[str], status: int, why: str
) -> None:
    """Whatever is wrong, there is one sentence with its reason, a status, and no traceback."""
    result = call(*arguments)

    assert result.status == status
    assert result.err.startswith("enlist: ")
    assert why in result.err
    assert len(result.err.splitlines()) == 1
    assert result.out == ""


def test_click_errors_that_are_not_about_usage_fail(
    call: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupted prompt or call ends with the status of an interrupt."""

    def interrupted(*_: Any, **__: Any) -> None:  # noqa: ANN401 - stands for any command
        raise KeyboardInterrupt

    monkeypatch.setattr(programs.program, "invoke", interrupted)

    assert call("ls").status == 130


def test_output_into_a_closed_pipe_ends_quietly(place: str) -> None:
    """`enlist plugins | true` says nothing of it."""
    with enlist_process(place, "plugins") as program:
        assert program.process.stdout is not None
        program.process.stdout.close()
        program.process.stdout = None
        status = program.process.wait(50)
        assert program.process.stderr is not None
        errors = program.process.stderr.read()

    assert status == 1
    assert errors == ""


# --- ls --------------------------------------------------------------------------------------


def test_ls_lists_services(call: Callable[..., Result], registry: AnyRegistry) -> None:
    """Without a name: which services there are, and how many instances each has."""
    registry.register_all([ECHO, Info(service_name="echo", addr="127.0.0.1:82")])
    registry.register(Info(service_name="web", addr="127.0.0.1:83"))

    assert call("ls").out.splitlines() == [
        "SERVICE  INSTANCES",
        "echo     2",
        "web      1",
    ]
    assert json.loads(call("ls", "--json").out) == [
        {"service_name": "echo", "instances": 2},
        {"service_name": "web", "instances": 1},
    ]


def test_ls_lists_instances(call: Callable[..., Result], registry: AnyRegistry) -> None:
    """With a name: who is there, by address, with all that was said."""
    registry.register(Info(service_name="echo", addr="127.0.0.1:82", payload_codec="thrift"))
    registry.register(ECHO)

    assert call("ls", "echo").out.splitlines() == [
        "SERVICE  ADDRESS       WEIGHT  CODEC   TAGS",
        "echo     127.0.0.1:81  3       -       zone=a",
        "echo     127.0.0.1:82  10      thrift  -",
    ]
    assert json.loads(call("ls", "echo", "--json").out)[0] == {
        "service_name": "echo",
        "addr": "127.0.0.1:81",
        "payload_codec": "",
        "weight": 3,
        "start_time": None,
        "warm_up_s": 0.0,
        "tags": {"zone": "a"},
    }


def test_ls_shows_what_the_locale_cannot(
    registry: AnyRegistry, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the output takes few characters, the others of a tag become escapes."""
    registry.register(Info(service_name="echo", addr="127.0.0.1:82", tags={"k": "→😀"}))
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")

    with (
        enlist_process(place, "ls", "echo") as table,
        enlist_process(place, "ls", "echo", "--json") as listed,
    ):
        assert (table.ended(), listed.ended()) == (0, 0)

    assert table.said[1].endswith(r"k=\u2192\U0001f600")
    assert json.loads(listed.said[0])[0]["tags"] == {"k": "→😀"}


@pytest.mark.parametrize("name", [(), ("echo",)])
def test_ls_of_nothing_says_so(
    call: Callable[..., Result], place: str, name: tuple[str, ...]
) -> None:
    """Nobody is no error: standard output stays empty, or is an empty list."""
    result = call("ls", *name)

    assert (result.status, result.out) == (0, "")
    assert "is registered in local:" in result.err
    assert call("ls", *name, "--json").out == "[]\n"


def test_ls_asks_several_registries(
    call: Callable[..., Result], registry: AnyRegistry, place: str, tmp_path: Path
) -> None:
    """--registry twice gives the union."""
    other = f"local:{tmp_path}/other.db"
    registry.register(ECHO)
    with open_registry(other) as second:
        second.register(Info(service_name="echo", addr="127.0.0.1:82"))
        result = call("ls", "echo", "--registry", place, "--registry", other)

    assert "127.0.0.1:81" in result.out
    assert "127.0.0.1:82" in result.out


# --- plugins ---------------------------------------------------------------------------------


def test_plugins_lists_what_loads(call: Callable[..., Result]) -> None:
    """Each backend with its distribution, version and version of the spec."""
    rows = {row["name"]: row for row in json.loads(call("plugins", "--json").out)}

    assert rows["local"] == {
        "name": "local",
        "distribution": "enlist",
        "version": importlib.metadata.version("enlist"),
        "spec_version": 1,
        "problem": None,
    }
    assert call("plugins").out.splitlines()[0].split() == [
        *("NAME", "DISTRIBUTION", "VERSION", "SPEC", "LOADS"),
    ]


def test_plugins_tells_why_one_does_not_load(
    call: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken plugin is listed with its reason, the others load, and the status is 1."""
    info = tmp_path / "acme_broken-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-broken\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[enlist.registries]\nbroken = no_such_module:Plugin\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    result = call("plugins", "--json")
    rows = {row["name"]: row for row in json.loads(result.out)}

    assert result.status == 1
    assert (rows["broken"]["distribution"], rows["broken"]["version"]) == ("acme-broken", "1.2")
    assert rows["broken"]["spec_version"] is None
    assert "No module named 'no_such_module'" in rows["broken"]["problem"]
    assert rows["local"]["problem"] is None


# --- check -----------------------------------------------------------------------------------


def test_check_measures_every_step(call: Callable[..., Result], registry: AnyRegistry) -> None:
    """On a registry that works all steps succeed, and nothing is left of the probe."""
    result = call("check")

    assert result.status == 0
    assert [line.split("  ")[0] for line in result.out.splitlines()] == [
        "STEP",
        "load the backend",
        "read its options",
        "reach it",
        "enlist a probe",
        "find it as another client",
        "watch it",
        "see a change of it",
        "remove it",
        "see it gone",
    ]
    assert result.out.count(" ms ") == 9
    assert registry.services() == ()


def test_check_prints_json(call: Callable[..., Result], place: str) -> None:
    """The steps are an object for programs."""
    outcome = json.loads(call("check", place, "--json").out)

    assert outcome["ok"] is True
    assert len(outcome["steps"]) == 9
    assert all(step["took_ms"] >= 0 for step in outcome["steps"])


@pytest.mark.parametrize(
    "url,step,advice",
    [
        ("etdc", "load the backend", "'enlist plugins' shows"),
        ("local?ttl=0s", "read its options", "correct the registry URL"),
        ("local:/no/such/folder/registry.db", "reach it", "look whether the server runs"),
        ("etcd://127.0.0.1:{closed}", "reach it", "look whether the server runs"),
    ],
)
def test_check_says_what_failed_and_what_to_do(
    call: Callable[..., Result], url: str, step: str, advice: str
) -> None:
    """The first step that fails is the last, with the reason and a next step."""
    url = url.format(closed=free_port())
    result = call("check", "--registry", url)
    outcome = json.loads(call("check", url, "--json").out)

    assert result.status == 1
    assert f"enlist: to {step} failed: " in result.err
    assert advice in result.err
    assert outcome["ok"] is False
    assert outcome["steps"][-1]["name"] == step
    assert advice in outcome["steps"][-1]["advice"]


# --- register --------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_register_holds_a_record_until_a_signal(place: str, number: signal.Signals) -> None:
    """The record is there, as it was said, until SIGTERM or Ctrl-C takes it away."""
    options = ("--service", "db", "--addr", "db.example:5432", "--tag", "a=b", "--weight", "0")
    with enlist_process(place, "register", *options) as program:
        eventually(lambda: found(place, "db"), within_s=30, why="the record is there")
        (info,) = found(place, "db")
        program.told(number)
        status = program.ended()

    assert info == Info(service_name="db", addr="db.example:5432", weight=0, tags={"a": "b"})
    assert status == 0
    assert found(place, "db") == ()


@pytest.mark.parametrize("option", [("--port", "5432"), ("--addr", ":5432")])
def test_register_finds_the_host_for_a_port(place: str, option: tuple[str, str]) -> None:
    """With a port alone an address of this machine is published that others can call."""
    with enlist_process(place, "register", "--service", "db", *option) as program:
        eventually(lambda: found(place, "db"), within_s=30, why="the record is there")
        (info,) = found(place, "db")
        program.told(signal.SIGTERM)
        program.ended()

    assert info.addr is not None
    assert info.addr.port == 5432
    info.addr.check_reachable()


# --- watch in a pipe -------------------------------------------------------------------------


def test_watch_prints_one_object_a_line(place: str, registry: AnyRegistry) -> None:
    """Each change of a service is one line with all that is there; SIGTERM ends it well."""
    with enlist_process(place, "watch", "echo", "--json") as program:
        lines = objects(program.process)
        assert next(lines)["instances"] == []
        registry.register(ECHO)
        seen = next(lines)
        registry.deregister(ECHO)
        assert next(lines)["instances"] == []
        program.told(signal.SIGTERM)
        assert program.ended() == 0

    assert (seen["service_name"], seen["stale"], seen["why_stale"]) == ("echo", False, "")
    assert [(each["addr"], each["weight"]) for each in seen["instances"]] == [("127.0.0.1:81", 3)]


def test_watch_of_all_sees_new_services(place: str, registry: AnyRegistry) -> None:
    """Without a name every service is watched, also one that is new."""
    registry.register(ECHO)
    with enlist_process(place, "watch", "--json") as program:
        lines = objects(program.process)
        assert next(lines)["service_name"] == "echo"
        registry.register(Info(service_name="web", addr="127.0.0.1:83"))
        assert next(lines)["service_name"] == "web"
        program.told(signal.SIGINT)
        assert program.ended() == 0


def test_watch_prints_lines_in_a_pipe(place: str, registry: AnyRegistry) -> None:
    """Who comes, changes and goes is one line each, without colour or cursor."""
    with enlist_process(place, "watch", "echo") as program:
        out = program.process.stdout
        assert out is not None
        registry.register(ECHO)
        came = out.readline()
        registry.update(ECHO, weight=5)
        changed = out.readline()
        registry.deregister(ECHO)
        went = out.readline()
        program.told(signal.SIGTERM)
        assert program.ended() == 0

    assert came.split()[1:] == ["+", "echo", "127.0.0.1:81", "weight=3", "zone=a"]
    assert changed.split()[1:] == ["~", "echo", "127.0.0.1:81", "weight=5", "zone=a"]
    assert went.split()[1:] == ["-", "echo", "127.0.0.1:81", "weight=5", "zone=a"]


def test_watch_says_that_the_registry_is_away() -> None:
    """A registry that cannot be reached is no end: the view is stale, with the reason."""
    url = f"etcd://127.0.0.1:{free_port()}"
    with enlist_process(url, "watch", "echo", "--json") as program:
        seen = next(objects(program.process))
        program.told(signal.SIGTERM)
        assert program.ended() == 0

    assert seen["stale"] is True
    assert seen["why_stale"]
    assert seen["instances"] == []


def objects(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    """The lines that it prints, as values."""
    assert process.stdout is not None
    for line in process.stdout:
        yield json.loads(line)
