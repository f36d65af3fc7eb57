"""The asyncio twin of a resolver: its blocking calls in a thread, its changes to iterate over."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self

from enlist.errors import ClosedError
from enlist.finding.resolver import Resolver
from enlist.finding.view import Snapshot
from enlist.info import Info
from enlist.own_thread import in_own_thread

__all__ = ["AsyncResolver"]


class AsyncResolver:
    """A live view of one service, to pick from and to iterate over."""

    def __init__(self, resolver: Resolver, run: Callable[..., Any]) -> None:
        """Show what ``resolver`` shows; ``run`` makes blocking calls in a thread."""
        self._resolver = resolver
        self._run = run
        self._closed = False
        self._iterations: set[Callable[[], object]] = set()

    @property
    def service_name(self) -> str:
        """The name that is resolved."""
        return self._resolver.service_name

    @property
    def last_error(self) -> BaseException | None:
        """Why the view is stale, if it is known; None while all is well."""
        return self._resolver.last_error

    @property
    def instances(self) -> tuple[Info, ...]:
        """The instances that may be called now."""
        return self._resolver.instances

    @property
    def stale(self) -> bool:
        """Whether the view may be out of date."""
        return self._resolver.stale

    def snapshot(self) -> Snapshot:
        """Return one consistent look at everything."""
        return self._resolver.snapshot()

    async def wait_for(self, n: int = 1, timeout: dt.timedelta | None = None) -> tuple[Info, ...]:
        """Wait until at least ``n`` instances are there; see :meth:`enlist.Resolver.wait_for`."""
        found: tuple[Info, ...] = await self._run(self._resolver.wait_for, n, timeout)
        return found

    async def pick(self, *, exclude: Collection[Info] = ()) -> Info:
        """Choose an instance; waits only for the first list; see :meth:`enlist.Resolver.pick`."""
        await self._first_list()
        return self._resolver.pick(exclude=exclude)

    async def _first_list(self) -> None:
        """Wait as a pick would, but in no thread, of which there are few."""
        if self._resolver.snapshot().listed:
            return
        with suppress(TimeoutError), self._changes() as changed:
            async with asyncio.timeout(self._resolver.first_list_left_s):
                while not self._resolver.snapshot().listed and not self._closed:
                    await changed.wait()
                    changed.clear()
        if self._closed:
            raise ClosedError(f"the resolver of {self.service_name!r} was closed; open another one")

    async def __aiter__(self) -> AsyncIterator[Snapshot]:
        """Yield the snapshot now and the newest after each change, until the resolver is closed."""
        with self._changes() as changed:
            while not self._closed:
                changed.clear()
                yield self._resolver.snapshot()
                await changed.wait()

    @contextmanager
    def _changes(self) -> Iterator[asyncio.Event]:
        """Have an event set at each change, and at the end, while the block runs."""
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()
        end = self._resolver.on_change(lambda _: loop.call_soon_threadsafe(changed.set))
        self._iterations.add(changed.set)
        try:
            yield changed
        finally:
            self._iterations.discard(changed.set)
            end()

    async def close(self) -> None:
        """Stop following, and end every iteration; a second call does nothing."""
        await in_own_thread(self.ending(), "enlist-aio-close")

    def ending(self) -> Callable[[], None]:
        """End every iteration, and return what is still to be done then, which may block."""
        self._closed = True
        for wake in tuple(self._iterations):
            wake()
        return self._resolver.close

    async def __aenter__(self) -> Self:
        """Return the resolver."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        await self.close()
