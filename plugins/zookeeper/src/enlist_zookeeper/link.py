"""One kazoo client with the parts of it that are ours.

kazoo is imported with this module, which is imported when somebody connects. What is used of it
beyond its documentation is here and in :mod:`enlist_zookeeper.kazoo_connection`.
"""

from __future__ import annotations

import logging
import struct
import threading
from collections.abc import Callable
from typing import Any, ClassVar, Final

from kazoo.client import KazooClient  # noqa: TID253 - see above
from kazoo.protocol.serialization import Create  # noqa: TID253 - see above
from kazoo.protocol.states import KazooState  # noqa: TID253 - see above

from enlist.backend_options import hosts_text
from enlist_zookeeper.attempts import Attempts
from enlist_zookeeper.dialling import Dialler
from enlist_zookeeper.kazoo_connection import Connection
from enlist_zookeeper.kazoo_handler import Handler, retry_policy
from enlist_zookeeper.kazoo_log import KazooLog
from enlist_zookeeper.options import ZooKeeperOptions

__all__ = ["Link"]

_EPHEMERAL: Final = 1
_CUT_S: Final = 1.0
"""Once the line is cut the threads end at once, unless a name is being looked up."""
_logger = logging.getLogger(__name__)


class Link:
    """A kazoo client that connects, and stays connected, from its making on.

    Attributes:
        kazoo: the client; it has three threads.
        attempts: what became of its attempts to connect.
        losses: how many times the connection was lost.
    """

    def __init__(
        self, options: ZooKeeperOptions, on_change: Callable[[], None], on_lost: Callable[[], None]
    ) -> None:
        """Start; nothing is waited for.

        Args:
            options: say whom to connect to, and as whom.
            on_change: called in kazoo's thread when there is something new; must not block.
            on_lost: called there when the connection is lost, first; must not block.
        """
        ttl_s = options.ttl.total_seconds()
        self._on_change = on_change
        self._on_lost = on_lost
        self.losses = 0
        self._dialler = Dialler(options, ttl_s / 3)
        brief_s = ttl_s / 12  # several times within one beat
        self.attempts = Attempts(ttl_s, brief_s, on_change)
        handler = Handler(self._dialler, self.attempts)
        self.kazoo = KazooClient(
            hosts=hosts_text(options.hosts),
            timeout=ttl_s,
            handler=handler,
            connection_retry=retry_policy(handler, min(1.0, brief_s)),
            logger=KazooLog(),
        )
        self._connection = Connection(self.kazoo, options, self.attempts, self._dialler)
        self.kazoo._connection = self._connection  # noqa: SLF001 - there is no public way to watch attempts
        self.kazoo.add_listener(self._state_changed)
        self.kazoo.start_async()

    @property
    def session_id(self) -> int:
        """The number of the session; 0 while there is none."""
        client_id = self.kazoo.client_id
        return client_id[0] or 0 if client_id else 0

    @property
    def acl(self) -> list[Any]:
        """The access control list of what is made; to be asked for once connected."""
        return self._connection.acl

    def create(self, path: str, data: bytes, *, ephemeral: bool) -> Any:  # noqa: ANN401 - kazoo has no types
        """Ask for a node; answered by a kazoo result.

        Without the detour over another of kazoo's threads that its own method takes, in order to
        create folders when they are missing.
        """
        return self._ask(Create(path, data, self.acl, _EPHEMERAL if ephemeral else 0))

    def own_paths(self) -> Any:  # noqa: ANN401 - kazoo has no types
        """Ask for the paths of all nodes of this session; answered by a kazoo result."""
        return self._ask(_GetEphemerals())

    def stop(self, within_s: float) -> None:
        """Close the session and end the threads; cut the line where the server is too slow."""
        stopper = threading.Thread(target=self._stop, name="enlist-zookeeper-stop", daemon=True)
        stopper.start()
        stopper.join(within_s / 2)
        if stopper.is_alive():
            self._dialler.cut()
            stopper.join(max(within_s / 2, _CUT_S))
        if stopper.is_alive():
            _logger.warning("zookeeper: the client is still ending, in a thread of its own")

    def _ask(self, request: Any) -> Any:  # noqa: ANN401 - kazoo has no types
        result = self.kazoo.handler.async_result()
        self.kazoo._call(request, result)  # noqa: SLF001 - kazoo has no method for these requests
        return result

    def _stop(self) -> None:
        self.kazoo.stop()
        self.kazoo.close()

    def _state_changed(self, state: str) -> None:
        if state != KazooState.CONNECTED:
            self.losses += 1
            self._on_lost()
        self._on_change()


class _GetEphemerals:
    """The request for all nodes of the session, which ZooKeeper has since 3.6 and kazoo lacks."""

    type: ClassVar[int] = 103

    def serialize(self) -> bytes:
        """Return the request's body: what the paths begin with."""
        return struct.pack("!i", 1) + b"/"

    def deserialize(self, buffer: bytes, offset: int) -> list[str]:
        """Return the paths that the answer's body lists."""
        (count,) = struct.unpack_from("!i", buffer, offset)
        offset += 4
        paths = []
        for _ in range(count):
            (length,) = struct.unpack_from("!i", buffer, offset)
            offset += 4
            paths.append(buffer[offset : offset + length].decode())
            offset += length
        return paths
