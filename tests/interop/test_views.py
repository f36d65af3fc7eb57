"""What each side sees of the other's records: comings and goings, and what is odd in them."""

import datetime as dt
import signal
from collections.abc import Callable

import pytest

import enlist
from tests.interop.world import FOUND_WITHIN_S, Peer, PeerFailedError, World
from tests.waiting import eventually

Note = Callable[[str, str], None]
ADDR = "127.0.0.9:8888"


def test_python_server_killed_by_sigkill_leaves_kitex_view(
    world: World, service: str, measured: Note
) -> None:
    """A crash is seen by Kitex when our time to live has passed, and nobody cleans up."""
    with world.python_server("grpc", service) as process:
        world.peer.sees(service)
        process.send_signal(signal.SIGKILL)
        process.wait()
        eventually(
            lambda: not world.peer.view(service)["instances"],
            within_s=30,
            why="Kitex's resolver gives the dead server no more",
        )
    measured("killed", "yes, after our `ttl`")


def test_kitex_server_that_stops_leaves_enlist_view(
    world: World, service: str, measured: Note
) -> None:
    """A resolver of ours drops a Kitex server that has deregistered."""
    with enlist.open_registry(world.url) as registry, registry.resolver(service) as resolver:
        with world.peer.serve("grpc", service):
            resolver.wait_for(1, dt.timedelta(seconds=FOUND_WITHIN_S))
        eventually(lambda: not resolver.instances, within_s=30, why="the server is gone")
    measured("left", "yes")


def test_weight_zero_keeps_kitex_away_where_its_reader_lets_it(
    world: World, service: str, measured: Note
) -> None:
    """ZooKeeper's and Consul's readers see no traffic; etcd's takes 0 for 10 unless told not to."""
    with enlist.open_registry(world.url) as registry:
        registry.register(enlist.Info(service_name=service, addr=ADDR, weight=0))
        view = world.peer.view(service)
        weights = [instance["weight"] for instance in view["instances"]]
        assert registry.resolve(service)[0].weight == 0
        if world.name == "etcd":
            told = world.other_peer("etcd-zero").view(service)
            assert (weights, told["instances"][0]["weight"]) == ([10], 0)
            measured("weight-zero", "only with `WithDefaultWeight(0)`; it is read as 10 otherwise")
        else:
            assert weights == ([0] if world.name == "zookeeper" else [])
            measured("weight-zero", "yes")


def test_weight_zero_of_kitex_is_read_as_no_traffic(
    world: World, service: str, listener: str, measured: Note
) -> None:
    """What Kitex's plugin wrote as 0 is 0 to us; Consul refuses to take it."""
    if world.name == "consul":
        with (
            pytest.raises(PeerFailedError, match="Passing must be greater than 0"),
            world.peer.hold(service, listener),
        ):
            pass
        measured("weight-zero-theirs", "refused by Consul")
    else:
        with world.peer.hold(service, listener):
            assert [info.weight for info in world.finds(service)] == [0]
        measured("weight-zero-theirs", "yes")


def test_record_without_tags_is_read(
    world: World, service: str, listener: str, measured: Note
) -> None:
    """Kitex writes null where there are no tags, and that is no tags to us."""
    with world.peer.hold(service, listener, weight=10):
        (info,) = world.finds(service)
    assert (str(info.addr), info.tags) == (listener, {})
    measured("null-tags", "yes")


def test_wildcard_of_kitex_is_shown_as_it_is(
    world: World, service: str, listener: str, measured: Note
) -> None:
    """Kitex's plugins publish 0.0.0.0 if they are given it: we show it; Consul refuses it."""
    wildcard = listener.replace("127.0.0.1", "0.0.0.0")
    if world.name == "consul":
        with (
            pytest.raises(PeerFailedError, match="Invalid service address"),
            world.peer.hold(service, wildcard, weight=10),
        ):
            pass
        measured("wildcard", "refused by Consul")
    else:
        with world.peer.hold(service, wildcard, weight=10):
            assert [str(info.addr) for info in world.finds(service)] == [wildcard]
        measured("wildcard", "yes")


def test_tag_with_a_colon_in_its_key_does_not_hide_the_others(
    world: World, service: str, measured: Note
) -> None:
    """What Consul's tags cannot carry is kept where Kitex does not look; the rest it sees."""
    tags = {"a:b": "c", "zone": "a"}
    with enlist.open_registry(world.url) as registry:
        registry.register(enlist.Info(service_name=service, addr=ADDR, tags=tags))
        (seen,) = world.peer.sees(service, *tags)
        assert registry.resolve(service)[0].tags == tags
    if world.name == "consul":
        assert seen["tags"] == {"zone": "a"}
        measured("colon-tag", "no, only the others")
    else:
        assert seen["tags"] == tags
        measured("colon-tag", "yes")


def test_unbracketed_record_does_not_spoil_the_service_for_enlist(
    world: World, service: str, measured: Note
) -> None:
    """An IPv6 address without brackets fails Kitex's whole ZooKeeper resolver, and not ours."""
    with enlist.open_registry(world.url) as registry:
        registry.register(enlist.Info(service_name=service, addr=ADDR))
        with world.peer.hold(service, "[2001:db8::7]:8888", weight=10):
            seen = [instance["addr"] for instance in world.peer.view(service)["instances"]]
            if world.name == "consul":
                assert [str(info.addr) for info in world.finds(service)] == [ADDR]
                assert seen == [ADDR]
                measured("spoilt", "Kitex's check hides it from both")
                return
            infos = world.finds(service, 2)
            assert [str(info.addr) for info in infos] == [ADDR, "[2001:db8::7]:8888"]
            if world.name == "etcd":
                assert sorted(seen) == [ADDR, "2001:db8::7:8888"]
                measured("spoilt", "enlist finds both; Kitex cannot call the one")
            else:
                assert seen == []
                measured("spoilt", "enlist finds both; Kitex finds none")


def test_keys_without_prefix_are_found_with_an_empty_prefix(
    etcd_server: object, peer_program: object, service: str
) -> None:
    """The deprecated constructors of registry-etcd write below no prefix: so can we, and read."""
    endpoint = etcd_server.endpoint  # type: ignore[attr-defined]  # of EtcdServer
    peer = Peer(peer_program, "etcd-without-prefix", endpoint)  # type: ignore[arg-type]  # a Path
    with (
        enlist.open_registry("etcd", endpoints=[endpoint], prefix="") as registry,
        peer.hold(service, "127.0.0.8:8888", weight=10),
    ):
        registry.register(enlist.Info(service_name=service, addr=ADDR))
        found = {str(info.addr) for info in registry.resolve(service)}
        seen = {instance["addr"] for instance in peer.sees(service)}
    assert found == seen == {ADDR, "127.0.0.8:8888"}
