"""`enlist run`: real commands, real signals, real exit statuses."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from core.tests.cli_server import TERM_STATUS
from core.tests.cli_world import Program, end, enlist_process, found, interruptible, server
from enlist.cli.program import run_program
from tests.servers.ports import free_port
from tests.waiting import eventually


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """SIGINT reaches what these tests start, however they were started themselves."""
    with interruptible():
        yield


@pytest.fixture
def place(tmp_path: Path) -> str:
    """A registry of this test's own."""
    return f"local:{tmp_path}/registry.db"


@pytest.fixture
def port() -> int:
    """A port for the command."""
    return free_port()


@contextmanager
def run(place: str, port: int, mode: str, *options: str, drain: str = "0s") -> Iterator[Program]:
    """Run the tests' server under `enlist run`."""
    options = ("--service", "web", "--port", str(port), "--drain", drain, *options)
    with enlist_process(place, "run", *options, "--", *server(mode, port)) as program:
        yield program


def enlisted(place: str) -> None:
    """Wait until the command is found."""
    eventually(lambda: found(place, "web"), within_s=30, why="the command is enlisted")


def gone(place: str) -> None:
    """Wait until the command is not found any more."""
    eventually(lambda: not found(place, "web"), within_s=30, why="the command is deregistered")


def test_run_enlists_what_the_options_say(place: str, port: int) -> None:
    """Clients find the address at which the command really listens, its weight, tags and codec."""
    options = ("--weight", "3", "--tag", "zone=a", "--tag", "k=v=w", "--payload-codec", "thrift")
    with run(place, port, "listen", *options) as program:
        enlisted(place)
        (info,) = found(place, "web")
        program.told(signal.SIGTERM)
        status = program.ended()

    assert str(info.addr) == f"127.0.0.1:{port}"
    assert (info.weight, info.payload_codec) == (3, "thrift")
    assert info.tags == {"zone": "a", "k": "v=w"}
    assert status == TERM_STATUS
    assert found(place, "web") == ()


def test_run_publishes_what_others_reach_when_the_command_listens_everywhere(
    place: str, port: int
) -> None:
    """A command on every address is published under one that can be called."""
    with run(place, port, "everywhere") as program:
        enlisted(place)
        (info,) = found(place, "web")
        program.told(signal.SIGTERM)
        program.ended()

    assert info.addr is not None
    assert info.addr.ip is not None
    assert not info.addr.ip.is_unspecified
    assert info.addr.port == port


def test_run_publishes_what_advertise_says(place: str, port: int) -> None:
    """Behind a port mapping another address is published than the one listened on."""
    with run(place, port, "listen", "--advertise", "203.0.113.7:80") as program:
        enlisted(place)
        (info,) = found(place, "web")
        program.told(signal.SIGTERM)
        program.ended()

    assert str(info.addr) == "203.0.113.7:80"


def test_run_takes_a_unix_socket(place: str, socket_folder: Path) -> None:
    """A command on a unix socket is enlisted under its path."""
    path = socket_folder / "web.sock"
    listen = (
        "import socket, signal; s = socket.socket(socket.AF_UNIX); "
        f"s.bind({str(path)!r}); s.listen(); signal.pause()"
    )
    options = ("--service", "web", "--addr", f"unix:{path}", "--drain", "0s")
    with enlist_process(place, "run", *options, "--", sys.executable, "-c", listen) as program:
        enlisted(place)
        (info,) = found(place, "web")
        program.told(signal.SIGTERM)
        status = program.ended()

    assert str(info.addr) == f"unix:{path}"
    assert status == 128 + signal.SIGTERM


def test_run_deregisters_then_drains_then_passes_sigterm_on(place: str, port: int) -> None:
    """The command hears of SIGTERM only when no client finds it and the drain is over."""
    with run(place, port, "listen", drain="50s") as program:
        enlisted(place)
        program.told(signal.SIGTERM)
        gone(place)
        socket.create_connection(("127.0.0.1", port)).close()
        assert program.process.poll() is None
        program.told(signal.SIGTERM)  # skips the rest of the drain
        status = program.ended()

    assert status == TERM_STATUS
    assert program.said[-1] == "heard SIGTERM"


def test_run_is_ended_before_its_drain_where_a_test_fails(place: str, port: int) -> None:
    """Nothing of a test outlives it, and its other tries do not wait, however signals arrive."""
    with run(place, port, "listen", drain="50s") as program:
        pid = int(program.says("pid"))
        enlisted(place)
        program.told(signal.SIGSTOP)  # what it is sent meanwhile arrives as one
        threading.Timer(0.1, program.told, [signal.SIGCONT]).start()
        began = time.monotonic()

    assert time.monotonic() - began < 40
    assert not psutil.pid_exists(pid)


def test_run_drains_for_as_long_as_it_was_told(place: str, port: int) -> None:
    """Without a second signal the drain ends by itself."""
    with run(place, port, "listen", drain="300ms") as program:
        enlisted(place)
        program.told(signal.SIGTERM)
        status = program.ended()

    assert status == TERM_STATUS
    assert "draining" in program.errors


def test_run_treats_sigint_as_sigterm(place: str, port: int) -> None:
    """SIGINT deregisters first too, and ends a command that does not handle it."""
    listen = (
        "import socket, signal; signal.signal(signal.SIGINT, signal.SIG_DFL); "
        f"s = socket.create_server(('127.0.0.1', {port})); signal.pause()"
    )
    options = ("--service", "web", "--port", str(port), "--drain", "0s")
    with enlist_process(place, "run", *options, "--", sys.executable, "-c", listen) as program:
        enlisted(place)
        program.told(signal.SIGINT)
        status = program.ended()

    assert status == 128 + signal.SIGINT
    assert found(place, "web") == ()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_run_passes_other_signals_on(place: str, port: int, number: signal.Signals) -> None:
    """The command hears them at once, and stays enlisted."""
    with run(place, port, "listen") as program:
        enlisted(place)
        program.told(number)
        assert program.says("heard") == number.name
        assert found(place, "web")
        program.told(signal.SIGTERM)
        assert program.ended() == TERM_STATUS


def test_run_leaves_the_signals_of_the_command_as_they_were(place: str, port: int) -> None:
    """The command starts with nothing blocked, in a process group of its own."""
    with run(place, port, "listen") as program:
        assert program.says("mask") == "[]"
        assert program.says("group") == "True"
        enlisted(place)
        program.told(signal.SIGTERM)
        program.ended()


def test_run_lets_an_ignored_signal_be(place: str, port: int) -> None:
    """Under nohup the end of a terminal ends neither enlist nor the command."""
    listen = (
        "import socket, signal; "
        "print('ignored', signal.getsignal(signal.SIGHUP) is signal.SIG_IGN, flush=True); "
        f"s = socket.create_server(('127.0.0.1', {port})); signal.pause()"
    )
    options = ("run", "--service", "web", "--port", str(port), "--drain", "0s", "--")
    arguments = (*options, sys.executable, "-c", listen)
    with enlist_process(place, *arguments, wrapper=["env", "--ignore-signal=HUP"]) as program:
        assert program.says("ignored") == "True"
        enlisted(place)
        program.told(signal.SIGHUP)
        program.told(signal.SIGTERM)
        assert program.ended() == 128 + signal.SIGTERM


def test_run_deregisters_a_command_that_ends_by_itself(place: str, port: int) -> None:
    """It is gone at once, without a drain, and its status is returned."""
    with run(place, port, "crash", drain="50s") as program:
        enlisted(place)
        assert program.process.stdin is not None
        program.process.stdin.write("\n")
        program.process.stdin.flush()
        gone(place)
        status = program.ended()

    assert status == 3


def test_run_deregisters_a_command_that_is_killed(place: str, port: int) -> None:
    """A kill -9 of the command is seen at once; the status is 137 as in a shell."""
    with run(place, port, "listen", drain="50s") as program:
        pid = int(program.says("pid"))
        enlisted(place)
        os.kill(pid, signal.SIGKILL)
        gone(place)
        status = program.ended()

    assert status == 128 + signal.SIGKILL
    assert "draining" not in program.errors


def test_run_takes_the_listener_of_a_child_for_the_commands(place: str, port: int) -> None:
    """A command may have a child listen, as a shell script or a process manager does."""
    with run(place, port, "parent") as program:
        enlisted(place)
        (child,) = [
            each
            for each in psutil.Process(program.process.pid).children(recursive=True)
            if "listen" in each.cmdline()
        ]
        child.kill()
        status = program.ended()

    assert status == 0
    assert found(place, "web") == ()


def test_run_refuses_an_old_listener(place: str, port: int) -> None:
    """Whoever listens there before the start would be published in the command's place."""
    with (
        socket.create_server(("127.0.0.1", port)),
        run(place, port, "listen") as program,
    ):
        status = program.ended()

    assert status == 125
    assert f"something listens at port {port} already (at 127.0.0.1:{port})" in program.errors
    assert program.said == []
    assert found(place, "web") == ()


def test_run_refuses_the_listener_of_a_stranger(place: str, port: int) -> None:
    """Somebody else's listener is not published, although the command still runs."""
    with run(place, port, "deaf") as program:
        program.says("group")
        with socket.create_server(("127.0.0.1", port)):
            status = program.ended()

    assert status == 125
    assert f"(process {os.getpid()}) listens at port {port}, not the command" in program.errors
    assert program.said[-1] == "heard SIGTERM"
    assert found(place, "web") == ()


def test_run_gives_up_on_a_port_that_never_opens(place: str, port: int) -> None:
    """After --ready-timeout the command is stopped, and the message says what was missing."""
    with run(place, port, "deaf", "--ready-timeout", "3500ms") as program:
        status = program.ended()

    assert status == 125
    assert "was not ready within 3.5 s" in program.errors
    assert "or give a longer --ready-timeout" in program.errors
    assert program.said[-1] == "heard SIGTERM"


def test_run_kills_a_command_that_does_not_stop_after_a_failed_start(place: str, port: int) -> None:
    """A failed start leaves no process behind, whatever the command does with SIGTERM."""
    with run(place, port, "stubborn", "--ready-timeout", "3500ms", "--grace", "200ms") as program:
        pid = int(program.says("pid"))
        status = program.ended()

    assert status == 125
    assert not psutil.pid_exists(pid)


def test_run_passes_sigterm_on_during_the_start(place: str, port: int) -> None:
    """A stop before the port opens goes to the command at once, and nothing is enlisted."""
    with run(place, port, "deaf", drain="50s") as program:
        program.says("group")
        program.told(signal.SIGTERM)
        status = program.ended()

    assert status == TERM_STATUS
    assert "enlisted" not in program.errors


def test_run_reports_a_command_that_ends_before_it_accepts(place: str, port: int) -> None:
    """Its status is returned, and a sentence says that it was never enlisted."""
    options = ("--service", "web", "--port", str(port), "--", "sh", "-c", "exit 5")
    with enlist_process(place, "run", *options) as program:
        status = program.ended()

    assert status == 5
    assert "ended with status 5 before it was enlisted" in program.errors


@pytest.mark.parametrize(
    "command,status,why",
    [
        ("no-such-command", 127, "'no-such-command' is not found"),
        ("/", 126, "'/' cannot be executed: Permission denied"),
        ("{tmp}/data", 126, "cannot be executed: Permission denied"),
        ("{tmp}/script", 126, "the program that its first line names is not there"),
        ("{tmp}/garbage", 126, "cannot be executed: Exec format error"),
    ],
)
def test_run_tells_why_a_command_cannot_be_started(
    place: str, port: int, tmp_path: Path, command: str, status: int, why: str
) -> None:
    """The statuses are those of a shell, and one sentence names the reason."""
    (tmp_path / "data").touch()
    for name, text in (("script", "#!/no/such/program\n"), ("garbage", "\0\0")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    options = ("--service", "web", "--port", str(port), "--")
    with enlist_process(place, "run", *options, command.format(tmp=tmp_path)) as program:
        actual = program.ended()

    assert actual == status
    assert why in program.errors
    assert len(program.errors.splitlines()) == 1


def test_run_fails_and_stops_the_command_when_the_registry_is_away(port: int) -> None:
    """By default a server that cannot be enlisted does not run either."""
    nobody = free_port()
    with run(f"etcd://127.0.0.1:{nobody}", port, "listen") as program:
        status = program.ended()

    assert status == 125
    assert "-- next: look whether the server runs" in program.errors
    assert program.said[-1] == "heard SIGTERM"


def test_run_goes_on_when_the_registry_is_away_and_it_may_retry(port: int) -> None:
    """With --on-unavailable retry the command serves, and can be stopped as ever."""
    nobody = free_port()
    options = ("--on-unavailable", "retry", "--timeout", "500ms")
    with run(f"etcd://127.0.0.1:{nobody}", port, "listen", *options) as program:
        program.says("listening")
        program.told(signal.SIGUSR1)
        assert program.says("heard") == "SIGUSR1"
        program.told(signal.SIGTERM)
        status = program.ended()

    assert status == TERM_STATUS


def test_run_reaps_the_orphans_that_become_its_children(place: str, port: int) -> None:
    """As process 1 of a container it is the parent of whatever lost its own."""
    # The child gives its own child away, which has ended; only a reaper lets that one vanish.
    listen = f"""
import os, signal, socket
if os.fork() == 0:
    if os.fork() == 0:
        print("orphan", os.getpid(), flush=True)
        os._exit(0)
    os._exit(0)
os.wait()
s = socket.create_server(("127.0.0.1", {port}))
signal.pause()
"""
    # What a container's first process is by nature, any other may ask for; it outlives exec.
    subreaper = (
        "import ctypes, os, sys; PR_SET_CHILD_SUBREAPER = 36; "
        "ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1); os.execv(sys.argv[1], sys.argv[1:])"
    )
    options = ("run", "--service", "web", "--port", str(port), "--drain", "0s", "--")
    arguments = (*options, sys.executable, "-c", listen)
    with enlist_process(place, *arguments, wrapper=[sys.executable, "-c", subreaper]) as program:
        orphan = int(program.says("orphan"))
        enlisted(place)
        eventually(lambda: not psutil.pid_exists(orphan), why="the orphan is reaped")
        program.told(signal.SIGTERM)
        status = program.ended()

    assert status == 128 + signal.SIGTERM


# Refuses each signal but one to this process, as the kernel does for a command of another user.
FORBIDDING = """
import os, runpy, sys

def forbidden(kill):
    def checked(pid, number):
        if pid != os.getpid():
            raise PermissionError(1, "Operation not permitted")
        kill(pid, number)
    return checked

os.kill, os.killpg = forbidden(os.kill), forbidden(os.killpg)
sys.argv = sys.argv[sys.argv.index("enlist.cli"):]
runpy.run_module("enlist.cli", run_name="__main__", alter_sys=True)
"""


def test_run_waits_for_a_command_that_may_not_be_signalled(place: str, port: int) -> None:
    """As under sudo: a stop deregisters, says what is wrong, and returns the status in the end."""
    options = ("--service", "web", "--port", str(port), "--drain", "0s", "--")
    wrapper = [sys.executable, "-W", "error", "-c", FORBIDDING]
    with enlist_process(place, "run", *options, *server("crash", port), wrapper=wrapper) as program:
        command = psutil.Process(int(program.says("pid")))
        try:
            enlisted(place)
            program.told(signal.SIGUSR1)
            program.told(signal.SIGTERM)
            gone(place)
            assert program.process.stdin is not None
            program.process.stdin.write("\n")
            program.process.stdin.flush()
            status = program.ended()
        finally:
            with suppress(psutil.NoSuchProcess):  # it has ended where all is well
                command.kill()

    assert status == 3
    for name in ("SIGUSR1", "SIGTERM"):
        assert f"{name} may not be sent to the command" in program.errors
    assert "run enlist itself as that user" in program.errors


def test_end_kills_a_command_that_does_not_hear() -> None:
    """A test of a command that hangs fails, rather than never to end."""
    code = (
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as deaf:
        assert deaf.stdout is not None
        deaf.stdout.readline()
        end(deaf, within_s=0.1)
        assert deaf.returncode == -signal.SIGKILL


def test_run_leaves_a_command_that_may_not_be_signalled_after_a_failed_start(
    place: str, port: int
) -> None:
    """The failure is told, rather than that enlist waits for what it cannot end."""
    options = ("--service", "web", "--port", str(port), "--ready-timeout", "3500ms", "--")
    wrapper = [sys.executable, "-W", "error", "-c", FORBIDDING]
    with enlist_process(place, "run", *options, *server("deaf", port), wrapper=wrapper) as program:
        pid = int(program.says("pid"))
        try:
            status = program.process.wait(30)
        finally:
            os.kill(pid, signal.SIGKILL)
        program.ended()

    assert status == 125
    assert f"the command (process {pid}) could not be ended, and goes on" in program.errors
    assert "was not ready within 3.5 s" in program.errors


def test_run_gives_a_mistake_of_its_own_a_status_of_its_own(
    place: str, port: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What nobody foresaw does not pass for the status of the command."""

    def unforeseen(*_: object) -> None:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr("enlist.cli.run.listeners_at", unforeseen)
    options = ["--service", "web", "--port", str(port), "--registry", place]

    assert run_program(["run", *options, "--", "true"]) == 125
    assert "RuntimeError: unforeseen" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments,why",
    [
        (["--service", "web", "--", "true"], "Give one of --addr and --port"),
        (["--service", "web", "--port", "1", "--addr", ":1", "--", "true"], "Give one of"),
        (["--port", "1", "--", "true"], "Missing option '--service'"),
        (["--service", "web", "--port", "1"], "Missing argument '-- COMMAND...'"),
        (["--service", "web", "--port", "0", "--", "true"], "0 is not in the range"),
        (["--service", "a/b", "--port", "1", "--", "true"], "service_name='a/b'"),
        (["--service", "web", "--addr", "nonsense", "--", "true"], "listen_addr='nonsense'"),
        (["--service", "web", "--port", "1", "--tag", "x", "--", "true"], "'x' is no pair"),
        (
            ["--service", "web", "--port", "1", "--tag", "x=1", "--tag", "x=2", "--", "true"],
            "'x' is given twice",
        ),
        (["--service", "web", "--port", "1", "--drain", "soon", "--", "true"], "'soon' is not a"),
        (
            ["--service", "web", "--port", "1", "--registry", "etdc", "--", "true"],
            "Did you mean 'etcd'?",
        ),
    ],
)
def test_run_refuses_what_cannot_be_right(place: str, arguments: list[str], why: str) -> None:
    """Nothing is started, the status is 2, and one sentence says what is wrong."""
    with enlist_process(place, "run", *arguments) as program:
        status = program.ended()

    assert status == 2
    assert program.errors.startswith("enlist: ")
    assert why in program.errors
    assert len(program.errors.splitlines()) == 1
