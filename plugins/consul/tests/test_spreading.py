"""Requests for many records: in several threads, wherever and however late they are begun."""

import subprocess
import sys
import threading

import pytest

from enlist_consul.deadline import Deadline
from enlist_consul.spreading import spread
from plugins.consul.tests.making import CALL_S
from tests.servers.consul import ConsulServer

MANY = range(40)

SERVER = """
import sys, threading
from enlist.info import Info
from enlist_consul.options import ConsulOptions
from enlist_consul.plugin import ConsulRegistry

plugin = ConsulRegistry(ConsulOptions(address=sys.argv[1]), "0" * 32)
infos = [Info(service_name="main-has-ended", addr=f"10.0.0.1:{port}") for port in range(1, 41)]
assert plugin.restore(infos, 30) == []

def serve():
    threading.main_thread().join()
    assert plugin.keep_alive(infos, 30).lost == []
    assert plugin.withdraw(infos, 30) == []
    plugin.close()
    print("served")

threading.Thread(target=serve).start()
"""


def test_many_are_kept_alive_after_the_main_thread_has_ended(consul_server: ConsulServer) -> None:
    """A program that leaves its server in another thread keeps all of its records."""
    command = [sys.executable, "-c", SERVER, consul_server.endpoint]
    ran = subprocess.run(command, capture_output=True, check=False, timeout=60, text=True)
    assert (ran.stdout, ran.stderr) == ("served\n", "")


def test_work_for_many_is_shared_by_several_threads() -> None:
    """Four requests are under way at a time, and all of them end with the call."""
    met = threading.Barrier(4)
    workers: set[threading.Thread] = set()

    def work(_: int) -> None:
        if threading.current_thread() not in workers:
            workers.add(threading.current_thread())
            met.wait(CALL_S)

    assert len(spread(MANY, work, Deadline(CALL_S)).done) == len(MANY)
    assert len(workers) == 4
    assert workers & set(threading.enumerate()) == {threading.current_thread()}


def test_work_for_many_is_done_where_no_thread_can_be_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A process that is about to end, or has all the threads that it may have, does it alone."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert len(spread(MANY, str, Deadline(CALL_S)).done) == len(MANY)


def test_bug_in_a_thread_of_many_is_raised_by_the_call() -> None:
    """What is no error of a request does not end in a thread that nobody looks at."""
    caller = threading.current_thread()
    helped = threading.Event()

    def work(_: int) -> None:
        if threading.current_thread() is caller:
            assert helped.wait(CALL_S)
            return
        helped.set()
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        spread(MANY, work, Deadline(CALL_S))
