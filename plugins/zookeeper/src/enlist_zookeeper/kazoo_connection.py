"""kazoo's connection loop, told who we are, and telling what becomes of its attempts.

kazoo is imported with this module, which is imported when somebody connects. What is overridden
here is private to kazoo, but for ``zk_loop``.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kazoo.exceptions import AuthFailedError, ConnectionDropped  # noqa: TID253 - see above
from kazoo.protocol.connection import ConnectionHandler  # noqa: TID253 - see above
from kazoo.protocol.serialization import Connect  # noqa: TID253 - see above
from kazoo.security import ACL, Id, make_digest_acl_credential  # noqa: TID253 - see above

from enlist.backend_options import HostPort, hosts_text, read_secret
from enlist.errors import UnsupportedError
from enlist_zookeeper.access import parse_acl
from enlist_zookeeper.attempts import Attempts
from enlist_zookeeper.dialling import Dialler
from enlist_zookeeper.failures import sasl_failure
from enlist_zookeeper.options import ZooKeeperOptions

__all__ = ["Connection"]


class Connection(ConnectionHandler):  # type: ignore[misc]  # kazoo has no types
    """Connects, again and again.

    Attributes:
        acl: the access control list of what is made, by the credentials of the last attempt.
    """

    def __init__(
        self,
        client: Any,  # noqa: ANN401 - kazoo has no types
        options: ZooKeeperOptions,
        attempts: Attempts,
        dialler: Dialler,
    ) -> None:
        """Take kazoo's client, which this becomes a part of."""
        retry = client._conn_retry.copy()  # noqa: SLF001 - as KazooClient makes its own
        super().__init__(client, retry, logger=client.logger)
        self.acl: list[Any] = []
        self._options = options
        self._attempts = attempts
        self._dialler = dialler

    def zk_loop(self) -> None:
        """Run in kazoo's connection thread, until the client is stopped."""
        try:
            super().zk_loop()
        except Exception as exc:  # noqa: BLE001 - kazoo has logged it; its thread ends
            self._attempts.failed(exc, hosts_text(self._options.hosts))
        finally:
            self._attempts.end()

    def _expand_client_hosts(self) -> list[tuple[str, str, int]]:
        servers: list[tuple[str, str, int]] = super()._expand_client_hosts()
        self._dialler.share(len(servers))
        return servers

    def _connect(self, host: str, hostip: str, port: int) -> Any:  # noqa: ANN401 - kazoo has no types
        try:
            with self._socket_error_handling():
                self._read_credentials()
            return super()._connect(host, hostip, port)
        except (ConnectionDropped, AuthFailedError, self.handler.timeout_exception) as exc:
            self._attempts.failed(exc, str(HostPort(host, port)))
            raise

    def _authenticate_with_sasl(self, host: str, timeout: float) -> None:
        try:
            super()._authenticate_with_sasl(host, timeout)
        except (ConnectionDropped, AuthFailedError, self.handler.timeout_exception):
            raise
        except Exception as exc:  # noqa: BLE001 - its libraries raise whatever they like
            # Any other error would end kazoo's thread, and look like a lost connection.
            raise AuthFailedError from sasl_failure(exc, host)

    def _read_credentials(self) -> None:
        options = self._options
        password = read_secret(options.password, options.password_file).reveal()
        if options.auth != "digest":
            self.sasl_options = _sasl(options, password)
        elif options.username:
            self.client.auth_data = {("digest", f"{options.username}:{password}")}
        self.acl = _acl(options, password)

    def _invoke(self, timeout: float, request: Any, xid: int | None = None) -> Any:  # noqa: ANN401 - kazoo has no types
        if not isinstance(request, Connect):
            return super()._invoke(timeout, request, xid)
        if self._attempts.refused_for_long:
            request = request._replace(last_zxid_seen=0)
        with self._noting_refusal():
            answer = super()._invoke(min(timeout, self._attempts.patience_s), request, xid)
        self._attempts.granted(answer[0].time_out / 1_000)
        return answer

    @contextmanager
    def _noting_refusal(self) -> Iterator[None]:
        try:
            yield
        except ConnectionDropped:
            self._attempts.refused()
            raise
        except self.handler.timeout_exception:
            self._attempts.silent()
            raise


def _acl(options: ZooKeeperOptions, password: str) -> list[Any]:
    """Return the access control list by Kitex's rule, unless there is another in the options."""
    entries = list(map(parse_acl, options.acl))
    if not entries and options.auth != "digest":
        entries = [parse_acl("auth::cdrwa")]
    elif not entries and not options.username:
        entries = [parse_acl("world:anyone:cdrwa")]
    elif not entries:
        digest = make_digest_acl_credential(options.username, password)
        entries = [parse_acl(f"digest:{digest}:cdrwa")]
    return [ACL(entry.permissions, Id(entry.scheme, entry.id)) for entry in entries]


def _sasl(options: ZooKeeperOptions, password: str) -> dict[str, str]:
    """Return what kazoo passes to pure-sasl."""
    _demand("puresasl", "sasl", options.auth)
    if options.auth == "sasl-gssapi":
        _demand("kerberos", "gssapi", options.auth)
        return {"mechanism": "GSSAPI"}
    return {"mechanism": "DIGEST-MD5", "username": options.username, "password": password}


def _demand(library: str, extra: str, auth: str) -> None:
    if importlib.util.find_spec(library) is None:
        raise UnsupportedError(
            f"ZooKeeper: auth={auth} needs a library: pip install 'enlist-zookeeper[{extra}]'."
        )
