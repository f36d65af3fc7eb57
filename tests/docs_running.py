"""Runs the blocks of one page as a reader would: in order, in one folder, beside each other."""

import contextlib
import io
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import enlist
from tests.docs_blocks import Block
from tests.servers.ports import free_port
from tests.waiting import eventually

WITHIN_S = 40.0
PRINTED_ADDRESSES = {
    "etcd": "127.0.0.1:2379",
    "zookeeper": "127.0.0.1:2181",
    "consul": "127.0.0.1:8500",
}
"""What a page prints for each server; a test puts the address of its own in the place."""

PRINTED_PORTS = ("8000", "8001")
"""Ports that a page prints; another test may use them, so a free one stands in."""

_OURS = re.compile(r"ENLIST_|KITEX_|POD_IP$|CONSUL_")
_ENDED_WELL = {0, -signal.SIGKILL, 128 + signal.SIGTERM, -signal.SIGTERM}


class Background:
    """A command that goes on beside the page; its output is read all the time."""

    def __init__(self, line: str, folder: Path, environ: Mapping[str, str], *, tty: bool) -> None:
        """Start it, on a terminal of its own if that is asked for."""
        self._heard = bytearray()
        reader, writer = pty.openpty() if tty else os.pipe()
        try:
            self._process = subprocess.Popen(
                shlex.split(line),
                cwd=folder,
                env=dict(environ),
                stdin=writer if tty else subprocess.DEVNULL,
                stdout=writer,
                stderr=writer,
                start_new_session=True,
            )
        finally:
            os.close(writer)
        self._line = line
        self._reading = threading.Thread(target=self._read, args=(reader,))
        self._reading.start()

    @property
    def output(self) -> str:
        """What it has printed by now."""
        return self._heard.decode(errors="replace")

    def wait_until(self, text: str) -> None:
        """Wait until it has printed the text."""
        eventually(
            lambda: text in self.output or self._process.poll() is not None,
            within_s=WITHIN_S,
            why=f"{self._line!r} prints {text!r}",
        )
        assert text in self.output, f"{self._line!r} ended and had printed: {self.output}"

    def end(self) -> None:
        """Stop it as its reader would, twice if need be, and look how it ended."""
        for patience_s in (1.0, WITHIN_S):
            if self._process.poll() is None:
                self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience_s)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._reading.join()
        status = self._process.returncode
        assert status in _ENDED_WELL, f"{self._line!r} ended with {status}: {self.output}"

    def _read(self, reader: int) -> None:
        try:
            while heard := os.read(reader, 4_096):
                self._heard += heard
        except OSError:  # how a terminal says that nobody has it open any more
            return
        finally:
            os.close(reader)


class PageRun:
    """What the blocks of one page share: a folder, a namespace, an environment."""

    def __init__(self, folder: Path, servers: Mapping[str, str]) -> None:
        """Take the folder to run in, and the address of each server that the page needs."""
        self.folder = folder
        self.output = ""
        self._namespace: dict[str, Any] = {"__name__": "__main__"}
        self._background: list[Background] = []
        self._instead = {
            PRINTED_ADDRESSES[name]: addr
            for name, addr in servers.items()
            if name in PRINTED_ADDRESSES
        }
        self._instead |= {port: str(free_port()) for port in PRINTED_PORTS}
        self._instead["/tmp/"] = f"{folder}/"  # noqa: S108 - what a page may print, never used
        kept = {name: value for name, value in os.environ.items() if not _OURS.match(name)}
        self.environ = {
            **kept,
            # A reader starts the client seconds after the server, this test at once.
            "ENLIST_REGISTRY": f"local:{folder}/registry.db?timeout={WITHIN_S:g}s",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}",
            "PYTHONUNBUFFERED": "1",
            "COLUMNS": "100",
        }

    def adapted(self, text: str) -> str:
        """Return the text with this test's own servers, ports and folder in it."""
        for printed, own in self._instead.items():
            text = re.sub(rf"(?<![\w.]){re.escape(printed)}(?!\d)", own, text)
        return text

    def keep_file(self, block: Block) -> None:
        """Write a block into the file that the reader is told to save it as."""
        text = self.adapted(block.text)
        if block.kind == "python":
            compile(text, block.place, "exec")
        (self.folder / block.marks["file"]).write_text(text, encoding="utf-8")

    def python(self, block: Block) -> None:
        """Run Python in the page's namespace."""
        lines = "\n" * block.line  # so that a traceback has the page's own line numbers
        code = compile(lines + self.adapted(block.text), str(block.page), "exec")
        said = io.StringIO()
        with contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.redirect_stdout(said))
            if name := block.marks.get("raises"):
                stack.enter_context(pytest.raises(getattr(enlist, name)))
            exec(code, self._namespace)  # noqa: S102 - the page's own code, which is the test
        self.output = said.getvalue()

    def bash(self, block: Block) -> None:
        """Run a script, or start the one command of a block that goes on."""
        text = self.adapted(block.text)
        if "background" in block.marks or "terminal" in block.marks:
            (line,) = text.splitlines()
            started = Background(line, self.folder, self.environ, tty="terminal" in block.marks)
            self._background.append(started)
            started.wait_until(block.marks.get("until", ""))
            self.output = started.output
            return
        done = subprocess.run(
            ["/bin/bash", "-euc", text],
            cwd=self.folder,
            env=self.environ,
            timeout=WITHIN_S,
            capture_output=True,
            text=True,
            check=False,
        )
        self.output = done.stdout + done.stderr
        wanted = int(block.marks.get("fails", "0"))
        assert done.returncode == wanted, f"{block.place}: {done.returncode}: {self.output}"
        if "sees" in block.marks:
            self._background[-1].wait_until(block.marks["sees"])

    def shows(self, block: Block) -> None:
        """Compare a block with the output of the one before it; "..." stands for anything."""
        pattern = r"\s+".join(
            ".*".join(re.escape(piece) for piece in word.split("..."))
            for word in block.text.split()
        )
        found = re.fullmatch(pattern, self.adapted_back(self.output).strip(), re.DOTALL)
        assert found, f"{block.place} shows what was not printed; it was:\n{self.output}"

    def adapted_back(self, text: str) -> str:
        """Return an output with what the page prints in the place of this test's own."""
        for printed, own in self._instead.items():
            text = text.replace(own, printed)
        return text

    def end(self) -> None:
        """End what still goes on, the newest first."""
        while self._background:
            self._background.pop().end()
