"""Plain HTTP requests to a server under test, apart from the clients that are tested."""

import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers.ports import HOST


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its private key, as PEM files.

    Attributes:
        certificate: The certificate alone.
        key: The unencrypted PKCS #8 key alone.
        both: Certificate and key in one file, as ZooKeeper and some clients want it.
    """

    certificate: Path
    key: Path
    both: Path


@dataclass(frozen=True, slots=True)
class Tls:
    """What a server needs for mutual TLS, and what the harness needs to talk to it.

    Attributes:
        ca: Certificate of the authority that both sides trust.
        server: The server's own identity, valid for 127.0.0.1 and localhost.
        client: An identity that the server accepts.
    """

    ca: Path
    server: Identity
    client: Identity

    def client_context(self) -> ssl.SSLContext:
        """Return a context that trusts the authority and shows the client's certificate."""
        context = ssl.create_default_context(cafile=str(self.ca))
        context.load_cert_chain(self.client.certificate, self.client.key)
        return context


@dataclass(frozen=True, slots=True)
class Reply:
    """Status and body of an HTTP response."""

    status: int
    body: bytes

    def json(self) -> Any:  # noqa: ANN401 - JSON has no better static type
        """Decode the body."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Web:
    """One HTTP server on 127.0.0.1.

    Attributes:
        port: Where it listens.
        tls: Speak HTTPS with these certificates; plain HTTP where None.
        timeout_s: Seconds that one socket operation may take.
    """

    port: int
    tls: Tls | None = None
    timeout_s: float = 5.0

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send one request on a connection of its own.

        Args:
            method: "GET", "PUT", ...
            path: With its query string.
            body: Sent as JSON where it is not None.
            headers: Additional request headers.

        Raises:
            OSError: If the server is not reached, or breaks off; also for half a response.
        """
        connection = self._connect()
        try:
            data = None if body is None else json.dumps(body).encode()
            connection.request(method, path, data, dict(headers or {}))
            response = connection.getresponse()
            return Reply(response.status, response.read())
        except ConnectionError:  # some of http.client's own are one
            raise
        except http.client.HTTPException as exc:
            msg = f"{method} {path} on port {self.port} was answered with garbage: {exc!r}"
            raise OSError(msg) from exc
        finally:
            connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        if self.tls is None:
            return http.client.HTTPConnection(HOST, self.port, timeout=self.timeout_s)
        return http.client.HTTPSConnection(
            HOST, self.port, timeout=self.timeout_s, context=self.tls.client_context()
        )
