"""What can be chosen about a Consul registry."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from enlist.backend_options import HostPort, Secret, option, parse_hosts
from enlist.errors import InvalidOptionError

__all__ = ["ConsulOptions"]

DEFAULT_PORT: Final = 8500
_UNIX: Final = "unix"
_SECURE: Final = "https"
_SCHEMES: Final = {"http", _SECURE, _UNIX}
_SHORTEST_TTL: Final = dt.timedelta(seconds=1)
_LONGEST_TTL: Final = dt.timedelta(days=1)
# The agent itself takes anything shorter for a minute.
_SHORTEST_REAP: Final = dt.timedelta(minutes=1)
_LONGEST_REAP: Final = dt.timedelta(days=30)
_SHORTEST_CHECK: Final = dt.timedelta(seconds=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class ConsulOptions:
    """The options of ``consul``.

    Attributes:
        address: the one agent that keeps our registrations, as a rule the one of this machine:
            "host", "host:port", the same after "http://" or "https://", or the path of a unix
            socket after "unix://".
        ttl: how long records outlive a process that died, 1 s to a day.
        timeout: how long one call may take, unless the caller says; kept by the core.
        deregister_after: how long the agent keeps the record of a dead process, which nobody
            sees any more, before it removes it: a minute to 30 days.
        token: the ACL token; empty where Consul has no ACLs.
        token_file: a file that holds the token; read anew for each request.
        http_auth: "user:password" for a web server that stands before the agent and asks for it
            (HTTP's basic authentication); empty for none.
        datacenter: where to look for instances, if not in the agent's own datacenter. Records
            are always written to the agent's own.
        namespace: of Consul Enterprise.
        partition: of Consul Enterprise.
        tls: use TLS with the system's authorities; ``ca``, ``ca_path``, ``cert`` and "https://"
            switch it on as well. Where one of them does, "http://" does not switch it off.
        tls_verify: check the agent's certificate. Switch it off in experiments only.
        ca: a PEM file with the authorities to trust instead of the system's.
        ca_path: a folder of such files, named by their hashes as ``openssl rehash`` does it.
        cert: a PEM file with the client's certificate chain.
        key: a PEM file with the key of ``cert``.
        server_name: the name that the agent's certificate must have, where it is another than
            the host of ``address``.
        check: what else decides whether an instance is shown: with "tcp", "http", "https" or
            "grpc" the agent also calls the instance's address, which it has to be able to
            reach. The sign of life of this process ("ttl") is needed in any case.
        check_interval: between two such calls, at least 1 s.
        check_timeout: how long such a call may take, at least 1 s.
        check_path: what an HTTP check asks for.
        check_service: the service that a gRPC check asks about; empty for the whole server.
        max_watches: how many services are watched at once by a connection that waits for
            changes. An agent accepts 200 connections from one host
            (``http_max_conns_per_client``); what is watched beyond this is asked for every 2 s.

    Raises:
        InvalidOptionError: an option breaks its rule, or lacks the one that it needs.
    """

    address: str = option(
        f"127.0.0.1:{DEFAULT_PORT}",
        url="hosts",
        help="the Consul agent, as a rule the one of this machine",
        aliases_env=("CONSUL_HTTP_ADDR",),
    )
    ttl: dt.timedelta = option(
        dt.timedelta(seconds=15), help="how long records outlive a process that died"
    )
    timeout: dt.timedelta = option(
        dt.timedelta(seconds=3), help="how long one call may take, unless the caller says"
    )
    deregister_after: dt.timedelta = option(
        _SHORTEST_REAP, help="how long the agent keeps the record of a dead process"
    )
    token: Secret = option(Secret(), help="the ACL token", aliases_env=("CONSUL_HTTP_TOKEN",))
    token_file: Path | None = option(
        None, help="a file that holds the ACL token", aliases_env=("CONSUL_HTTP_TOKEN_FILE",)
    )
    http_auth: Secret = option(
        Secret(),
        help="user:password, where a web server before the agent asks for it",
        aliases_env=("CONSUL_HTTP_AUTH",),
    )
    datacenter: str = option("", help="where to look for instances, if not in the agent's own")
    namespace: str = option(
        "", help="the namespace, in Consul Enterprise", aliases_env=("CONSUL_NAMESPACE",)
    )
    partition: str = option(
        "", help="the admin partition, in Consul Enterprise", aliases_env=("CONSUL_PARTITION",)
    )
    tls: bool = option(
        default=False,
        help="use TLS; ca, ca_path, cert and https:// switch it on as well",
        aliases_env=("CONSUL_HTTP_SSL",),
    )
    tls_verify: bool = option(
        default=True,
        help="check the agent's certificate",
        aliases_env=("CONSUL_HTTP_SSL_VERIFY",),
    )
    ca: Path | None = option(
        None, help="a PEM file with the authorities to trust", aliases_env=("CONSUL_CACERT",)
    )
    ca_path: Path | None = option(
        None,
        help="a folder with the authorities to trust, named by their hashes",
        aliases_env=("CONSUL_CAPATH",),
    )
    cert: Path | None = option(
        None,
        help="a PEM file with the client's certificate",
        aliases_env=("CONSUL_CLIENT_CERT",),
    )
    key: Path | None = option(
        None, help="a PEM file with the key of cert", aliases_env=("CONSUL_CLIENT_KEY",)
    )
    server_name: str = option(
        "",
        help="the name in the agent's certificate, if not the host's",
        aliases_env=("CONSUL_TLS_SERVER_NAME",),
    )
    check: Literal["ttl", "tcp", "http", "https", "grpc"] = option(
        "ttl", help="what else the agent checks beside our signs of life"
    )
    check_interval: dt.timedelta = option(
        dt.timedelta(seconds=10), help="between two checks by the agent"
    )
    check_timeout: dt.timedelta = option(
        dt.timedelta(seconds=5), help="how long a check by the agent may take"
    )
    check_path: str = option("/", help="what an HTTP check asks for")
    check_service: str = option("", help="the service that a gRPC check asks about")
    max_watches: int = option(100, help="how many connections may wait for changes")

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        self.agent  # noqa: B018 - reading it checks it
        _check_span("ttl", self.ttl, _SHORTEST_TTL, _LONGEST_TTL, "1 s to one day")
        _check_span(
            "deregister_after",
            self.deregister_after,
            _SHORTEST_REAP,
            _LONGEST_REAP,
            "one minute to 30 days",
        )
        for name in ("check_interval", "check_timeout"):
            _check_span(name, getattr(self, name), _SHORTEST_CHECK, _LONGEST_TTL, "1 s to one day")
        if (self.cert is None) != (self.key is None):
            missing, given = ("key", "cert") if self.key is None else ("cert", "key")
            raise InvalidOptionError(missing, None, f"is needed with {given}; give both or neither")
        if self.http_auth and ":" not in self.http_auth.reveal():
            raise InvalidOptionError("http_auth", str(self.http_auth), "must be user:password")
        if not self.check_path.startswith("/"):
            raise InvalidOptionError("check_path", self.check_path, "must begin with '/'")
        if self.max_watches < 0:
            raise InvalidOptionError("max_watches", self.max_watches, "must not be negative")

    @property
    def agent(self) -> HostPort | Path:
        """The host and port of ``address``, or the path of its unix socket."""
        scheme, separator, rest = self.address.rpartition("://")
        if scheme == _UNIX:
            if not rest.startswith("/"):
                rule = "must have the whole path of the socket after unix://"
                raise InvalidOptionError("address", self.address, rule)
            return Path(rest)
        if separator and scheme not in _SCHEMES:
            rule = "must begin with http://, https:// or unix://, or with the host"
            raise InvalidOptionError("address", self.address, rule)
        hosts = parse_hosts(rest.removesuffix("/"), default_port=DEFAULT_PORT, field="address")
        if len(hosts) != 1:
            rule = "must name one agent: a registration lives at the agent that it was made at"
            raise InvalidOptionError("address", self.address, rule)
        return hosts[0]

    @property
    def uses_tls(self) -> bool:
        """Whether connections are made with TLS; "http://" in ``address`` does not forbid it."""
        scheme, separator, _ = self.address.partition("://")
        if separator and scheme in {_UNIX, _SECURE}:
            return scheme == _SECURE
        return self.tls or any(one is not None for one in (self.ca, self.ca_path, self.cert))

    @property
    def ttl_s(self) -> float:
        """``ttl`` in seconds."""
        return self.ttl.total_seconds()


def _check_span(
    field: str, value: dt.timedelta, least: dt.timedelta, most: dt.timedelta, words: str
) -> None:
    if not least <= value <= most:
        raise InvalidOptionError(field, str(value), f"must be from {words}")
