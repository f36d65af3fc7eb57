"""What the tests of this plugin agree on."""

import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeAlias

from enlist.backend_options import parse_hosts
from enlist.info import Info
from enlist.registry import Registry
from enlist_zookeeper.options import ZooKeeperOptions
from enlist_zookeeper.plugin import ZooKeeperRegistry
from tests.servers.zookeeper import ZooKeeperServer
from tests.waiting import eventually

CALL_S: Final = 5.0

MakeInfo: TypeAlias = Callable[..., Info]


class MakePlugin(Protocol):
    """Makes a plugin object for hosts such as "h1:1,h2:2", with an owner of its own."""

    def __call__(self, hosts: str, **options: Any) -> ZooKeeperRegistry: ...  # noqa: ANN401 - each option has its own type


def options_for(hosts: str, **options: Any) -> ZooKeeperOptions:  # noqa: ANN401 - each option has its own type
    return ZooKeeperOptions(hosts=parse_hosts(hosts), **options)


def path_of(info: Info) -> str:
    """Return the path of an Info with a TCP address, spelled out here once more on purpose."""
    return f"/{info.service_name}/{info.addr}"


def client_id(registry: Registry) -> tuple[int, bytes]:
    """Return the session's number and password, with which it can be ended from elsewhere."""
    plugins = registry._session().backend._manager.get_plugins()
    (plugin,) = (one for one in plugins if isinstance(one, ZooKeeperRegistry))
    return session_of(plugin)


def session_of(plugin: ZooKeeperRegistry) -> tuple[int, bytes]:
    """Return the same for a plugin object."""
    link = plugin._session._link
    assert link is not None
    number, password = link.kazoo.client_id
    return number, password


def expire(server: ZooKeeperServer, session: tuple[int, bytes]) -> None:
    """End somebody's session, however often its owner takes it back meanwhile."""

    def has_ended() -> bool:
        try:
            server.expire(*session)
        except ConnectionError:  # its owner has connected in between
            return False
        except RuntimeError:  # it ended in spite of that
            return True
        return True

    eventually(has_ended, why="the session has ended")


class Admin:
    """Somebody else's client: plain kazoo, connected while it is needed."""

    def __init__(self, hosts: str, **options: Any) -> None:  # noqa: ANN401 - kazoo's options
        self._hosts = hosts
        self._options = options
        self._kazoo: Any = None

    def __enter__(self) -> Self:
        """Connect with the first use."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Disconnect."""
        self.leave()

    @property
    def kazoo(self) -> Any:  # noqa: ANN401 - kazoo has no types
        """The client; a new one after ``leave``."""
        if self._kazoo is None:
            from kazoo.client import KazooClient

            client = KazooClient(self._hosts, timeout=30.0, **self._options)
            client.start(timeout=20)
            self._kazoo = client
        return self._kazoo

    def leave(self) -> None:
        """Disconnect, which removes what was put; to be called before the server is harmed."""
        client, self._kazoo = self._kazoo, None
        if client is not None:
            client.stop()
            client.close()

    def put(self, path: str, data: bytes, *, ephemeral: bool = True) -> None:
        """Write a node, replacing what is there."""
        with contextlib.suppress(self._missing()):
            self.kazoo.delete(path)
        self.kazoo.create(path, data, ephemeral=ephemeral, makepath=True)

    def delete(self, path: str) -> None:
        """Remove a node that may be missing."""
        with contextlib.suppress(self._missing()):
            self.kazoo.delete(path)

    def clear(self) -> None:
        """Remove everything that is not ZooKeeper's own."""
        for name in self.kazoo.get_children("/"):
            if name != "zookeeper":
                self.kazoo.delete(f"/{name}", recursive=True)

    def get(self, path: str) -> tuple[bytes, Any]:
        """Return a node's data and its stat."""
        data, stat = self.kazoo.get(path)
        return data, stat

    def has(self, path: str) -> bool:
        """Return whether there is such a node."""
        return self.kazoo.exists(path) is not None

    @staticmethod
    def _missing() -> type[Exception]:
        from kazoo.exceptions import NoNodeError

        return NoNodeError  # type: ignore[no-any-return]  # kazoo has no types
