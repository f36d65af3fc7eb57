"""The requests to Consul's HTTP API, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import quote

from enlist.records import compact_json
from enlist_consul.records import OWNER

__all__ = [
    "LEADER",
    "OWN_TOKEN",
    "SERVICE_NAMES",
    "Request",
    "agent_services",
    "beat",
    "deregister",
    "instance",
    "instances",
    "node_checks",
    "node_services",
    "register",
    "remove_check",
    "service_and_checks",
]


class Request(NamedTuple):
    """One request.

    Attributes:
        method: of HTTP.
        path: quoted.
        query: quoted, and without what the options add to each request; may be empty.
        body: what is sent.
        elsewhere: whether it may be about another datacenter than the agent's own.
        optional: whether "not found" is an answer and no error.
        states: whether the status tells a service's state: 429 for warning, 503 for critical.
        whole: whether a list from which ACLs have kept something back is an error.
    """

    method: str
    path: str
    query: str = ""
    body: bytes | None = None
    elsewhere: bool = False
    optional: bool = False
    states: bool = False
    whole: bool = False

    def waiting(self, index: int, wait_s: float) -> Request:
        """Return the same, answered when the index has passed or the time is over."""
        return self._replace(query=_joined(self.query, f"index={index}&wait={wait_s * 1000:.0f}ms"))


LEADER: Final = Request("GET", "/v1/status/leader")
"""Who leads the servers, as the agent hears from them."""

OWN_TOKEN: Final = Request("GET", "/v1/acl/token/self")
"""What Consul knows of the token that is sent."""

SERVICE_NAMES: Final = Request("GET", "/v1/catalog/services", elsewhere=True)
"""All names, with their tags."""


def register(body: Mapping[str, object]) -> Request:
    """Write a service at the agent, in place of the one of that ID and of its checks."""
    query = "replace-existing-checks=true"
    return Request("PUT", "/v1/agent/service/register", query, compact_json(body).encode())


def deregister(service_id: str) -> Request:
    """Remove a service from the agent."""
    return Request("PUT", f"/v1/agent/service/deregister/{_quoted(service_id)}", optional=True)


def beat(check_id: str, *, warn: bool) -> Request:
    """Say that the process lives.

    Args:
        check_id: of the check.
        warn: keep the instance from whoever asks for passing ones.
    """
    state = "warn" if warn else "pass"
    return Request("PUT", f"/v1/agent/check/{state}/{_quoted(check_id)}")


def service_and_checks(service_id: str) -> Request:
    """Read one service at the agent, with its checks."""
    path = f"/v1/agent/health/service/id/{_quoted(service_id)}"
    return Request("GET", path, optional=True, states=True)


def remove_check(check_id: str) -> Request:
    """Remove a check from the agent, and leave its service."""
    path = f"/v1/agent/check/deregister/{_quoted(check_id)}"
    return Request("PUT", path, optional=True)


def agent_services(owner: str = "") -> Request:
    """Read all services at the agent, or one owner's."""
    query = _filter(_is_owned(owner)) if owner else ""
    return Request("GET", "/v1/agent/services", query)


def instances(service_name: str) -> Request:
    """List the instances of a service in the catalogue, dead ones too."""
    path = f"/v1/health/service/{_quoted(service_name)}"
    return Request("GET", path, elsewhere=True, whole=True)


def instance(service_name: str, service_id: str) -> Request:
    """List those with that ID in the agent's own datacenter: one for each agent that has it."""
    query = _filter(f"Service.ID == {_literal(service_id)}")
    return Request("GET", f"/v1/health/service/{_quoted(service_name)}", query, whole=True)


def node_services(node: str, owner: str) -> Request:
    """List an owner's services on a node in the catalogue."""
    path = f"/v1/catalog/node-services/{_quoted(node)}"
    return Request("GET", path, _filter(_is_owned(owner)))


def node_checks(node: str, owner: str) -> Request:
    """List an owner's checks on a node in the catalogue, with the node's own sign of life."""
    ours = f"CheckID contains {_literal(f'enlist:{owner}:')}"
    query = _filter(f'{ours} or CheckID == "serfHealth"')
    return Request("GET", f"/v1/health/node/{_quoted(node)}", query)


def _is_owned(owner: str) -> str:
    return f"Meta.{OWNER} == {_literal(owner)}"


def _filter(expression: str) -> str:
    return f"filter={_quoted(expression)}"


def _literal(text: str) -> str:
    """Return a text of Consul's filter language, which knows no escaped quotation mark."""
    escaped = text.replace("\\", "\\\\").replace('"', "\\x22")
    return f'"{escaped}"'


def _quoted(text: str) -> str:
    return quote(text, safe="")


def _joined(*queries: str) -> str:
    return "&".join(filter(None, queries))
