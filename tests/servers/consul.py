"""Real Consul agents: in memory, with data, with ACL, with TLS, a server and its client."""

import json
import uuid
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from tests.servers.cluster import Cluster, Member
from tests.servers.fetch import CONSUL, find, program_version
from tests.servers.ports import HOST
from tests.servers.web import Reply, Tls, Web

_RENAMED_MASTER: Final = (1, 11)  # to tokens.initial_management
_SECOND_GRPC_PORT: Final = (1, 14)  # opened unless it is switched off


class ConsulServer(Member):
    """One Consul agent.

    Args:
        name: Of the node.
        dev: In memory (`-dev`): loses everything when it ends. With data otherwise.
        acl: Deny whatever `token`, or a token made with it, does not allow.
        tls: Speak HTTPS only and demand a client certificate; plain HTTP where None.
        client: A client agent, which holds no data and must `join` a server.
    """

    kind = "Consul"

    def __init__(
        self,
        name: str = "consul",
        *,
        dev: bool = False,
        acl: bool = False,
        tls: Tls | None = None,
        client: bool = False,
    ) -> None:
        super().__init__(name)
        self.tls: Final = tls
        self.token: Final = str(uuid.uuid4()) if acl else ""
        self.port: Final = self.claim()
        self.serf_port: Final = self.claim()
        self._rpc_port = self.claim()
        self._dev = dev
        self._client = client
        self._join: list[str] = []
        self._web = Web(self.port, tls)

    @property
    def endpoint(self) -> str:
        """Where HTTP clients connect, as host:port."""
        return f"{HOST}:{self.port}"

    def join(self, serf_ports: Sequence[int]) -> None:
        """Make this agent look for others; to be called before the first start."""
        self._join = [f"{HOST}:{port}" for port in serf_ports]

    def command(self) -> list[str]:
        """Write the configuration file and return Consul with it."""
        program = find(CONSUL)
        version = program_version(program, CONSUL.version_arguments)
        settings = {
            **self._settings(),
            "ports": self._port_settings(version),
            **self._acl_settings(version),
            **self._tls_settings(),
        }
        self._configuration.write_text(json.dumps(settings, indent=1), encoding="utf-8")
        self._configuration.chmod(0o600)
        dev = ["-dev"] if self._dev else []
        return [str(program), "agent", *dev, f"-config-file={self._configuration}"]

    def answers(self) -> bool:
        """Tell whether there is a leader, and this node has its place in the catalogue."""
        leader = self._request("GET", "/v1/status/leader")
        node = self._request("GET", f"/v1/catalog/node/{self.name}")
        replies_ok = {leader.status, node.status} == {HTTPStatus.OK}
        return replies_ok and bool(leader.json()) and node.json() is not None

    def leads(self) -> bool:
        """Tell whether this agent is the leading server."""
        raft = self.call("GET", "/v1/agent/self")["Stats"].get("raft", {})
        return bool(raft.get("state") == "Leader")

    def call(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - as Reply.json
        """Send a request with the agent's own token.

        Args:
            method: "GET" or "PUT".
            path: Such as "/v1/agent/service/register".
            body: Sent as JSON where it is not None.

        Returns:
            The decoded answer, None where it is empty.

        Raises:
            OSError: If the agent is not reached.
            RuntimeError: If it refuses.
        """
        reply = self._request(method, path, body)
        if reply.status != HTTPStatus.OK:
            msg = f"Consul refused {method} {path} with {reply.status}: {reply.body.decode()}"
            raise RuntimeError(msg)
        return reply.json() if reply.body else None

    def register(self, service: Mapping[str, object]) -> None:
        """Register a service with this agent behind the client's back, as the API words it."""
        self.call("PUT", "/v1/agent/service/register", service)

    def deregister(self, service_id: str) -> None:
        """Remove a service from this agent behind the client's back."""
        self.call("PUT", f"/v1/agent/service/deregister/{service_id}")

    def instances(self, service: str) -> list[dict[str, Any]]:
        """List the instances of a service with their checks, also the failing ones."""
        return list(self.call("GET", f"/v1/health/service/{service}"))

    def _request(self, method: str, path: str, body: object = None) -> Reply:
        headers = {"X-Consul-Token": self.token} if self.token else {}
        return self._web.request(method, path, body, headers)

    @property
    def _configuration(self) -> Path:
        return self.folder / "agent.json"

    def _settings(self) -> dict[str, object]:
        settings: dict[str, object] = {
            "node_name": self.name,
            "bind_addr": HOST,
            "client_addr": HOST,
            "log_level": "warn",
            "disable_update_check": True,
            "performance": {"raft_multiplier": 1},
        }
        if self._join:
            settings |= {"retry_join": self._join, "retry_interval": "1s"}
        if self._dev:
            return settings
        settings |= {"data_dir": str(self.data), "server": not self._client}
        return settings if self._client else settings | {"bootstrap_expect": 1}

    def _port_settings(self, version: tuple[int, int]) -> dict[str, int]:
        web = {"http": self.port} if self.tls is None else {"http": -1, "https": self.port}
        second = {"grpc_tls": -1} if version >= _SECOND_GRPC_PORT else {}
        inner = {"serf_lan": self.serf_port, "serf_wan": -1, "server": self._rpc_port}
        return {**web, **inner, **second, "dns": -1, "grpc": -1}

    def _acl_settings(self, version: tuple[int, int]) -> dict[str, object]:
        if not self.token:
            return {}
        first = "initial_management" if version >= _RENAMED_MASTER else "master"
        tokens = {first: self.token, "agent": self.token}
        return {"acl": {"enabled": True, "default_policy": "deny", "tokens": tokens}}

    def _tls_settings(self) -> dict[str, object]:
        if self.tls is None:
            return {}
        return {
            "ca_file": str(self.tls.ca),
            "cert_file": str(self.tls.server.certificate),
            "key_file": str(self.tls.server.key),
            "verify_incoming_https": True,
        }


def consul_pair() -> Cluster[ConsulServer]:
    """Configure a server and, second, a client agent; entering the pair starts both."""
    server = ConsulServer("consul-server")
    client = ConsulServer("consul-client", client=True)
    client.join([server.serf_port])
    return Cluster([server, client])
