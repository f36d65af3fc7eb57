"""A server process: ready, frozen, killed, started again, and never left behind."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.servers.echo import EchoServer
from tests.servers.ports import HOST
from tests.servers.process import ServerFailedError
from tests.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
# A test process that starts a server, tells about it, and then waits to be killed.
TEST_RUN = """
import sys
from tests.servers.echo import EchoServer
server = EchoServer()
server.start()
print(server.pid, server.folder, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def echo() -> Iterator[EchoServer]:
    """A started server."""
    with EchoServer() as server:
        yield server


def connects(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except ConnectionRefusedError:
        return False
    return True


def test_start_returns_when_the_server_answers(echo: EchoServer) -> None:
    """No waiting is left to the test."""
    assert echo.answers()
    assert psutil.pid_exists(echo.pid)


def test_start_again_leaves_a_running_server_alone(echo: EchoServer) -> None:
    """Starting twice is no error and no second process."""
    pid = echo.pid

    echo.start()

    assert echo.pid == pid
    assert echo.starts == 1


def test_start_failure_shows_the_end_of_the_log() -> None:
    """A server that dies at once says why, in the error itself."""
    server = EchoServer(program="raise SystemExit('the port is cursed')")

    with pytest.raises(ServerFailedError, match=r"(?s)ended.*exit status 1.*the port is cursed"):
        server.start()
    server.close()


def test_start_failure_leaves_no_folder() -> None:
    """A server that never came up inside a with statement is cleared away."""
    server = EchoServer(program="raise SystemExit('no')")

    with pytest.raises(ServerFailedError), server:
        pass

    assert not server.folder.exists()


def test_start_of_an_absent_program_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that is not there is told apart from one that fails."""
    with EchoServer() as server:
        server.kill()
        monkeypatch.setattr(server, "command", lambda: ["/absent/program"])

        with pytest.raises(ServerFailedError, match=r"cannot run /absent/program: .*No such file"):
            server.start()


def test_wait_ready_gives_up_when_nothing_answers() -> None:
    """A server that runs but does not listen is reported with its log."""
    server = EchoServer(
        program="print('dreaming', flush=True); input_ = __import__('signal').pause()"
    )
    server.spawn()

    with pytest.raises(ServerFailedError, match=r"(?s)did not answer within 0.5 s.*log"):
        server.wait_ready(timeout_s=0.5)
    server.close()


def test_freeze_leaves_the_port_open_but_silent(echo: EchoServer) -> None:
    """A frozen server is half-open: the kernel accepts, nobody answers, until it is thawed."""
    echo.freeze()

    assert echo.frozen
    with socket.create_connection((HOST, echo.port), timeout=0.3) as connection:
        connection.sendall(b"?")
        with pytest.raises(TimeoutError):
            connection.recv(1)
        echo.thaw()
        connection.settimeout(10)
        assert connection.recv(1) == b"?"
    assert not echo.frozen


def test_freeze_and_thaw_twice_are_no_errors(echo: EchoServer) -> None:
    """Both say what is to be, not what is to change."""
    echo.freeze()
    echo.freeze()
    echo.thaw()
    echo.thaw()

    assert echo.answers()


@pytest.mark.parametrize("frozen", [False, True])
def test_kill_ends_the_server(echo: EchoServer, frozen: bool) -> None:  # noqa: FBT001 - pytest passes by name
    """After kill there is no process and no listener, whether it was frozen or not."""
    pid = echo.pid
    if frozen:
        echo.freeze()

    echo.kill()

    assert not psutil.pid_exists(pid)
    assert not connects(echo.port)
    assert not echo.running


def test_stop_ends_a_frozen_server(echo: EchoServer) -> None:
    """SIGTERM reaches a frozen server, which is thawed for it."""
    echo.freeze()

    echo.stop()

    assert not echo.running


@pytest.mark.parametrize("wipe,starts", [(False, 2), (True, 1)])
def test_restart_keeps_or_wipes_the_data(echo: EchoServer, wipe: bool, starts: int) -> None:  # noqa: FBT001 - pytest passes by name
    """A restart is a new process on the same port, with the old data or with none."""
    pid, port = echo.pid, echo.port

    echo.restart(wipe=wipe)

    assert echo.answers()
    assert (echo.port, echo.starts) == (port, starts)
    assert echo.pid != pid


def test_wipe_refuses_a_running_server(echo: EchoServer) -> None:
    """Data is not pulled from under a server by mistake."""
    with pytest.raises(RuntimeError, match="stop or kill it first"):
        echo.wipe()


@pytest.mark.parametrize("harm", ["kill", "stop", "freeze"])
def test_recover_makes_it_answer(echo: EchoServer, harm: str) -> None:
    """Whatever a test did, the next one meets a server that answers."""
    getattr(echo, harm)()

    echo.recover()

    assert echo.answers()


def test_signal_after_the_end_hits_nobody(echo: EchoServer) -> None:
    """A server that ended by itself is not signalled, and says so when it is needed."""
    os.kill(echo.pid, signal.SIGKILL)
    eventually(lambda: not echo.running, why="its end is noticed")

    echo.kill()
    echo.stop()

    with pytest.raises(ServerFailedError, match=r"does not run \(exit status 137\)"):
        echo.freeze()


def test_close_twice_leaves_nothing() -> None:
    """Process, folder and claim are gone after close, and a second call does nothing."""
    with EchoServer() as server:
        pid = server.pid

    server.close()

    assert not psutil.pid_exists(pid)
    assert not server.folder.exists()


def test_server_outlives_the_thread_that_started_it() -> None:
    """It is bound to the test process, not to one of its threads."""
    server = EchoServer()
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()

    with server:
        assert server.answers()
        assert server.starts == 1


def test_server_ends_with_a_killed_test_process() -> None:
    """After SIGKILL of the test process neither the server nor its folder is left."""
    with subprocess.Popen(
        [sys.executable, "-c", TEST_RUN], cwd=ROOT, stdin=-1, stdout=-1, text=True
    ) as run:
        assert run.stdout is not None
        pid, _, folder = run.stdout.readline().strip().partition(" ")
        assert psutil.pid_exists(int(pid))

        run.kill()

    eventually(lambda: not psutil.pid_exists(int(pid)), why="the server is gone")
    eventually(lambda: not Path(folder).exists(), why="its folder is gone")


def test_server_ends_with_a_killed_guardian(echo: EchoServer) -> None:
    """Should the guardian be killed, the kernel ends the server."""
    server = psutil.Process(echo.pid)
    guardian = server.parent()
    assert guardian is not None

    guardian.kill()

    eventually(lambda: not server.is_running(), why="the server is gone")
