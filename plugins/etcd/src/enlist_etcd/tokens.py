"""The token of the user, where etcd has authentication."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future

from enlist.errors import TimedOutError, UnavailableError
from enlist_etcd.connection import OnStop
from enlist_etcd.deadline import Deadline
from enlist_etcd.failures import CallFailedError, Kind

__all__ = ["Tokens"]


class Tokens:
    """One token for all threads; one of them logs in while the others wait for it.

    A login costs etcd tens of milliseconds of processor time on purpose. After a restart all
    tokens are void at once, and each of hundreds of watches would log in by itself.
    """

    def __init__(self) -> None:
        """Have no token yet."""
        self._lock = threading.Lock()
        self._current: str | None = None
        self._login: Future[str] | None = None

    def get(
        self, log_in: Callable[[], str], deadline: Deadline, on_stop: OnStop | None = None
    ) -> str:
        """Return the token; without one, log in or wait for the thread that does.

        Args:
            log_in: asks etcd for a token.
            deadline: until when to wait for another thread.
            on_stop: is given what ends that waiting before its time.

        Raises:
            CallFailedError: the login failed, whichever thread it was in.
            RegistryError: the waiting came to nothing.
        """
        while True:
            with self._lock:
                if self._current is not None:
                    return self._current
                others = self._login
                login = self._login = others or Future()
            if others is None:
                return self._log_in(login, log_in)
            _wait_for(login, deadline, on_stop)
            try:
                return login.result()
            except CallFailedError as exc:
                if exc.kind is not Kind.STOPPED:  # which was the other thread's own affair
                    raise

    def discard(self, token: str) -> None:
        """Hear that a token is not valid; a newer one stays."""
        with self._lock:
            if self._current == token:
                self._current = None

    def _log_in(self, login: Future[str], log_in: Callable[[], str]) -> str:
        try:
            token = log_in()
        except BaseException as exc:
            self._finish(None)
            login.set_exception(exc)
            raise
        self._finish(token)
        login.set_result(token)
        return token

    def _finish(self, token: str | None) -> None:
        with self._lock:
            self._current = token
            self._login = None


def _wait_for(login: Future[str], deadline: Deadline, on_stop: OnStop | None) -> None:
    woken = threading.Event()
    login.add_done_callback(lambda _: woken.set())
    if on_stop is not None:
        on_stop(woken.set)
    if not woken.wait(deadline.left_s()):
        raise TimedOutError("etcd did not answer the login in time.")
    if not login.done():
        raise UnavailableError("etcd: the wait for a login was stopped.")
