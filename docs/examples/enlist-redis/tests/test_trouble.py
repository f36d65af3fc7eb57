"""What the kit does not try: a Redis that loses a part."""

import time
from collections.abc import Callable, Iterator

import pytest
from enlist_redis.plugin import RedisOptions, RedisRegistry
from redis_server import RedisServer

from enlist import Info, open_registry
from enlist.backend_options import HostPort, Secret

ECHO = Info(service_name="echo", addr="10.0.0.9:8888")
LIMIT_S = 20.0


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
