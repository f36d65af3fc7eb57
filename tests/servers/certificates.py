"""Short-lived certificates for TLS tests: an authority, a server, clients, and a stranger."""

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.servers.web import Identity, Tls

_LIFE: Final = timedelta(days=1)
_CLOCK_SKEW: Final = timedelta(minutes=5)
_HOSTS: Final = ("localhost", "127.0.0.1")


class Authority:
    """A certificate authority with its files in one folder.

    Args:
        folder: Made where it is missing; takes every certificate and key.
        name: Common name of the authority.
    """

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        self._identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        self.certificate: Final = folder / "ca.pem"
        self.certificate.write_bytes(_pem(self._sign_itself()))

    def issue(
        self,
        name: str,
        *,
        hosts: tuple[str, ...] = _HOSTS,
        life: timedelta = _LIFE,
    ) -> Identity:
        """Issue a certificate that serves on either side of a connection.

        A second call with the same name replaces the files, which is how a rotation is tested.

        Args:
            name: Common name, and the stem of the file names.
            hosts: Host names and IP addresses that it is valid for.
            life: How long it is valid from now on; negative for one that has expired.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            self._builder(_name(name), key.public_key(), life)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(_alternatives(hosts)), critical=False)
            # etcd's HTTP gateway shows the server's certificate as a client to itself.
            .add_extension(
                x509.ExtendedKeyUsage(
                    [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
                ),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        return self._write(name, _pem(certificate), _key_pem(key))

    def _write(self, name: str, certificate: bytes, key: bytes) -> Identity:
        identity = Identity(
            certificate=self._folder / f"{name}.pem",
            key=self._folder / f"{name}-key.pem",
            both=self._folder / f"{name}-both.pem",
        )
        identity.certificate.write_bytes(certificate)
        for path, content in ((identity.key, key), (identity.both, certificate + key)):
            path.touch(mode=0o600)
            path.write_bytes(content)
        return identity

    def _sign_itself(self) -> x509.Certificate:
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        return (
            self._builder(self._name, self._key.public_key(), _LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, life: timedelta
    ) -> x509.CertificateBuilder:
        # Both identifiers are there because Python 3.13 verifies strictly and asks for them.
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + min(life, timedelta(0)) - _CLOCK_SKEW)
            .not_valid_after(now + life)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(self._identifier),
                critical=False,
            )
        )


@dataclass(frozen=True, slots=True)
class Certificates:
    """All that the TLS tests need.

    Attributes:
        authority: Issues more, replaces or expired ones.
        tls: The server's and a client's identity, as the servers take them.
        stranger: An unrelated authority, for clients that trust the wrong one.
        stranger_client: A client identity that no server here accepts.
    """

    authority: Authority
    tls: Tls
    stranger: Authority
    stranger_client: Identity


def make_certificates(folder: Path) -> Certificates:
    """Write a complete set below `folder`."""
    authority = Authority(folder / "ours", "enlist test authority")
    stranger = Authority(folder / "stranger", "unrelated test authority")
    tls = Tls(authority.certificate, authority.issue("server"), authority.issue("client"))
    return Certificates(authority, tls, stranger, stranger.issue("stranger"))


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _alternatives(hosts: tuple[str, ...]) -> list[x509.GeneralName]:
    return [_alternative(host) for host in hosts]


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
