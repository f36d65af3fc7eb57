"""The processes that the kit starts: each says why it failed, and none is left behind."""

import datetime as dt
import subprocess
import sys
from pathlib import Path

import pytest

from enlist.testing import Abilities, BackendUnderTest
from enlist.testing import workers as workers_module
from enlist.testing.workers import Worker, WorkerError

CHILDREN = """
import signal
from enlist.testing import worker

class Hangs:
    def __repr__(self):
        while True:
            signal.pause()
    close = __repr__

class Deaf(Hangs):
    def __repr__(self):
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        return super().__repr__()

class Fails:
    def __repr__(self):
        raise ValueError("no")
    def close(self):
        raise ValueError("no")

worker.ENDS_WITHIN_S, worker.DEAF_S = 1, 1
commands = worker.Commands()
for commands._registry in (Hangs(), Deaf(), Fails(), object()):
    print(commands.do_multiprocessing())
for commands._registry in (Hangs(), Fails()):
    print(commands.do_fork("close")["report"])
print(commands.do_fork("exit")["report"])
"""
ENDINGS = """\
it had not ended after 1 s
it had not ended after 1 s
it ended with 1
done
it had not ended after 1 s
it ended with 1
done
"""


class Local(BackendUnderTest):
    abilities = Abilities(ttl=dt.timedelta(seconds=2))

    def __init__(self, url: str) -> None:
        self.url = url


def test_child_that_hangs_is_ended(tmp_path: Path) -> None:
    """A child that does not come to its end is ended, and the worker tells so in its time."""
    done = subprocess.run(
        [sys.executable, "-c", CHILDREN], capture_output=True, check=False, cwd=tmp_path, text=True
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout == ENDINGS, done.stderr


def test_worker_that_does_not_answer_is_told_from_one_that_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who was killed for saying nothing is said to have been silent, and for how long."""
    tmp_path.chmod(0o700)
    worker = Worker(Local(f"local:{tmp_path}/x.registry?ttl=2"))
    try:
        monkeypatch.setattr(workers_module, "ANSWERS_WITHIN_S", 0.5)
        worker.freeze()
        with pytest.raises(WorkerError, match=r"not answer 'status' within 0\.5 s and was killed"):
            worker.states()
        with pytest.raises(WorkerError, match="ended"):
            worker.states()
    finally:
        worker.end()


def test_worker_that_cannot_open_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """When a process cannot open its registry the error is told, and the process is gone."""
    begun: list[subprocess.Popen[str]] = []

    def begin(*args: object, **options: object) -> subprocess.Popen[str]:
        begun.append(popen(*args, **options))  # type: ignore[call-overload]  # as it was called
        return begun[-1]

    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", begin)

    with pytest.raises(WorkerError, match="No backend 'nosuch'"):
        Worker(Local("nosuch:x"))

    (process,) = begun
    assert process.returncode is not None
