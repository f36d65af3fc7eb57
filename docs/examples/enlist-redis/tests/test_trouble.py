"""What the kit does not try: a Redis that loses a part, and one that says no for a while."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from enlist_redis.plugin import RedisOptions, RedisRegistry
from redis import Connection
from redis_server import RedisServer

from enlist import Info, open_registry
from enlist.backend_options import HostPort, Secret
from enlist.errors import RejectedError, UnauthorisedError, UnavailableError
from enlist.stopping import StopToken

ECHO = Info(service_name="echo", addr="10.0.0.9:8888")
LIMIT_S = 20.0
NOBODY = ("127.0.0.1", "1")  # a port on which no primary listens
MOMENTS: dict[str, list[tuple[str, ...]]] = {
    "OOM": [("CONFIG", "SET", "maxmemory", "1")],
    "NOREPLICAS": [("CONFIG", "SET", "min-replicas-to-write", "1")],
    "READONLY": [("REPLICAOF", *NOBODY)],
    "MASTERDOWN": [("CONFIG", "SET", "replica-serve-stale-data", "no"), ("REPLICAOF", *NOBODY)],
}


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server for one test, which may spoil it."""
    with RedisServer() as running:
        yield running


def plugin_of(server: RedisServer, username: str = "", password: str = "") -> RedisRegistry:
    """Make a plugin object, of which the test calls the hooks."""
    host = (HostPort("127.0.0.1", server.port),)
    options = RedisOptions(host=host, username=username, password=Secret(password))
    return RedisRegistry(options, "0123456789abcdef")


def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds."""
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


def assert_unavailable(call: Callable[[], object]) -> None:
    """The call fails, and nothing of it was done: no time-out, after which nobody knows."""
    with pytest.raises(UnavailableError) as caught:
        call()
    assert caught.type is UnavailableError


@pytest.mark.parametrize("lost", ["enlist:members:echo", "enlist:services"])
def test_instance_comes_back_when_a_set_was_lost(server: RedisServer, lost: str) -> None:
    """A record that nobody finds any more is found again, though nobody removed the record."""
    with open_registry(f"redis://127.0.0.1:{server.port}?ttl=1s") as registry:
        registry.register(ECHO)
        assert server.run("DEL", lost) == b":1\r\n"
        until(lambda: registry.services() == ("echo",) and registry.resolve("echo") == (ECHO,))


def test_beat_when_memory_is_full(server: RedisServer) -> None:
    """What is registered stays alive where nothing more can be written."""
    plugin = plugin_of(server)
    plugin.register(ECHO, LIMIT_S)
    server.run("CONFIG", "SET", "maxmemory", "1")
    assert plugin.keep_alive([ECHO], LIMIT_S).lost == []


@pytest.mark.parametrize("moment", MOMENTS)
def test_register_when_server_cannot_write_now(server: RedisServer, moment: str) -> None:
    """What a full memory and a failover say passes, so that a start may wait for its end."""
    for words in MOMENTS[moment]:
        server.run(*words)
    assert_unavailable(lambda: plugin_of(server).register(ECHO, LIMIT_S))


def test_register_when_disk_fails(server: RedisServer) -> None:
    """A server that could not save, and takes no writes until it can, may be asked again."""
    folder = server.run("CONFIG", "GET", "dir").split(b"\r\n")[-2]
    (Path(folder.decode()) / "dump.rdb").mkdir()  # where the file would come to lie
    server.run("CONFIG", "SET", "save", "3600 1000000")
    server.run("BGSAVE")
    until(lambda: b"rdb_last_bgsave_status:err" in server.run("INFO", "persistence"))
    assert_unavailable(lambda: plugin_of(server).register(ECHO, LIMIT_S))


def test_resolve_when_server_is_busy(server: RedisServer) -> None:
    """Somebody's endless script makes the server unavailable, not wrong."""
    server.run("CONFIG", "SET", "lua-time-limit", "1")
    endless = Connection("127.0.0.1", server.port, protocol=2, driver_info=None)
    try:
        endless.send_command("PING")
        endless.read_response()  # so that the server has accepted it before all others
        endless.send_command("EVAL", "while true do end", 0)
        assert_unavailable(lambda: plugin_of(server).resolve("echo", LIMIT_S))
    finally:
        endless.disconnect()


def test_watch_when_its_primary_becomes_a_replica(server: RedisServer) -> None:
    """A watch that waits when its server is demoted ends as unavailable, and is opened anew."""
    stop = StopToken()
    with ThreadPoolExecutor(1) as pool:
        lists = plugin_of(server).watch("echo", stop)
        try:
            assert next(lists) == []
            waiting = pool.submit(next, lists)
            until(lambda: b"blocked_clients:1" in server.run("INFO", "clients"))
            server.run("REPLICAOF", *NOBODY)
            assert_unavailable(lambda: waiting.result(LIMIT_S))
        finally:
            stop.set()


@pytest.mark.parametrize("allowed", ["~other:* +@all", "~enlist:* +eval"])
def test_call_when_user_may_not(server: RedisServer, allowed: str) -> None:
    """A user who may run scripts, and may not do what these do, is told so by every hook."""
    plugin_of(server).register(ECHO, LIMIT_S)
    server.run("ACL", "SETUSER", "guest", "on", ">sesame", *allowed.split())
    guest = plugin_of(server, "guest", "sesame")
    for call in (
        lambda: guest.register(ECHO, LIMIT_S),
        lambda: guest.keep_alive([ECHO], LIMIT_S),
        lambda: guest.resolve("echo", LIMIT_S),
    ):
        with pytest.raises(UnauthorisedError):
            call()


def test_register_when_key_is_something_else(server: RedisServer) -> None:
    """What will be refused for ever is no outage."""
    server.run("SET", "enlist:members:echo", "a text")
    with pytest.raises(RejectedError, match="WRONGTYPE"):
        plugin_of(server).register(ECHO, LIMIT_S)


def test_keys_expire_when_all_have_left(server: RedisServer) -> None:
    """Once somebody has looked, a name that was used keeps no key for ever."""
    plugin = plugin_of(server)
    plugin.register(ECHO, LIMIT_S)
    plugin.deregister(ECHO, LIMIT_S)
    assert plugin.services(LIMIT_S) == []
    lasting = "for _, key in ipairs(redis.call('KEYS', '*')) do "
    lasting += "if redis.call('TTL', key) < 0 then return key end end return 'none'"
    assert server.run("EVAL", lasting, "0") == b"$4\r\nnone\r\n"
