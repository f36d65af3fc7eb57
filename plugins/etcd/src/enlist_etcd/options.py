"""What can be chosen about an etcd registry."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from enlist.backend_options import Hosts, Secret, option
from enlist.errors import InvalidOptionError

__all__ = ["EtcdOptions"]

_SHORTEST_TTL: Final = dt.timedelta(seconds=1)
_LONGEST_TTL: Final = dt.timedelta(days=1)
_FEWEST_TXN_OPS: Final = 2  # one, and one within it
_MOST_TXN_OPS: Final = 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
class EtcdOptions:
    """The options of ``etcd``.

    Attributes:
        endpoints: the members of the cluster; each call goes to one that answers.
        prefix: what every key begins with, as Kitex's ``WithEtcdServicePrefix``.
        ttl: how long records outlive a process that died, 1 s to a day. etcd counts whole
            seconds and may grant more than was asked for.
        timeout: how long one call may take, unless the caller says; kept by the core.
        username: of etcd's own users; empty where etcd has no authentication.
        password: of that user.
        password_file: a file that holds the password; read at each login.
        tls: use TLS with the system's authorities; ``ca`` or ``cert`` switch it on as well.
        ca: a PEM file with the authorities to trust instead of the system's, which are those of
            OpenSSL, unless gRPC's own variable GRPC_DEFAULT_SSL_ROOTS_FILE_PATH names others.
        cert: a PEM file with the client's certificate chain.
        key: a PEM file with the key of ``cert``.
        server_name: the name that the server's certificate must have, where it is another
            than the endpoint's host.
        max_txn_ops: how many operations one transaction may have: the server's
            ``--max-txn-ops``, 128 unless somebody changed it.

    Raises:
        InvalidOptionError: an option breaks its rule, or lacks the one that it needs.
    """

    endpoints: Hosts = option(
        "127.0.0.1:2379",
        url="hosts",
        default_port=2379,
        help="the members of the etcd cluster",
    )
    prefix: str = option(
        "kitex/registry-etcd",
        url="path",
        help="what every key begins with; Kitex's own by default",
    )
    ttl: dt.timedelta = option(
        dt.timedelta(seconds=15),
        help="how long records outlive a process that died",
        aliases_env=("KITEX_ETCD_REGISTRY_LEASE_TTL",),
    )
    timeout: dt.timedelta = option(
        dt.timedelta(seconds=3), help="how long one call may take, unless the caller says"
    )
    username: str = option("", help="the user, where etcd has authentication")
    password: Secret = option(Secret(), help="the password of the user")
    password_file: Path | None = option(None, help="a file that holds the password")
    tls: bool = option(default=False, help="use TLS; ca and cert switch it on as well")
    ca: Path | None = option(None, help="a PEM file with the authorities to trust")
    cert: Path | None = option(None, help="a PEM file with the client's certificate")
    key: Path | None = option(None, help="a PEM file with the key of cert")
    server_name: str = option("", help="the name in the server's certificate, if not the host's")
    max_txn_ops: int = option(128, help="the server's --max-txn-ops")

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        self._check_prefix()
        if not _SHORTEST_TTL <= self.ttl <= _LONGEST_TTL:
            raise InvalidOptionError("ttl", str(self.ttl), "must be from 1 s to one day")
        if not _FEWEST_TXN_OPS <= self.max_txn_ops <= _MOST_TXN_OPS:
            rule = f"must be from {_FEWEST_TXN_OPS} to {_MOST_TXN_OPS}: the server's --max-txn-ops"
            raise InvalidOptionError("max_txn_ops", self.max_txn_ops, rule)
        self._check_user()
        if (self.cert is None) != (self.key is None):
            missing, given = ("key", "cert") if self.key is None else ("cert", "key")
            raise InvalidOptionError(missing, None, f"is needed with {given}; give both or neither")

    @property
    def uses_tls(self) -> bool:
        """Whether connections are made with TLS."""
        return self.tls or self.ca is not None or self.cert is not None

    def _check_prefix(self) -> None:
        if self.prefix.endswith("/"):
            rule = "must not end with '/': one is put between it and the service name"
            raise InvalidOptionError("prefix", self.prefix, rule)
        try:
            self.prefix.encode()
        except UnicodeEncodeError as exc:
            rule = "must not contain a lone surrogate, which UTF-8 cannot carry"
            raise InvalidOptionError("prefix", self.prefix, rule) from exc

    def _check_user(self) -> None:
        has_password = bool(self.password) or self.password_file is not None
        if self.username and not has_password:
            rule = "has no password; give password_file, or ENLIST_OPT_ETCD_PASSWORD"
            raise InvalidOptionError("username", self.username, rule)
        if has_password and not self.username:
            raise InvalidOptionError("username", self.username, "is missing for the password given")
