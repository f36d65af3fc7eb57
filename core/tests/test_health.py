"""A server is out of its registry while it is not healthy, and comes back by itself."""

import datetime as dt
import http.server
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from enlist import (
    Info,
    InvalidInfoError,
    InvalidOptionError,
    ServerOptions,
    State,
    Status,
    UnavailableError,
    enlisted,
    open_registry,
)
from enlist.serving.health import HealthGate, Silent
from tests.waiting import eventually

ECHO = Info(service_name="echo", addr="10.0.0.1:80")


@pytest.fixture
def listening() -> Iterator[str]:
    """A real server, and where it listens."""
    handler = http.server.BaseHTTPRequestHandler
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_is_out_while_unhealthy_and_comes_back(listening: str, tmp_path: Path) -> None:
    """Nobody has to restart it."""
    url = f"local:{tmp_path / 'registry'}"
    well = threading.Event()
    well.set()
    with (
        open_registry(url) as client,
        enlisted(
            "echo",
            listening,
            registry=url,
            healthy=well.is_set,
            health_interval=dt.timedelta(milliseconds=20),
            drain=dt.timedelta(0),
        ) as registration,
    ):
        assert len(client.resolve("echo")) == 1
        registration.update(weight=3)

        well.clear()
        eventually(lambda: client.resolve("echo") == (), within_s=10, why="unhealthy")

        well.set()
        eventually(lambda: len(client.resolve("echo")) == 1, within_s=10, why="healthy again")
        assert client.resolve("echo")[0].weight == 3


def test_is_updated_while_it_is_out(listening: str, tmp_path: Path) -> None:
    """The change is refused or kept at once, and published when the server is back."""
    url = f"local:{tmp_path / 'registry'}"
    well = threading.Event()
    with (
        open_registry(url) as client,
        enlisted(
            "echo",
            listening,
            registry=url,
            healthy=well.is_set,
            health_interval=dt.timedelta(milliseconds=20),
            drain=dt.timedelta(0),
        ) as registration,
    ):
        eventually(lambda: client.resolve("echo") == (), within_s=10, why="unhealthy")
        with pytest.raises(InvalidInfoError, match="weight=-1"):
            registration.update(weight=-1)
        assert registration.update(weight=3, tags={"zone": "b"}).weight == 3
        assert client.resolve("echo") == ()

        well.set()
        eventually(lambda: len(client.resolve("echo")) == 1, within_s=10, why="healthy again")
        assert client.resolve("echo") == (registration.info,)
        assert registration.info.tags == {"zone": "b"}


class Board:
    """Notes what was done, and fails when told to."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.away = False
        self.states = {ECHO: State.ENLISTED}
        self.before_it_is_in: Callable[[], object] = lambda: None

    def register(self, info: Info) -> None:
        self._do("in")
        self.before_it_is_in()
        self.states = {info: State.ENLISTED}

    def deregister(self, info: Info) -> None:
        self._do("out")
        self.states = {}

    def status(self) -> list[Status]:
        now = dt.datetime.now(dt.UTC)
        return [Status(info, state, now, None, None, "") for info, state in self.states.items()]

    def _do(self, what: str) -> None:
        if self.away:
            raise UnavailableError("refused")
        self.done.append(what)


def test_acts_only_on_a_change() -> None:
    """A check a second is no write a second."""
    board = Board()
    answers = iter([True, True, False, False, True, True])
    gate = HealthGate(lambda: next(answers), board, lambda: ECHO, 60.0)

    for _ in range(6):
        gate.look()

    assert board.done == ["out", "in"]


def test_tries_again_what_the_registry_could_not_do() -> None:
    """An outage in between does not leave an unhealthy server in."""
    board = Board()
    gate = HealthGate(lambda: False, board, lambda: ECHO, 60.0)
    board.away = True
    gate.look()
    board.away = False
    gate.look()

    assert board.done == ["out"]


def test_leaves_to_the_keeper_what_is_leaving_already() -> None:
    """A removal that failed goes on in the background; asking again would only fail again."""
    board = Board()
    board.states = {ECHO: State.LEAVING}
    HealthGate(lambda: False, board, lambda: ECHO, 60.0).look()

    assert board.done == []


def test_puts_in_what_was_updated_at_that_very_moment() -> None:
    """An update that comes while the server is being put in is not lost."""
    board = Board()
    board.states = {}
    published = [ECHO]
    later = replace(ECHO, weight=3)
    board.before_it_is_in = lambda: published.append(later)
    HealthGate(lambda: True, board, lambda: published[-1], 60.0).look()

    assert list(board.states) == [later]
    assert [info.weight for info in board.states] == [3]


def test_takes_out_again_what_was_put_in_while_the_server_left() -> None:
    """A register that was on its way when the stop came leaves no record of who has gone."""
    board = Board()
    board.states = {}
    gate = HealthGate(lambda: True, board, lambda: ECHO, 60.0)

    def leave() -> None:
        gate._stopping.set()
        board.deregister(ECHO)

    board.before_it_is_in = leave
    gate.look()

    assert board.done == ["in", "out", "out"]
    assert not board.states


def test_leaves_nothing_when_who_is_told_fails(listening: str, tmp_path: Path) -> None:
    """Whatever fails after the server was registered takes it out again (S4)."""

    class Broken(Silent):
        def serving(self, *, yes: bool) -> None:
            raise RuntimeError(f"serving: {yes}")

    with open_registry(f"local:{tmp_path / 'registry'}") as registry:
        with (
            pytest.raises(RuntimeError, match="serving: True"),
            enlisted("echo", listening, registry=registry, observer=Broken()),
        ):
            raise AssertionError("it did not start")
        assert registry.resolve("echo") == ()


def test_takes_out_what_came_in_by_another_way() -> None:
    """An update and a check may meet; the next check sees what came of it."""
    board = Board()
    gate = HealthGate(lambda: False, board, lambda: ECHO, 60.0)
    gate.look()
    board.states = {ECHO: State.ENLISTED}
    gate.look()

    assert board.done == ["out", "out"]


def test_takes_a_check_that_raises_for_unhealthy(caplog: pytest.LogCaptureFixture) -> None:
    """Logged with its traceback; the thread goes on."""
    board = Board()

    def check() -> bool:
        raise ZeroDivisionError

    gate = HealthGate(check, board, lambda: ECHO, 60.0)
    with caplog.at_level(logging.ERROR):
        gate.look()

    assert board.done == ["out"]
    assert "ZeroDivisionError" in caplog.text


def test_does_not_wait_for_a_check_that_hangs(caplog: pytest.LogCaptureFixture) -> None:
    """A stop is bounded; what the check would have done is not done."""
    board = Board()
    begun, released = threading.Event(), threading.Event()

    def check() -> bool:
        begun.set()
        released.wait(30)
        return False

    gate = HealthGate(check, board, lambda: ECHO, 0.01)
    gate.start()
    begun.wait(10)
    gate.stop()
    released.set()

    assert "still running" in caplog.text
    eventually(
        lambda: all(thread.name != "enlist-health" for thread in threading.enumerate()),
        within_s=10,
        why="the check has ended",
    )
    assert board.done == []


def test_refuses_what_cannot_be_asked() -> None:
    """A truth that never changes is no check."""
    with pytest.raises(InvalidOptionError, match="healthy=True: must be a function to ask"):
        ServerOptions(healthy=True)  # type: ignore[arg-type]  # wrong on purpose
