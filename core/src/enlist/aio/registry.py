"""The asyncio twin of a registry: each call in one of a few threads of its own."""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import weakref
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Final, ParamSpec, Self, TypeVar

from enlist.aio.resolver import AsyncResolver
from enlist.aio.undoing import Undoing
from enlist.errors import ClosedError, TimedOutError
from enlist.finding.resolver import Resolver
from enlist.info import Info
from enlist.opening import AnyRegistry
from enlist.own_thread import in_own_thread, queued
from enlist.registry import Readiness
from enlist.states import Status

__all__ = ["AsyncRegistry"]

_THREADS: Final = 4
_P = ParamSpec("_P")
_T = TypeVar("_T")


class AsyncRegistry:
    """An opened registry whose calls are awaited. Belongs to no loop in particular."""

    def __init__(self, registry: AnyRegistry, *, owned: bool) -> None:
        """Use ``registry`` from coroutines.

        Args:
            registry: the opened registry.
            owned: whether closing this one closes it.
        """
        self._registry = registry
        self._owned = owned
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="enlist-aio")
        self._closed = False
        self._undoing = Undoing(registry)
        self._resolvers: weakref.WeakSet[Resolver] = weakref.WeakSet()

    @property
    def name(self) -> str:
        """What the registry is called in messages."""
        return self._registry.name

    async def register(self, info: Info, *, timeout: dt.timedelta | None = None) -> None:
        """Register a server; see :meth:`enlist.Registry.register`."""
        call = functools.partial(self._registry.register, info, timeout=timeout)
        await self._undoable(call, [info], timeout)

    async def register_all(
        self, infos: Iterable[Info], *, timeout: dt.timedelta | None = None
    ) -> None:
        """Register many at once; see :meth:`enlist.Registry.register_all`."""
        wanted = list(infos)
        call = functools.partial(self._registry.register_all, wanted, timeout=timeout)
        await self._undoable(call, wanted, timeout)

    async def update(
        self,
        info: Info,
        *,
        weight: int | None = None,
        tags: Mapping[str, str] | None = None,
        timeout: dt.timedelta | None = None,
    ) -> Info:
        """Change weight or tags in place; see :meth:`enlist.Registry.update`."""
        call = functools.partial(
            self._registry.update, info, weight=weight, tags=tags, timeout=timeout
        )
        return await self._undoable(call, [info], timeout)

    async def deregister(self, info: Info, *, timeout: dt.timedelta | None = None) -> None:
        """Remove a registration, also if cancelled; see :meth:`enlist.Registry.deregister`."""
        earlier = self._undoing.under_way([info])
        call = functools.partial(self._registry.deregister, info, timeout=timeout)
        # At once, so that it is done whatever becomes of this coroutine.
        removal = self._submitted(functools.partial(_after, earlier, call))
        try:
            await self._undoing.finished(earlier, timeout)
            await asyncio.shield(asyncio.wrap_future(removal))
        except (asyncio.CancelledError, TimedOutError):
            self._undoing.began([info], removal)
            raise

    async def resolve(
        self, service_name: str, *, timeout: dt.timedelta | None = None
    ) -> tuple[Info, ...]:
        """Ask once who is there; see :meth:`enlist.Registry.resolve`."""
        return await self._run(self._registry.resolve, service_name, timeout=timeout)

    async def services(self, *, timeout: dt.timedelta | None = None) -> tuple[str, ...]:
        """Return the names of all services; see :meth:`enlist.Registry.services`."""
        return await self._run(self._registry.services, timeout=timeout)

    async def probe(self, *, timeout: dt.timedelta | None = None) -> None:
        """Prove that the backend answers; see :meth:`enlist.Registry.probe`."""
        await self._run(self._registry.probe, timeout=timeout)

    def status(self) -> tuple[Status, ...]:
        """Return every registration as it stands. Does not block."""
        return self._registry.status()

    def readiness(self) -> Readiness:
        """Return whether all is registered. Does not block."""
        return self._registry.readiness()

    def resolver(
        self, service_name: str, *, tags: Mapping[str, str] | None = None
    ) -> AsyncResolver:
        """Follow a service; see :meth:`enlist.Registry.resolver`. Does not block."""
        resolver = self._registry.resolver(service_name, tags=tags)
        self._resolvers.add(resolver)
        return AsyncResolver(resolver)

    async def close(self) -> None:
        """End its resolvers, wait for what is under way, close the registry if opened here.

        All of that is done also if this is cancelled.
        """
        self._closed = True
        steps = [resolver.close for resolver in self._resolvers]
        if self._owned:
            steps.append(self._registry.close)
        # Last of all: what undoes a cancelled call may still be on its way.
        steps.append(self._threads.shutdown)
        await in_own_thread(functools.partial(_take, steps), "enlist-aio-close")

    async def __aenter__(self) -> Self:
        """Return the registry."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        await self.close()

    async def _run(self, call: Callable[_P, _T], /, *args: _P.args, **arguments: _P.kwargs) -> _T:
        """Make the call in a thread; it goes on there if this is cancelled."""
        future = self._submitted(functools.partial(call, *args, **arguments))
        return await asyncio.shield(asyncio.wrap_future(future))

    def _submitted(self, call: Callable[[], _T]) -> Future[_T]:
        if self._closed:
            raise ClosedError(
                f"registry {self.name!r} was closed; open another with open_registry()"
            )
        return queued(self._threads, call)

    async def _undoable(
        self, call: Callable[[], _T], infos: Sequence[Info], timeout: dt.timedelta | None
    ) -> _T:
        await self._undoing.finished(self._undoing.under_way(infos), timeout)
        work = self._undoing.undoable(call, infos)
        future = self._submitted(work.do)
        try:
            return await asyncio.shield(asyncio.wrap_future(future))
        except asyncio.CancelledError:
            undoing = queued(self._threads, work.undo) if work.cancel() else future
            self._undoing.began(infos, undoing)
            raise


def _after(earlier: Collection[Future[Any]], call: Callable[[], _T]) -> _T:
    """Make the call when the earlier ones have ended, each of which had its thread before."""
    wait(earlier)
    return call()


def _take(steps: Iterable[Callable[[], object]]) -> None:
    with ExitStack() as rest:  # one that fails keeps nobody from the others
        for step in reversed(list(steps)):
            rest.callback(step)
