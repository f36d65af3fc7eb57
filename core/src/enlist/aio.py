"""The asyncio twins of every call that may block: same names, same errors, awaited.

::

    async with enlist.aio.open_registry("etcd") as registry:
        await registry.register(info)
        async with registry.resolver("echo") as resolver:
            async for snapshot in resolver:
                ...

The calls run in a few threads of the registry's own. A call that is cancelled cannot be stopped
in its thread, so what it did is undone right after it: a cancelled ``register`` leaves no record
behind, and a cancelled ``update`` leaves what was registered before.

For servers there are :func:`enlisted` and, for what ``asyncio.start_server`` makes, :func:`serve`.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import logging
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Final, Generic, Literal, ParamSpec, Self, TypeVar

from enlist.errors import ClosedError, EnlistError, TimedOutError
from enlist.finding.resolver import Resolver
from enlist.finding.view import Snapshot
from enlist.info import Identity, Info
from enlist.opening import AnyRegistry
from enlist.opening import open_registry as open_blocking
from enlist.own_thread import in_own_thread
from enlist.registry import Readiness, check_timeout
from enlist.serving.awaited import aenlisted as enlisted
from enlist.serving.awaited import aserve as serve
from enlist.states import State, Status

__all__ = ["AsyncRegistry", "AsyncResolver", "enlisted", "open_registry", "serve"]

_THREADS: Final = 4
_P = ParamSpec("_P")
_T = TypeVar("_T")
_logger = logging.getLogger(__name__)


def open_registry(
    registry: object = None,
    /,
    *,
    timeout: dt.timedelta | None = None,
    on_unavailable: Literal["raise", "retry"] = "raise",
    extensions: Sequence[object] = (),
    **options: object,
) -> AsyncRegistry:
    """Open a registry for asyncio; see :func:`enlist.open_registry`. Sends nothing, awaits nothing.

    An opened blocking registry may be passed; it stays open when this one is closed.
    """
    blocking = open_blocking(
        registry, timeout=timeout, on_unavailable=on_unavailable, extensions=extensions, **options
    )
    return AsyncRegistry(blocking, owned=blocking is not registry)


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
        # What takes back a cancelled call, by what it was about, until that is done.
        self._undoing: dict[Identity, Future[Any]] = {}
        self._resolvers: weakref.WeakSet[AsyncResolver] = weakref.WeakSet()

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
        await self._undone([info], timeout)
        await self._run(self._registry.deregister, info, timeout=timeout)

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
        resolver = AsyncResolver(self._registry.resolver(service_name, tags=tags), self._run)
        self._resolvers.add(resolver)
        return resolver

    async def close(self) -> None:
        """End its resolvers, wait for what is under way, close the registry if opened here.

        All of that is done also if this is cancelled.
        """
        self._closed = True
        steps = [resolver.ending() for resolver in list(self._resolvers)]
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
        return self._threads.submit(call)

    async def _undoable(
        self, call: Callable[[], _T], infos: Sequence[Info], timeout: dt.timedelta | None
    ) -> _T:
        await self._undone(infos, timeout)
        before = {
            status.info.identity: status.info
            for status in self._registry.status()
            if status.state is not State.LEAVING
        }
        work = _Undoable(call, functools.partial(self._undo, infos, before))
        future = self._submitted(work.do)
        try:
            return await asyncio.shield(asyncio.wrap_future(future))
        except asyncio.CancelledError:
            undoing = self._threads.submit(work.undo) if work.cancel() else future
            self._undoing.update({info.identity: undoing for info in infos})
            raise

    async def _undone(self, infos: Sequence[Info], timeout: dt.timedelta | None) -> None:
        """Wait until what was cancelled before is undone: it must not undo what comes now.

        Raises:
            TimedOutError: that took longer than this call may.
        """
        self._undoing = {key: each for key, each in self._undoing.items() if not each.done()}
        if not self._undoing:
            return
        pending = {self._undoing[info.identity] for info in infos if info.identity in self._undoing}
        allowed = self._registry.timeout if timeout is None else check_timeout(timeout)
        waits = [asyncio.shield(asyncio.wrap_future(each)) for each in pending]
        done, late = (
            await asyncio.wait(waits, timeout=allowed.total_seconds()) if waits else ((), ())
        )
        for each in done:
            each.exception()  # the cancelled call's own; nobody waits for it any more
        if late:
            raise TimedOutError(
                f"{self.name}: a call for this registration was cancelled, and is not undone yet "
                f"after {allowed.total_seconds():g} s; try again"
            )

    def _undo(self, infos: Sequence[Info], before: Mapping[Identity, Info]) -> None:
        for info in infos:
            try:
                if (earlier := before.get(info.identity)) is not None:
                    self._registry.register(earlier)
                else:
                    self._registry.deregister(info)
            except EnlistError as exc:
                _logger.warning(
                    "%s: undoing a cancelled call for %s at %s: %s",
                    self.name,
                    info.service_name,
                    info.addr,
                    exc,
                )


def _take(steps: Iterable[Callable[[], object]]) -> None:
    with ExitStack() as rest:  # one that fails keeps nobody from the others
        for step in reversed(list(steps)):
            rest.callback(step)


class _Undoable(Generic[_T]):
    """A call in a thread that is undone there if it was cancelled before it ended."""

    def __init__(self, call: Callable[[], _T], undo: Callable[[], None]) -> None:
        self.undo = undo
        self._call = call
        self._lock = threading.Lock()
        self._ended = self._cancelled = False

    def do(self) -> _T:
        """Make the call, in a thread."""
        result = self._call()
        with self._lock:
            self._ended = True
            cancelled = self._cancelled
        if cancelled:
            self.undo()
        return result

    def cancel(self) -> bool:
        """Have it undone; return whether it had ended, so that the caller has to see to that."""
        with self._lock:
            self._cancelled = True
            return self._ended


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
        if self._resolver.snapshot().listed:
            return self._resolver.pick(exclude=exclude)
        picked: Info = await self._run(self._resolver.pick, exclude=exclude)
        return picked

    async def __aiter__(self) -> AsyncIterator[Snapshot]:
        """Yield the snapshot now and the newest after each change, until the resolver is closed."""
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()
        end = self._resolver.on_change(lambda _: loop.call_soon_threadsafe(changed.set))
        self._iterations.add(changed.set)
        try:
            while not self._closed:
                changed.clear()
                yield self._resolver.snapshot()
                await changed.wait()
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
