"""A TCP forwarder on loopback whose connections can be delayed, held, lost, cut and restored."""

import asyncio
import enum
import itertools
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

from tests.servers.ports import HOST, claim_port

_CHUNK: Final = 65_536
_CONTROL_TIMEOUT_S: Final = 10.0
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER of 0 s: closing sends RST

Tap: TypeAlias = Callable[[int, bool, bytes], None]
"""Is shown what flows: the number of the connection, whether its client sent it, and the bytes."""


class Mode(enum.Enum):
    """What the proxy does with bytes and with new connections."""

    FORWARD = "forward"
    STALL = "stall"
    SWALLOW = "swallow"
    REFUSE = "refuse"


@dataclass(eq=False, slots=True)
class _Link:
    """One client's connection and its counterpart at the server."""

    number: int
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter | None = None
    broken: bool = False  # something was swallowed: the byte streams no longer agree

    @property
    def ends(self) -> list[asyncio.StreamWriter]:
        return [self.client, *filter(None, [self.server])]

    def abort(self) -> None:
        for writer in self.ends:
            sock = writer.get_extra_info("socket")
            if sock.fileno() >= 0:  # also one that is closing, and waits for its peer to read
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                writer.transport.abort()

    async def close(self) -> None:
        for writer in self.ends:
            writer.close()
        for writer in self.ends:
            with suppress(OSError):  # it was reset meanwhile
                await writer.wait_closed()


class Proxy:
    """Forwards `endpoint` to a server, in a thread of its own, until `close`.

    Entering it as a context manager starts it, leaving closes it. The methods may be
    called from any thread and have taken effect when they return.

    Args:
        target: The server's host:port.
        tap: Called in the proxy's thread before bytes are passed on; must not block.
    """

    def __init__(self, target: str, *, tap: Tap | None = None) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._claim = claim_port()
        self._mode = Mode.FORWARD
        self._delay_s = 0.0
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._accepted = 0
        self._numbers = itertools.count()
        self._tap = tap
        self._listener: asyncio.Server | None = None
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="enlist-test-proxy", daemon=True)

    def __enter__(self) -> Self:
        """Start forwarding."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop forwarding."""
        self.close()

    @property
    def port(self) -> int:
        """The port that clients connect to."""
        return self._claim.number

    @property
    def endpoint(self) -> str:
        """Where clients connect, as host:port."""
        return f"{HOST}:{self.port}"

    @property
    def connections(self) -> int:
        """How many accepted connections are open now."""
        return len(self._links)

    @property
    def accepted(self) -> int:
        """How many connections were accepted so far."""
        return self._accepted

    def start(self) -> None:
        """Listen and forward. To be called once."""
        self._thread.start()
        self._do(self._listen())

    def delay(self, delay_s: float) -> None:
        """Hold every chunk back for at least `delay_s` seconds, in each direction."""
        self._delay_s = delay_s

    def stall(self) -> None:
        """Accept, and hold back all bytes; `restore` lets them flow on."""
        self._do(self._enter(Mode.STALL))

    def swallow(self) -> None:
        """Accept, and drop all bytes and ends: the half-open state that a dead host leaves.

        `restore` resets the connections that lost something by it.
        """
        self._do(self._enter(Mode.SWALLOW))

    def refuse(self) -> None:
        """Reset all connections and refuse new ones, as a dead server on a live host does."""
        self._do(self._enter(Mode.REFUSE))

    def cut(self) -> None:
        """Reset all connections; new ones are treated as before."""
        self._do(self._cut())

    def restore(self) -> None:
        """Forward again, without delay."""
        self._delay_s = 0.0
        self._do(self._enter(Mode.FORWARD))

    def close(self) -> None:
        """Reset all connections, end the thread, release the port. A second call does nothing."""
        with self._claim:
            try:
                if self._thread.is_alive():
                    self._do(self._shut())
            finally:
                self._end()

    def _end(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_CONTROL_TIMEOUT_S)
        self._loop.close()

    def _do(self, action: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(action, self._loop).result(_CONTROL_TIMEOUT_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(
            self._accept, HOST, self.port, reuse_address=True
        )

    async def _unlisten(self) -> None:
        """Refuse everybody. To be called in the mode REFUSE, which resets who has just come."""
        listener, self._listener = self._listener, None
        if listener is not None:
            for each in listener.sockets:
                self._loop.remove_reader(each)
            await asyncio.sleep(0)  # asyncio fails with what it accepted and is yet to wrap
            listener.close()
            await self._cut()
            await listener.wait_closed()

    async def _enter(self, mode: Mode) -> None:
        self._mode = mode
        if mode is Mode.STALL:
            self._flowing.clear()
        else:
            self._flowing.set()
        if mode is Mode.REFUSE:
            await self._unlisten()
        elif self._listener is None:
            await self._listen()
        if mode is Mode.FORWARD:
            for link in [link for link in self._links if link.broken]:
                link.abort()

    async def _cut(self) -> None:
        for link in list(self._links):
            link.abort()

    async def _shut(self) -> None:
        await self._enter(Mode.REFUSE)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Begin a link. No coroutine: asyncio would log the cancelling of one as an error."""
        link = _Link(next(self._numbers), writer)
        if self._mode is Mode.REFUSE:
            link.abort()
            return
        self._links.add(link)
        self._accepted += 1
        task = self._loop.create_task(self._carry(link, reader))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, link: _Link, reader: asyncio.StreamReader) -> None:
        try:
            await self._forward(link, reader)
        except* OSError:  # the server refused, or either side reset: so does the proxy
            link.abort()
        finally:
            await link.close()
            self._links.discard(link)

    async def _forward(self, link: _Link, from_client: asyncio.StreamReader) -> None:
        if self._mode is Mode.SWALLOW:
            link.broken = True
            await self._drain(from_client)
            return
        await self._flowing.wait()
        from_server, link.server = await asyncio.open_connection(*self._target)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pump(link, from_client, link.server))
            group.create_task(self._pump(link, from_server, link.client))

    async def _drain(self, reader: asyncio.StreamReader) -> None:
        while await reader.read(_CHUNK):
            pass

    async def _pump(
        self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Carry one direction of a connection to its end."""
        data = b"more"
        while data:
            data = await reader.read(_CHUNK)
            if self._delay_s:
                await asyncio.sleep(self._delay_s)
            await self._flowing.wait()
            if self._mode is Mode.SWALLOW:
                link.broken = True
            elif data:
                if self._tap is not None:
                    self._tap(link.number, writer is not link.client, data)
                writer.write(data)
                await writer.drain()
            elif not link.broken and writer.can_write_eof():
                writer.write_eof()
