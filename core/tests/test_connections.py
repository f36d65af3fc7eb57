"""The connections of a server that is shut down are followed, however it answers them."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.server import HTTPServer, ThreadingHTTPServer
from socketserver import BaseRequestHandler, UDPServer
from typing import Any

import pytest

from core.tests.serving_world import LONG, Hello
from enlist.serving.connections import connections_of


class Replacing(ThreadingHTTPServer):
    """Answers on a socket of its own making, as one does that begins TLS in the thread."""

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - the base's own
        replaced = socket.socket(fileno=request.detach())
        super().process_request_thread(replaced, client_address)


class Pooling(HTTPServer):
    """Answers in a pool, which closes what it has answered."""

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - the same
        self.pool.submit(self.answer, request, client_address)

    def answer(self, request: socket.socket, client_address: object) -> None:
        with request:
            self.finish_request(request, client_address)

    def server_activate(self) -> None:
        super().server_activate()
        self.pool = ThreadPoolExecutor(2)

    def server_close(self) -> None:
        super().server_close()
        self.pool.shutdown()


@contextmanager
def serving(server: HTTPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("kind", [ThreadingHTTPServer, Replacing, Pooling])
def test_connection_is_open_until_it_is_answered(kind: type[HTTPServer]) -> None:
    """One that the server never closes by the object that it accepted ends all the same."""
    called, answer = threading.Event(), threading.Event()

    class Slow(Hello):
        def handle(self) -> None:
            called.set()
            answer.wait(LONG.total_seconds())
            super().handle()

    with (
        kind(("127.0.0.1", 0), Slow) as server,
        connections_of(server) as connections,
        serving(server),
        closing(http.client.HTTPConnection("127.0.0.1", server.server_port, 20)) as client,
    ):
        client.request("GET", "/")
        assert called.wait(LONG.total_seconds())
        assert connections.wait(0) == 1
        answer.set()
        assert client.getresponse().read() == b"hello"
        assert connections.wait(LONG.total_seconds()) == 0


def test_datagram_is_open_until_it_is_answered_itself() -> None:
    """The end of another is none of its own, though nobody but the count has it any more."""

    class Forgetful(UDPServer):
        def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - the base's own
            pass

    with (
        Forgetful(("127.0.0.1", 0), BaseRequestHandler) as server,
        connections_of(server) as connections,
    ):
        for _ in range(2):
            server.process_request((b"x", server.socket), None)
            server.close_request((b"y", server.socket))
        assert connections.wait(0) == 2
