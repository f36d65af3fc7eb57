"""A backend in memory whose watches do what a test says, for the scheduling of watches alone.

That watches see what servers do is proven on real backends by the conformance kit.
"""

from __future__ import annotations

import queue
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from core.tests.keeping_world import HandClock
from enlist.clock import SystemClock
from enlist.finding.resolver import Resolver
from enlist.finding.watching import Watches
from enlist.hookspecs import Stop
from enlist.info import Info
from tests.waiting import eventually

HOLD_S = 25.0
A, B, C = (Info(service_name="echo", addr=f"10.0.0.{n}:80") for n in (1, 2, 3))


class Stream:
    """One opening of a watch, from the side of the server."""

    def __init__(self, service_name: str, stop: Stop) -> None:
        self.service_name = service_name
        self.stop = stop
        self.ended = threading.Event()
        self._said: queue.SimpleQueue[Sequence[Info] | BaseException | None] = queue.SimpleQueue()

    def list(self, *infos: Info) -> None:
        """Have the watch yield a list."""
        self._said.put(infos)

    def fail(self, error: BaseException) -> None:
        """Have the watch raise."""
        self._said.put(error)

    def end(self) -> None:
        """Have the watch return."""
        self._said.put(None)

    def lists(self) -> Iterator[Sequence[Info]]:
        """Be the iterator of the plugin."""
        try:
            while (said := self._said.get()) is not None:
                if isinstance(said, BaseException):
                    raise said
                yield said
        finally:
            self.ended.set()


class ScriptedSource:
    """What a watch needs of a backend."""

    name = "scripted"
    can_resolve = True

    def __init__(self) -> None:
        self.streams: list[Stream] = []
        self.heeds_stop = True

    def watch(self, service_name: str, stop: Stop) -> Iterator[Sequence[Info]]:
        stream = Stream(service_name, stop)
        if self.heeds_stop:
            stop.on_stop(stream.end)
        self.streams.append(stream)
        return stream.lists()

    def opened(self, count: int) -> Stream:
        """Wait until so many watches were opened in all, and return the newest."""
        eventually(lambda: len(self.streams) >= count, why=f"{count} watches are opened")
        assert len(self.streams) == count
        return self.streams[-1]


class Chance(random.Random):
    """Chance that always says the same; halfway means neither early nor late."""

    def __init__(self, point: float = 0.5) -> None:
        super().__init__()
        self.point = point

    def random(self) -> float:
        return self.point


class Watching:
    """Watches over a scripted source, by a clock that tests turn."""

    def __init__(
        self, on_changed: Callable[[str, Sequence[Info], bool], None] | None = None
    ) -> None:
        self.source = ScriptedSource()
        self.clock = HandClock()
        self.chance = Chance()
        self.watches = Watches(
            self.source,
            clock=self.clock,
            random=self.chance,
            hold_s=lambda: HOLD_S,
            on_changed=on_changed,
        )

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and do what the keeper's thread would then do."""
        self.clock.advance(seconds)
        self.watches.tick()


@contextmanager
def unheard_resolver(timeout_s: float = 20) -> Iterator[tuple[Resolver, ScriptedSource]]:
    """A resolver that has no list until the test gives one, and how to give it."""
    world = Watching()
    try:
        yield (
            Resolver(lambda: world.watches.open("echo"), clock=SystemClock(), timeout_s=timeout_s),
            world.source,
        )
    finally:
        world.watches.close()
