"""The variants of Consul: in memory, ACL, TLS, a server and its client."""

import ssl
from http import HTTPStatus
from typing import Any

import pytest

from tests.servers.certificates import Certificates
from tests.servers.cluster import Cluster
from tests.servers.consul import ConsulServer
from tests.servers.web import Tls, Web
from tests.waiting import eventually


def ids(agent: ConsulServer, service: str) -> list[str]:
    return [instance["Service"]["ID"] for instance in agent.instances(service)]


def service(name: str) -> dict[str, Any]:
    return {"Name": name, "ID": f"{name}-1", "Port": 80}


def test_service_is_registered_and_removed(consul_server: ConsulServer) -> None:
    """Behind a client's back a service comes and goes."""
    consul_server.register(service("short"))
    eventually(lambda: ids(consul_server, "short") == ["short-1"], why="it is listed")

    consul_server.deregister("short-1")

    eventually(lambda: not ids(consul_server, "short"), why="it is gone")


def test_dev_server_forgets_over_a_restart(consul_dev_server: ConsulServer) -> None:
    """The agent in memory loses its services without being wiped."""
    consul_dev_server.register(service("forgotten"))
    eventually(lambda: ids(consul_dev_server, "forgotten"), why="it is listed")

    consul_dev_server.restart()

    assert ids(consul_dev_server, "forgotten") == []


@pytest.mark.parametrize("wipe", [False, True])
def test_acl_server_denies_who_has_no_token(
    consul_acl_server: ConsulServer,
    wipe: bool,  # noqa: FBT001 - pytest passes by name
) -> None:
    """The agent's own token may do everything, nobody may write, also after a restart."""
    consul_acl_server.restart(wipe=wipe)
    consul_acl_server.register(service("guarded"))
    eventually(lambda: ids(consul_acl_server, "guarded"), why="it is listed")
    stranger = Web(consul_acl_server.port)

    denied = stranger.request("PUT", "/v1/agent/service/register", service("intruder"))
    listed = stranger.request("GET", "/v1/health/service/guarded")

    assert denied.status == HTTPStatus.FORBIDDEN
    assert listed.json() == []


def test_acl_server_makes_lesser_tokens(consul_acl_server: ConsulServer) -> None:
    """With the agent's token a test makes one that may do what the test needs."""
    rules = 'service_prefix "lesser" { policy = "write" }'
    consul_acl_server.call("PUT", "/v1/acl/policy", {"Name": "lesser", "Rules": rules})
    token = consul_acl_server.call("PUT", "/v1/acl/token", {"Policies": [{"Name": "lesser"}]})
    headers = {"X-Consul-Token": token["SecretID"]}
    web = Web(consul_acl_server.port)

    own = web.request("PUT", "/v1/agent/service/register", service("lesser"), headers)
    other = web.request("PUT", "/v1/agent/service/register", service("other"), headers)

    assert (own.status, other.status) == (HTTPStatus.OK, HTTPStatus.FORBIDDEN)


def test_tls_server_answers_our_client(consul_tls_server: ConsulServer) -> None:
    """A client with our certificate is served."""
    assert consul_tls_server.answers()


def test_tls_server_refuses_a_stranger(
    consul_tls_server: ConsulServer, certificates: Certificates
) -> None:
    """A client of an unrelated authority gets nowhere."""
    tls = Tls(certificates.tls.ca, certificates.tls.server, certificates.stranger_client)

    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        Web(consul_tls_server.port, tls).request("GET", "/v1/status/leader")


def test_tls_server_refuses_plain_text(consul_tls_server: ConsulServer) -> None:
    """HTTP without TLS is not served."""
    reply = Web(consul_tls_server.port).request("GET", "/v1/status/leader")

    assert reply.status == HTTPStatus.BAD_REQUEST


def test_client_agent_hands_its_services_to_the_server(
    consul_members: Cluster[ConsulServer],
) -> None:
    """What is registered with the client agent is listed by the server, on the client's node."""
    server, client = consul_members
    client.register(service("remote"))

    eventually(lambda: ids(server, "remote") == ["remote-1"], why="the server lists it")

    (instance,) = server.instances("remote")
    assert instance["Node"]["Node"] == client.name
    assert consul_members.leader() is server
    assert consul_members.followers() == [client]


def test_killed_client_agent_is_critical_and_comes_back(
    consul_members: Cluster[ConsulServer],
) -> None:
    """The server notices a dead client agent, and its return with its services."""
    server, client = consul_members
    client.register(service("mortal"))
    eventually(lambda: ids(server, "mortal"), why="the server lists it")

    def node_health() -> str:
        (instance,) = server.instances("mortal")
        (check,) = (c for c in instance["Checks"] if c["CheckID"] == "serfHealth")
        return str(check["Status"])

    client.kill()
    eventually(lambda: node_health() == "critical", within_s=30, why="the server noticed")

    client.start()
    eventually(lambda: node_health() == "passing", within_s=30, why="the client is back")
