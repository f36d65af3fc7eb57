"""Certificates for tests: who trusts whom."""

import ssl
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from tests.servers.certificates import Certificates
from tests.servers.web import Identity


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, host: str = "127.0.0.1") -> None:
    """Run a TLS handshake and one byte each way in memory; raises what either side raises."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    waiting: list[Callable[[], object]] = [end.do_handshake for end in ends]
    for _ in range(10):
        waiting = [step for step in waiting if not finished(step)]
    assert not waiting
    ends[0].write(b"x")
    assert ends[1].read(1) == b"x"


def finished(step: Callable[[], object]) -> bool:
    try:
        step()
    except ssl.SSLWantReadError:
        return False
    return True


def server_context(ca: Path, identity: Identity) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(ca))
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_cert_chain(identity.both)
    return context


def client_context(ca: Path, identity: Identity) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(ca))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_cert_chain(identity.certificate, identity.key)
    return context


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_handshake_succeeds_with_our_certificates(certificates: Certificates, host: str) -> None:
    """Both sides accept each other, also under the strict checks of newer Pythons."""
    tls = certificates.tls

    handshake(server_context(tls.ca, tls.server), client_context(tls.ca, tls.client), host)


def test_handshake_fails_when_the_client_is_a_stranger(certificates: Certificates) -> None:
    """The server refuses a client of the unrelated authority."""
    tls = certificates.tls
    client = client_context(tls.ca, certificates.stranger_client)

    with pytest.raises(ssl.SSLError, match=r"CERTIFICATE_VERIFY_FAILED|certificate verify failed"):
        handshake(server_context(tls.ca, tls.server), client)


def test_handshake_fails_when_the_client_trusts_a_stranger(certificates: Certificates) -> None:
    """A client that trusts the unrelated authority refuses our server."""
    tls = certificates.tls
    client = client_context(certificates.stranger.certificate, tls.client)

    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server_context(tls.ca, tls.server), client)


def test_handshake_fails_for_another_host(certificates: Certificates) -> None:
    """The server's certificate is good for loopback only."""
    tls = certificates.tls

    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(
            server_context(tls.ca, tls.server), client_context(tls.ca, tls.client), "example.org"
        )


def test_handshake_fails_when_expired(certificates: Certificates) -> None:
    """A negative life gives a certificate that was good once."""
    tls = certificates.tls
    expired = certificates.authority.issue("expired", life=timedelta(hours=-1))

    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        handshake(server_context(tls.ca, expired), client_context(tls.ca, tls.client))


def test_keys_are_private(certificates: Certificates) -> None:
    """Only the owner may read the files that hold a key."""
    client = certificates.tls.client

    assert client.key.stat().st_mode & 0o777 == 0o600
    assert client.both.stat().st_mode & 0o777 == 0o600
