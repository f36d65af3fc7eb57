"""What can be chosen about a ZooKeeper registry."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from enlist.backend_options import Hosts, Secret, option
from enlist.errors import InvalidOptionError
from enlist_zookeeper.access import parse_acl
from enlist_zookeeper.names import SYSTEM_NODE, fault_in

__all__ = ["ZooKeeperOptions"]

_SHORTEST_TTL: Final = dt.timedelta(seconds=1)
_LONGEST_TTL: Final = dt.timedelta(days=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class ZooKeeperOptions:
    """The options of ``zookeeper``.

    Attributes:
        hosts: the members of the ensemble; the session moves between them.
        chroot: the node below which everything lies, as at the end of ZooKeeper's own connection
            strings. It has to exist.
        prefix: more nodes between the chroot and the services; made where they are missing.
            Kitex has none.
        ttl: the session timeout, 1 s to a day: how long records outlive a process that died. The
            server brings it between its own limits, by default 2 and 20 of its ticks.
        timeout: how long one call may take, unless the caller says; kept by the core.
        auth: how to show who we are: "digest" is ZooKeeper's own way; "sasl-digest-md5" and
            "sasl-gssapi" need the extras ``enlist-zookeeper[sasl]`` and ``[gssapi]``.
        username: the user; empty for nobody in particular.
        password: of that user.
        password_file: a file that holds the password; read at each connect.
        acl: who may do what with the nodes that are made, each as "scheme:id:permissions", such
            as "world:anyone:r" or "auth::cdrwa". The creator needs "w". Empty is Kitex's rule:
            all to the user where there is one, else all to anyone.
        tls: use TLS with the system's authorities; ``ca`` or ``cert`` switch it on as well.
        ca: a PEM file with the authorities to trust instead of the system's.
        cert: a PEM file with the client's certificate chain.
        key: a PEM file with the key of ``cert``.
        server_name: the name that the server's certificate must have, where it is another than
            the host's.
        kitex_compatible: write nothing that Kitex's resolver fails on: it returns nobody of a
            service that has one such record. False allows addresses of unix sockets.

    Raises:
        InvalidOptionError: an option breaks its rule, or lacks the one that it needs.
    """

    hosts: Hosts = option(
        "127.0.0.1:2181",
        url="hosts",
        default_port=2181,
        help="the members of the ZooKeeper ensemble",
    )
    chroot: str = option("", url="path", help="the existing node below which everything lies")
    prefix: str = option("", help="nodes between the chroot and the services; Kitex has none")
    ttl: dt.timedelta = option(
        dt.timedelta(seconds=15),
        help="the session timeout: how long records outlive a process that died",
    )
    timeout: dt.timedelta = option(
        dt.timedelta(seconds=3), help="how long one call may take, unless the caller says"
    )
    auth: Literal["digest", "sasl-digest-md5", "sasl-gssapi"] = option(
        "digest", help="how to show who we are"
    )
    username: str = option("", help="the user, where nodes are protected")
    password: Secret = option(Secret(), help="the password of the user")
    password_file: Path | None = option(None, help="a file that holds the password")
    acl: tuple[str, ...] = option(
        (), help="who may do what with the nodes we make, as scheme:id:permissions"
    )
    tls: bool = option(default=False, help="use TLS; ca and cert switch it on as well")
    ca: Path | None = option(None, help="a PEM file with the authorities to trust")
    cert: Path | None = option(None, help="a PEM file with the client's certificate")
    key: Path | None = option(None, help="a PEM file with the key of cert")
    server_name: str = option("", help="the name in the server's certificate, if not the host's")
    kitex_compatible: bool = option(
        default=True, help="write nothing that Kitex's resolver fails on"
    )

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        _check_path("chroot", self.chroot)
        _check_path("prefix", self.prefix)
        if self.root.split("/")[1:2] == [SYSTEM_NODE]:
            rule = f"must not lie in /{SYSTEM_NODE}, where ZooKeeper keeps its own nodes"
            raise InvalidOptionError("chroot" if self.chroot else "prefix", self.root, rule)
        if not _SHORTEST_TTL <= self.ttl <= _LONGEST_TTL:
            raise InvalidOptionError("ttl", str(self.ttl), "must be from 1 s to one day")
        for entry in self.acl:
            parse_acl(entry)
        self._check_user()
        if (self.cert is None) != (self.key is None):
            missing, given = ("key", "cert") if self.key is None else ("cert", "key")
            raise InvalidOptionError(missing, None, f"is needed with {given}; give both or neither")

    @property
    def base(self) -> str:
        """The chroot as a path: empty for the top of the tree."""
        return _as_path(self.chroot)

    @property
    def root(self) -> str:
        """The node that the services are children of, as a path: empty for the top of the tree."""
        return self.base + _as_path(self.prefix)

    @property
    def uses_tls(self) -> bool:
        """Whether connections are made with TLS."""
        return self.tls or self.ca is not None or self.cert is not None

    def _check_user(self) -> None:
        has_password = bool(self.password) or self.password_file is not None
        if self.auth == "sasl-gssapi":
            if has_password:
                rule = "is not used with auth=sasl-gssapi, which takes a Kerberos ticket"
                raise InvalidOptionError("password", self.password, rule)
        elif self.username and not has_password:
            rule = "has no password; give password_file, or ENLIST_OPT_ZOOKEEPER_PASSWORD"
            raise InvalidOptionError("username", self.username, rule)
        elif not self.username and (has_password or self.auth != "digest"):
            raise InvalidOptionError("username", self.username, f"is missing for {self.auth}")
        if self.auth == "digest" and ":" in self.username:
            rule = "must not contain ':', which separates it from the password"
            raise InvalidOptionError("username", self.username, rule)


def _as_path(text: str) -> str:
    inner = text.strip("/")
    return f"/{inner}" if inner else ""


def _check_path(field: str, value: str) -> None:
    for segment in _as_path(value).split("/")[1:]:
        if fault := fault_in(segment):
            raise InvalidOptionError(field, value, f"has a segment that {fault}")
