"""What a process must offer for a registry to stay alive in it: threads that really run.

Signs of life come from a thread. Where threads do not run, or run only while nothing else does,
a registration would be lost sooner or later without a word; so that is refused with a sentence.
"""

from __future__ import annotations

import sys
import threading
from typing import Final

from enlist.errors import UnavailableError, UnsupportedError

__all__ = ["check_threads", "is_thread_limit", "start_thread", "too_many_threads"]

_INSTEAD: Final = (
    "keep the server enlisted from a process of its own instead, such as with 'enlist run', "
    "or from the parent process before its workers are started"
)


def check_threads() -> None:
    """Refuse a process whose threads would not keep a registration alive.

    Raises:
        UnsupportedError: uWSGI runs without threads, gevent or eventlet has replaced them, or
            this is a subinterpreter that allows none in the background.
        UnavailableError: the system gives no further thread now.
    """
    # Only the server's own module has this: an application's may be called uwsgi too.
    if not getattr(sys.modules.get("uwsgi"), "has_threads", True):
        raise UnsupportedError(
            "uWSGI runs no threads in this process, so nothing could keep a registration alive; "
            "start uWSGI with --enable-threads"
        )
    if (library := _replaced_threads()) is not None:
        raise UnsupportedError(
            f"{library} has replaced threads by greenlets in this process, which stop while one of "
            f"them computes or waits outside of {library}, and a registration with them; {_INSTEAD}"
        )
    try:
        trial = threading.Thread(daemon=True)
        trial.start()
        trial.join()
    except RuntimeError as exc:
        if is_thread_limit(exc):
            raise too_many_threads(exc) from exc
        raise UnsupportedError(
            f"this interpreter allows no background threads ({exc}); open the registry in the main "
            "interpreter of the process"
        ) from exc


def start_thread(thread: threading.Thread) -> None:
    """Start a thread; whoever keeps it does so after this, since one that never ran has no end.

    Raises:
        UnavailableError: the system gives no further thread now.
    """
    try:
        thread.start()
    except RuntimeError as exc:
        raise too_many_threads(exc) from exc


def is_thread_limit(error: RuntimeError) -> bool:
    """Return whether a thread did not start because the system gives no further one."""
    return "can't start new thread" in str(error)


def too_many_threads(error: RuntimeError) -> UnavailableError:
    """Return the error that says so, and what to do."""
    return UnavailableError(
        f"no thread could be started ({error}); have the process use fewer, or raise its limit: "
        "`ulimit -u`, or the pids limit of its container"
    )


def _replaced_threads() -> str | None:
    gevent = sys.modules.get("gevent.monkey")
    if gevent is not None and gevent.is_module_patched("threading"):
        return "gevent"
    eventlet = sys.modules.get("eventlet.patcher")
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        return "eventlet"
    return None
