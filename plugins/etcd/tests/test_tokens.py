"""Logging in once for many threads, seen without a server: what one thread does to the others."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from enlist.errors import TimedOutError, UnavailableError
from enlist.stopping import StopToken
from enlist_etcd.deadline import Deadline
from enlist_etcd.failures import CallFailedError, Kind
from enlist_etcd.tokens import Tokens
from tests.waiting import eventually

LONG_S = 20.0


class SlowLogin:
    """A login that goes on until it is told how it ends."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self._end = threading.Event()
        self._error: CallFailedError | None = None

    def __call__(self) -> str:
        """Wait for the end, and return a token or fail."""
        self.begun.set()
        assert self._end.wait(LONG_S)
        if self._error is not None:
            raise self._error
        return "token"

    def end(self, kind: Kind | None = None) -> None:
        """Succeed, or fail with an error of that kind."""
        if kind is not None:
            self._error = CallFailedError(kind, UnavailableError(kind.value))
        self._end.set()


def never() -> str:
    """Log in a second time, which must not happen."""
    raise AssertionError("logged in once more")


def waiting(stop: StopToken) -> bool:
    """Whether somebody waits for the login of another thread."""
    return bool(stop._callbacks)


def test_get_waits_for_the_login_of_another_thread() -> None:
    """Two threads need one login, and both have its token."""
    tokens, login, stop = Tokens(), SlowLogin(), StopToken()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(tokens.get, login, Deadline(LONG_S))
        login.begun.wait(LONG_S)
        second = pool.submit(tokens.get, never, Deadline(LONG_S), stop.on_stop)
        eventually(lambda: waiting(stop), why="the second waits")
        login.end()
        assert (first.result(), second.result()) == ("token", "token")


def test_get_ends_soon_after_stop() -> None:
    """Whoever waits for another thread's login does not wait for its end when stopped."""
    tokens, login, stop = Tokens(), SlowLogin(), StopToken()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(tokens.get, login, Deadline(LONG_S))
        login.begun.wait(LONG_S)
        second = pool.submit(tokens.get, never, Deadline(LONG_S), stop.on_stop)
        eventually(lambda: waiting(stop), why="the second waits")
        stop.set()
        with pytest.raises(UnavailableError, match="stopped"):
            second.result(LONG_S)
        assert not first.done()
        login.end()


def test_get_gives_up_at_its_deadline() -> None:
    """A thread with less time than the one that logs in keeps to its own."""
    tokens, login = Tokens(), SlowLogin()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(tokens.get, login, Deadline(LONG_S))
        login.begun.wait(LONG_S)
        with pytest.raises(TimedOutError):
            tokens.get(never, Deadline(0.05))
        login.end()
        assert first.result() == "token"


def test_get_after_another_threads_login_was_stopped_logs_in_itself() -> None:
    """That somebody closed a watch fails nobody else's call."""
    tokens, login, stop = Tokens(), SlowLogin(), StopToken()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(tokens.get, login, Deadline(LONG_S))
        login.begun.wait(LONG_S)
        second = pool.submit(tokens.get, lambda: "own", Deadline(LONG_S), stop.on_stop)
        eventually(lambda: waiting(stop), why="the second waits")
        login.end(Kind.STOPPED)
        assert second.result() == "own"
        assert isinstance(first.exception(), CallFailedError)


def test_get_after_another_threads_login_failed_fails_too() -> None:
    """A password that etcd refused is not tried once for each thread."""
    tokens, login, stop = Tokens(), SlowLogin(), StopToken()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(tokens.get, login, Deadline(LONG_S))
        login.begun.wait(LONG_S)
        second = pool.submit(tokens.get, never, Deadline(LONG_S), stop.on_stop)
        eventually(lambda: waiting(stop), why="the second waits")
        login.end(Kind.FINAL)
        assert isinstance(first.exception(), CallFailedError)
        assert isinstance(second.exception(), CallFailedError)
