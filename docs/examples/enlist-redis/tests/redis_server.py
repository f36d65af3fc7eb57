"""A Redis or Valkey server of the tests' own, which they may kill, freeze and wipe."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

READY_S = 20.0


def find_server() -> str:
    """Return the server's program: a named one, or the first on PATH."""
    named = os.environ.get("ENLIST_REDIS_BINARY")
    found = named or shutil.which("redis-server") or shutil.which("valkey-server")
    if not found:
        raise FileNotFoundError(
            "neither redis-server nor valkey-server is on PATH: install one, "
            "or name its program in ENLIST_REDIS_BINARY"
        )
    return found


class RedisServer:
    """One server on 127.0.0.1, which writes every change to its disk; use it with ``with``."""

    def __init__(self, password: str = "") -> None:
        self.password = password
        self._folder = Path(tempfile.mkdtemp(prefix="enlist-redis-"))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start the server."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the server and remove what it wrote."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start the server and wait until it answers."""
        if self._process is not None:
            return
        settings = {
            "port": self.port,
            "bind": "127.0.0.1",
            "dir": self._folder,
            "save": "",
            "appendonly": "yes",
            "appendfsync": "always",
        }
        if self.password:
            settings["requirepass"] = self.password
        flags = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen([find_server(), *flags], stdout=log, stderr=log)
        until = time.monotonic() + READY_S
        while not self._answers():
            if time.monotonic() > until or self._process.poll() is not None:
                said = (self._folder / "log").read_text(errors="replace")
                self.kill()
                raise RuntimeError(f"the server does not answer:\n{said}")
            time.sleep(0.02)

    def kill(self) -> None:
        """End the server at once, frozen or not."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None

    def restart(self, *, wipe: bool) -> None:
        """End it and start it again, with its data or with none."""
        self.kill()
        if wipe:
            shutil.rmtree(self._folder / "appendonlydir", ignore_errors=True)
            (self._folder / "appendonly.aof").unlink(missing_ok=True)  # Redis 6.2 has one file
        self.start()

    def freeze(self) -> None:
        """Let it accept and never answer."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def run(self, *words: str) -> bytes:
        """Send one command and return the first part of the raw answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            if self.password:
                connection.sendall(_packed("AUTH", self.password))
                connection.recv(1_000)
            connection.sendall(_packed(*words))
            answer = connection.recv(10_000)
        if answer.startswith(b"-"):
            raise RuntimeError(f"{words}: {answer.decode()}")
        return answer

    def _answers(self) -> bool:
        try:
            return self.run("PING") == b"+PONG\r\n"
        except (OSError, RuntimeError):  # not listening yet, or still loading its data
            return False

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)


def _packed(*words: str) -> bytes:
    parts = [word.encode() for word in words]
    texts = (b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
    return b"*%d\r\n%s" % (len(parts), b"".join(texts))
