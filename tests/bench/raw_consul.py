"""Consul as directly as urllib3 allows: what the plugin is compared with."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Protocol

from enlist import Info
from enlist_consul.operations import beat, deregister, register
from enlist_consul.options import ConsulOptions
from enlist_consul.records import check_id, encode, service_id
from tests.servers.ports import HOST

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

OWNER: Final = "0123456789abcdef" * 2
_CALL_S: Final = 10.0
_WAIT_S: Final = 60


class _Request(Protocol):
    """What the plugin's pure functions make."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def query(self) -> str: ...
    @property
    def body(self) -> bytes | None: ...


class RawConsul:
    """One kept connection, no more.

    Args:
        port: of the agent.
        options: what the checks of the records are to be.
    """

    def __init__(self, port: int, options: ConsulOptions) -> None:
        self._port = port
        self._options = options
        self._pool = self._connect()

    def put(self, info: Info) -> None:
        """Register by the PUT that the plugin sends."""
        self._send(register(encode(info, OWNER, self._options)))

    def remove(self, info: Info) -> None:
        """Deregister by one PUT."""
        self._send(deregister(service_id(info)))

    def beat(self, info: Info) -> None:
        """Send the sign of life of one record."""
        self._send(beat(check_id(info, OWNER), warn=False))

    def services(self) -> int:
        """Return how many services the agent has."""
        return len(self._get("/v1/agent/services").json())

    def passing(self, service_name: str) -> int:
        """Return how many instances of a service a plain reader is given."""
        return len(self._get(f"/v1/health/service/{service_name}?passing").json())

    def has(self, info: Info) -> bool:
        """Return whether the agent has that record."""
        path = f"/v1/agent/service/{service_id(info)}"
        answer = self._pool.request("GET", path, timeout=_CALL_S, retries=False)
        return bool(answer.status == HTTPStatus.OK)

    def close(self) -> None:
        """Close the connection."""
        self._pool.close()

    def watch(
        self, service_name: str, note: Callable[[object], object]
    ) -> Callable[[Callable[[], object]], None]:
        """Have blocking queries, one after another, call back with each list.

        When this returns there has been a first list.

        Returns:
            What ends it; it is given what makes one more change, since only that ends a query.
        """
        pool = self._connect()
        ready, ended = threading.Event(), threading.Event()
        path = f"/v1/health/service/{service_name}?passing"

        def read() -> None:
            index = "0"
            while not ended.is_set():
                url = f"{path}&index={index}&wait={_WAIT_S}s"
                answer = pool.request("GET", url, timeout=2.0 * _WAIT_S, retries=False)
                listed = answer.json()
                if answer.headers["X-Consul-Index"] != index and ready.is_set():
                    note(listed)
                index = answer.headers["X-Consul-Index"]
                ready.set()

        thread = threading.Thread(target=read)
        thread.start()
        if not ready.wait(_CALL_S):
            raise TimeoutError("the raw watch did not begin")

        def end(change: Callable[[], object]) -> None:
            ended.set()
            change()
            thread.join()
            pool.close()

        return end

    def _send(self, request: _Request) -> None:
        url = f"{request.path}?{request.query}" if request.query else request.path
        answer = self._pool.request(
            request.method, url, body=request.body, timeout=_CALL_S, retries=False
        )
        _check(answer)

    def _get(self, path: str) -> BaseHTTPResponse:
        answer: BaseHTTPResponse = self._pool.request("GET", path, timeout=_CALL_S, retries=False)
        _check(answer)
        return answer

    def _connect(self) -> Any:  # noqa: ANN401 - the class is imported when it is used
        from urllib3 import HTTPConnectionPool

        return HTTPConnectionPool(HOST, self._port, maxsize=1, block=True)


def _check(answer: BaseHTTPResponse) -> None:
    if answer.status != HTTPStatus.OK:
        raise RuntimeError(f"Consul answered {answer.status}: {answer.data.decode()}")
