"""How a cancelled call is taken back: it cannot be stopped in its thread, so it is undone there."""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import logging
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from enlist.errors import EnlistError, TimedOutError
from enlist.info import Identity, Info
from enlist.opening import AnyRegistry
from enlist.registry import check_timeout
from enlist.states import State

__all__ = ["Undoable", "Undoing"]

_T = TypeVar("_T")
_logger = logging.getLogger(__name__)


class Undoing:
    """What takes back the cancelled calls of one registry, and how to wait for it."""

    def __init__(self, registry: AnyRegistry) -> None:
        """Undo calls of ``registry``."""
        self._registry = registry
        # What takes back a cancelled call, by what it was about, until that is done.
        self._under_way: dict[Identity, Future[Any]] = {}

    def undoable(self, call: Callable[[], _T], infos: Sequence[Info]) -> Undoable[_T]:
        """Return the call about ``infos``, with what brings back how they are registered now."""
        before = {
            status.info.identity: status.info
            for status in self._registry.status()
            if status.state is not State.LEAVING
        }
        return Undoable(call, functools.partial(self._undo, infos, before))

    def began(self, infos: Sequence[Info], undoing: Future[Any]) -> None:
        """Remember that a cancelled call about ``infos`` is undone when ``undoing`` is done."""
        self._under_way.update(dict.fromkeys(_identities(infos), undoing))

    def under_way(self, infos: Sequence[Info]) -> set[Future[Any]]:
        """Return what takes back the cancelled calls about ``infos``, as far as it is not done."""
        self._under_way = {key: each for key, each in self._under_way.items() if not each.done()}
        if not self._under_way:
            return set()
        return {self._under_way[key] for key in _identities(infos) if key in self._under_way}

    async def finished(
        self, undoings: Collection[Future[Any]], timeout: dt.timedelta | None
    ) -> None:
        """Wait until what was cancelled before is undone: it must not undo what comes now.

        Raises:
            TimedOutError: that took longer than this call may.
        """
        if not undoings:
            return
        allowed = self._registry.timeout if timeout is None else check_timeout(timeout)
        waits = [asyncio.shield(asyncio.wrap_future(each)) for each in undoings]
        for each in waits:  # the cancelled call's own error; nobody waits for it any more
            each.add_done_callback(lambda done: done.cancelled() or done.exception())
        _, late = await asyncio.wait(waits, timeout=allowed.total_seconds())
        if late:
            raise TimedOutError(
                f"{self._registry.name}: a call for this registration was cancelled, and is not "
                f"undone yet after {allowed.total_seconds():g} s; try again"
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
                    self._registry.name,
                    info.service_name,
                    info.addr,
                    exc,
                )


def _identities(infos: Sequence[Info]) -> list[Identity]:
    # What is no Info is refused by the call itself.
    return [info.identity for info in infos if isinstance(info, Info)]


class Undoable(Generic[_T]):
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
