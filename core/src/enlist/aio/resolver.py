"""The asyncio twin of a resolver: waits that keep no thread, and changes to iterate over."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

from enlist.errors import ClosedError
from enlist.finding.resolver import Resolver, Waiting
from enlist.finding.view import Snapshot
from enlist.info import Info
from enlist.own_thread import in_own_thread

__all__ = ["AsyncResolver"]


class AsyncResolver:
    """A live view of one service, to pick from and to iterate over."""

    def __init__(self, resolver: Resolver) -> None:
        """Show what ``resolver`` shows."""
        self._resolver = resolver

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
        """Wait until at least ``n`` instances are there; see :meth:`enlist.Resolver.wait_for`.

        Any number of coroutines may wait; they keep no thread.
        """
        waiting = self._resolver.waiting(n, timeout)
        await self._end_of(waiting)
        return waiting.outcome()

    async def pick(self, *, exclude: Collection[Info] = ()) -> Info:
        """Choose an instance; waits only for the first list; see :meth:`enlist.Resolver.pick`."""
        if not self._resolver.snapshot().listed:
            await self._end_of(self._resolver.waiting_for_first_list())
        return self._resolver.pick(exclude=exclude)

    async def _end_of(self, waiting: Waiting) -> None:
        """Return when the wait is over, or its time is."""
        with self._wakes() as changed, suppress(TimeoutError):
            async with asyncio.timeout(waiting.seconds):
                while not waiting.is_over():
                    await changed.wait()
                    changed.clear()

    @contextmanager
    def _wakes(self) -> Iterator[asyncio.Event]:
        """Give what is set at each change from now on, and at the end."""
        loop, changed = asyncio.get_running_loop(), asyncio.Event()

        def wake(*_: Snapshot) -> None:
            loop.call_soon_threadsafe(changed.set)

        stop = self._resolver.on_change(wake, ended=wake)
        try:
            yield changed
        finally:
            stop()

    async def __aiter__(self) -> AsyncIterator[Snapshot]:
        """Yield the snapshot now and the newest after each change, until the end.

        That is when the resolver or its registry is closed.
        """
        with self._wakes() as changed:
            while (snapshot := self._newest()) is not None:
                yield snapshot
                await changed.wait()
                changed.clear()

    def _newest(self) -> Snapshot | None:
        try:
            return self._resolver.snapshot()
        except ClosedError:
            return None

    async def close(self) -> None:
        """Stop following, and end every iteration; a second call does nothing."""
        await in_own_thread(self._resolver.close, "enlist-aio-close")

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
