"""The smallest server, for tests of the harness alone: it counts its starts and echoes."""

import socket
import sys
from typing import Final

from tests.servers.ports import HOST
from tests.servers.process import Server

_PROGRAM: Final = """
import pathlib, socketserver, sys
port, data = int(sys.argv[1]), pathlib.Path(sys.argv[2])
starts = data / "starts"
starts.write_text((starts.read_text() if starts.exists() else "") + "x")

class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        while data := self.request.recv(65536):
            self.request.sendall(data)

class Tcp(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

print("listening", flush=True)
Tcp(("127.0.0.1", port), Echo).serve_forever()
"""


class EchoServer(Server):
    """Sends back what it gets."""

    kind = "echo"

    def __init__(self, name: str = "echo", program: str = _PROGRAM) -> None:
        super().__init__(name)
        self.port: Final = self.claim()
        self._program = program

    @property
    def endpoint(self) -> str:
        """Where clients connect, as host:port."""
        return f"{HOST}:{self.port}"

    @property
    def starts(self) -> int:
        """How often it was started on its present data."""
        return len((self.data / "starts").read_text(encoding="ascii"))

    def command(self) -> list[str]:
        """Return Python with the program."""
        return [sys.executable, "-I", "-S", "-c", self._program, str(self.port), str(self.data)]

    def answers(self) -> bool:
        """Tell whether a byte comes back."""
        with socket.create_connection((HOST, self.port), timeout=1) as connection:
            connection.sendall(b"?")
            return connection.recv(1) == b"?"
