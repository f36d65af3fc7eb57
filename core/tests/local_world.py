"""Parts for the tests of `local`: registries here and in other processes, and a read watch."""

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Self

from enlist.errors import RegistryError
from enlist.info import Info
from enlist.local import LocalOptions, LocalRegistry
from enlist.stopping import StopToken

TIMEOUT_S = 10.0
_PROGRAM = Path(__file__).with_name("local_program.py")


def local_registry(path: Path | None, *, ttl_s: float = 15.0) -> LocalRegistry:
    """Make a plugin object with an owner of its own; the caller closes it."""
    options = LocalOptions(path=path, ttl=timedelta(seconds=ttl_s))
    return LocalRegistry(options, secrets.token_hex(16))


class Registries:
    """Opens plugin objects on one file, each with an owner of its own, and closes them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened: list[LocalRegistry] = []

    def __call__(self, *, ttl_s: float = 15.0) -> LocalRegistry:
        self._opened.append(local_registry(self.path, ttl_s=ttl_s))
        return self._opened[-1]

    def close(self) -> None:
        for registry in self._opened:
            registry.close(TIMEOUT_S)


class Server:
    """A process of `local_program.py`."""

    def __init__(self, path: Path, *, ttl_s: float = 15.0) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(_PROGRAM), str(path), str(ttl_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        """Give the process."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process and what it forked."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.read()  # until a child that was forked has ended too
        self._process.stdout.close()

    def ask(self, *command: object) -> object:
        """Give a command and return what it gave, or `{"error": ...}`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return answer.get("answer", answer)

    def kill(self) -> None:
        """Kill with -9, and wait for it."""
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """Stop it, and wait until it stands still."""
        os.kill(self._process.pid, signal.SIGSTOP)
        os.waitpid(self._process.pid, os.WUNTRACED)

    def thaw(self) -> None:
        os.kill(self._process.pid, signal.SIGCONT)


class Watch:
    """Reads a watch in a thread and keeps every list."""

    def __init__(self, registry: LocalRegistry, service_name: str) -> None:
        self._stop = StopToken()
        self._lists = registry.watch(service_name, self._stop)
        self._arrived = threading.Condition()
        self.seen: list[list[Info]] = []
        self.error: RegistryError | None = None
        self._thread = threading.Thread(target=self._read, name=f"test-watch-{service_name}")
        self._thread.start()

    def _read(self) -> None:
        try:
            for instances in self._lists:
                with self._arrived:
                    self.seen.append(instances)
                    self._arrived.notify_all()
        except RegistryError as exc:
            with self._arrived:
                self.error = exc
                self._arrived.notify_all()

    def wait_for(self, *expected: Info) -> None:
        """Wait until the newest list is this one."""
        wanted = sorted(expected, key=str)
        self._wait(lambda: bool(self.seen) and sorted(self.seen[-1], key=str) == wanted, wanted)

    def wait_for_error(self) -> RegistryError:
        self._wait(lambda: self.error is not None, "an error")
        assert self.error is not None
        return self.error

    def _wait(self, condition: Callable[[], bool], wanted: object) -> None:
        with self._arrived:
            assert self._arrived.wait_for(condition, TIMEOUT_S), f"{self.seen}, not {wanted}"

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(TIMEOUT_S)
        assert not self._thread.is_alive(), "the watch did not end"


@contextmanager
def watching(registry: LocalRegistry, service_name: str) -> Iterator[Watch]:
    """Watch, and stop at the end."""
    watch = Watch(registry, service_name)
    try:
        yield watch
    finally:
        watch.stop()
