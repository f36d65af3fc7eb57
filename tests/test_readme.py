"""README.md is proven here, each kind of block in its own way.

- ``python`` blocks run as they stand, each as a process of its own, against ``local`` in a
  registry of the test's own that ENLIST_REGISTRY names. One that enlists a server must be found,
  and end well; one that is a client runs while the servers do.
- ``bash`` blocks with ``python3 noxfile.py`` are what a reader of this runs; here each is only
  checked to name sessions that the noxfile has. The demo's own program is run by test_demo.py.
- ``bash`` lines with ``pip install`` must name distributions and extras of this repository.
- ``bash`` lines with ``enlist`` run as they stand, but for the port, which another test may use.

No other kind of block is allowed. Beside them, each registry in the table of registries is
opened, each ``enlist`` command in the text must exist, and each link within the repository leads
to something.
"""

import ast
import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

import enlist
from enlist.cli.program import COMMANDS
from tests.servers.ports import free_port
from tests.waiting import eventually

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
ENDS_WITHIN_S = 40.0

pytestmark = pytest.mark.timeout(120)


def blocks(kind: str) -> list[str]:
    """The blocks of a kind, in order."""
    return [text for each, text in BLOCKS if each == kind]


def bash_lines(beginning: str) -> list[str]:
    """The lines of all bash blocks that begin with these words."""
    lines = [line for text in blocks("bash") for line in text.splitlines()]
    return [line for line in lines if line.startswith(f"{beginning} ")]


PYTHON_SERVERS = [text for text in blocks("python") if "open_registry" not in text]
PYTHON_CLIENTS = [text for text in blocks("python") if "open_registry" in text]
ENLIST_SERVERS = bash_lines("enlist run")
ENLIST_CLIENTS = [line for line in bash_lines("enlist") if line not in ENLIST_SERVERS]


@pytest.fixture
def place(tmp_path: Path) -> str:
    """A registry of this test's own."""
    return f"local:{tmp_path}/registry.db"


def services(place: str) -> tuple[str, ...]:
    """The names of what is registered."""
    with enlist.open_registry(place) as registry:
        return registry.services()


def started(command: Sequence[str], place: str) -> subprocess.Popen[str]:
    """A process that finds this registry, and the programs of this environment first."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        list(command),
        env={**os.environ, "ENLIST_REGISTRY": place, "PATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def python(text: str) -> list[str]:
    """The command that runs a block."""
    return [sys.executable, "-W", "error", "-c", text]


@contextmanager
def serving(command: Sequence[str], place: str) -> Iterator[subprocess.Popen[str]]:
    """Run a server while the block runs, once it is found."""
    known = set(services(place))
    with started(command, place) as process:
        try:
            eventually(
                lambda: set(services(place)) - known or process.poll() is not None,
                within_s=ENDS_WITHIN_S,
                why="the server is found",
            )
            assert process.poll() is None, process.communicate()
            yield process
        finally:
            process.kill()


def output(command: Sequence[str], place: str) -> str:
    """What a command prints that succeeds."""
    with started(command, place) as process:
        said, errors = process.communicate(timeout=ENDS_WITHIN_S)
    assert process.returncode == 0, errors
    return said


def end(process: subprocess.Popen[str], place: str) -> int:
    """Have a server leave and end as its reader would, and return its exit status."""
    name = services(place)
    asks = "input(" in str(process.args)
    if asks:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    else:
        process.send_signal(signal.SIGTERM)
    eventually(lambda: services(place) != name, why="it is deregistered")
    if not asks:
        process.send_signal(signal.SIGTERM)  # skips the rest of the drain
    process.communicate(timeout=ENDS_WITHIN_S)
    return process.returncode


def test_readme_begins_with_the_two_commands() -> None:
    """What a newcomer copies first is the demo, then the tests: one line each."""
    assert BLOCKS[:2] == [
        ("bash", "python3 noxfile.py -s demo\n"),
        ("bash", "python3 noxfile.py\n"),
    ]


def test_readme_has_no_block_that_is_not_proven() -> None:
    """Every block is of a kind that one of these tests runs or checks."""
    assert {kind for kind, _ in BLOCKS} == {"bash", "python"}
    known = [line for word in ("python3 noxfile.py", "pip", "enlist") for line in bash_lines(word)]
    lines = [line for text in blocks("bash") for line in text.splitlines()]
    assert [line for line in lines if line != "python3 noxfile.py" and line not in known] == []


def test_readme_calls_sessions_that_the_noxfile_has() -> None:
    """A session that is named is a function of the noxfile with that decorator."""
    sessions = {
        node.name
        for node in ast.parse((ROOT / "noxfile.py").read_text()).body
        if isinstance(node, ast.FunctionDef)
        and any("nox.session" in ast.unparse(each) for each in node.decorator_list)
    }
    named = re.findall(r"python3 noxfile\.py -s (\w+)", README)

    assert named
    assert set(named) <= sessions


@pytest.mark.parametrize("line", bash_lines("pip"))
def test_readme_installs_what_this_repository_publishes(line: str) -> None:
    """A name after `pip install` is a distribution of ours, and its extra exists."""
    published = {}
    for file in [ROOT / "core/pyproject.toml", *ROOT.glob("plugins/*/pyproject.toml")]:
        table = tomllib.loads(file.read_text())["project"]
        published[table["name"]] = set(table.get("optional-dependencies", {}))
    pip, install, requirement = shlex.split(line)
    name, _, extra = requirement.rstrip("]").partition("[")

    assert (pip, install) == ("pip", "install")
    assert name in published
    assert not extra or extra in published[name]


@pytest.mark.parametrize("text", PYTHON_SERVERS)
def test_readme_server_is_found_and_leaves(text: str, place: str) -> None:
    """A server's block enlists it, and ends well, or by the signal, when it is asked to."""
    with serving(python(text), place) as process:
        (name,) = services(place)
        assert f'"{name}"' in text
        # uvicorn raises the signal again once it has stopped.
        assert end(process, place) == (-signal.SIGTERM if "uvicorn" in text else 0)
    assert services(place) == ()


@pytest.mark.parametrize("line", ENLIST_SERVERS)
def test_readme_enlist_run_is_found_and_leaves(line: str, place: str) -> None:
    """The program is enlisted under the name in the line, and ends by the signal passed on."""
    port = free_port()
    with serving(shlex.split(line.replace("8000", str(port))), place) as process:
        assert services(place) == (shlex.split(line)[3],)
        assert end(process, place) == 128 + signal.SIGTERM
    assert services(place) == ()


def test_readme_clients_work_while_the_servers_run(place: str) -> None:
    """Each client block and each command succeeds, and shows the server that it names."""
    with ExitStack() as running:
        for text in PYTHON_SERVERS:
            running.enter_context(serving(python(text), place))
        with enlist.open_registry(place) as registry:
            (echo,) = registry.resolve("echo")
        for text in PYTHON_CLIENTS:
            assert str(echo.addr) in output(python(text), place)
        for line in ENLIST_CLIENTS:
            said = output(shlex.split(line), place)
            assert said
            assert "echo" not in line or str(echo.addr) in said


@pytest.mark.parametrize(
    "url", re.findall(r"^\| `((?:local|etcd|zookeeper|consul)[^`-]*)` \|", README, re.MULTILINE)
)
def test_readme_registries_can_be_opened(url: str) -> None:
    """Every string in the table names a backend that loads and takes what the string says."""
    enlist.open_registry(url).close()


def test_readme_names_commands_that_exist() -> None:
    """What stands after `enlist` in the text is a command, or an option of all."""
    named = set(re.findall(r"`enlist ([\w-]+)", README)) - {"--help"}

    assert named
    assert named <= set(COMMANDS)


def test_readme_links_lead_somewhere() -> None:
    """A link without a host leads to a file or folder of the repository."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)

    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
