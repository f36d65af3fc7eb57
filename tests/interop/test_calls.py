"""Real calls between Kitex and Python, each side finding the other in a real registry."""

from collections import Counter
from collections.abc import Callable

import pytest

from tests.interop.python_client import call
from tests.interop.world import FOUND_WITHIN_S, PeerFailedError, World
from tests.waiting import eventually

Note = Callable[[str, str], None]
PROTOCOLS = ("thrift", "grpc")
TAGS = {"zone": "a", "line": "grüße: 1"}
WRITTEN = "zone=a,line=grüße: 1"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_kitex_client_calls_python_server_that_it_found(
    world: World, protocol: str, service: str, measured: Note
) -> None:
    """Kitex finds an enlisted server with its weight and tags, and its call is answered."""
    with world.python_server(protocol, service, weight=30, tags=WRITTEN):
        (instance,) = world.peer.sees(service, *TAGS, "other")
        assert (instance["weight"], instance["tags"]) == (30, TAGS)
        assert world.peer.call(protocol, service, "grüße") == ["python heard grüße"]
    measured(f"go-calls-python-{protocol}", "yes")
    measured("go-sees", "yes")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_python_client_calls_kitex_server_that_it_found(
    world: World, protocol: str, service: str, measured: Note
) -> None:
    """A Kitex server is found with its weight and tags, and a Python call is answered."""
    with world.peer.serve(protocol, service, weight=30, tags=WRITTEN):
        (instance,) = world.finds(service)
        assert (instance.weight, instance.tags) == (30, TAGS)
        assert call(protocol, instance, "grüße") == "go heard grüße"
    measured(f"python-calls-go-{protocol}", "yes")
    measured("python-sees", "yes")


def test_service_of_both_is_found_and_called_by_both(
    world: World, service: str, measured: Note
) -> None:
    """Where Kitex and enlist serve one name, both sides see both, and weights hold for all."""
    with (
        world.peer.serve("thrift", service, weight=10),
        world.python_server("thrift", service, weight=30),
    ):
        instances = world.finds(service, 2)
        heard = {call("thrift", instance, "hi").split()[0] for instance in instances}
        assert heard == {"go", "python"}
        eventually(lambda: len(world.peer.sees(service)) == 2, why="Kitex sees both")
        answers = Counter(world.peer.call("thrift", service, "hi", times=40))
    assert answers["go heard hi"] == pytest.approx(10, abs=2)
    assert answers["python heard hi"] == pytest.approx(30, abs=2)
    measured("mixed", "yes")


def test_kitex_client_calls_python_server_on_ipv6(
    world: World, service: str, measured: Note
) -> None:
    """Kitex calls an address in brackets; over Consul, where it adds none itself, it cannot."""
    with world.python_server("thrift", service, host="::1"):
        (instance,) = world.peer.sees(service)
        if world.name == "consul":
            assert instance["addr"].startswith("::1:")
            with pytest.raises(PeerFailedError, match="too many colons"):
                world.peer.call("thrift", service, "hi")
            measured("go-calls-python-ipv6", "no: it joins the address without brackets")
        else:
            assert instance["addr"].startswith("[::1]:")
            assert world.peer.call("thrift", service, "hi") == ["python heard hi"]
            measured("go-calls-python-ipv6", "yes")


def test_python_client_calls_kitex_server_on_ipv6(
    world: World, service: str, measured: Note
) -> None:
    """An address that Kitex wrote without brackets is called; Consul alone never shows it."""
    with world.peer.serve("thrift", service, addr="[::1]:0"):
        if world.name == "consul":
            (check,) = eventually(
                lambda: [
                    check
                    for check in world.server.call("GET", "/v1/agent/checks").values()
                    if check["ServiceName"] == service and "too many colons" in check["Output"]
                ],
                within_s=FOUND_WITHIN_S,
                why="the agent has tried Kitex's check",
            )
            assert check["Status"] == "critical"
            measured("python-calls-go-ipv6", "no: Kitex's check cannot call it")
        else:
            (instance,) = world.finds(service)
            assert call("thrift", instance, "hi") == "go heard hi"
            measured("python-calls-go-ipv6", "yes")
