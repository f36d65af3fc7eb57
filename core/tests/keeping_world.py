"""A backend in memory with every fault at hand, and a clock that tests turn by hand.

It stands in for a server only where hours of outages must pass in milliseconds: the rules
themselves are proven on real backends by the conformance kit.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from enlist.backend import Backend
from enlist.clock import Deadline
from enlist.errors import RegistryError, TimedOutError, UnavailableError
from enlist.hookspecs import Beat, Lost, Why, hookimpl
from enlist.info import Identity, Info
from enlist.keeping.backoff import Backoff
from enlist.keeping.calls import Calls, OnUnavailable
from enlist.keeping.keeper import Keeper
from enlist.keeping.registrations import Registrations
from enlist.keeping.writer import Writer
from enlist.states import Change, State

TTL_S = 15.0
OURS = "ours"
THEIRS = "theirs"
BUDGET_S = 3.0


class HandClock:
    """A clock that moves only when it is told to."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> dt.datetime:
        return dt.datetime(2026, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=self.seconds)

    def advance(self, seconds: float) -> None:
        self.seconds += seconds


@dataclass
class World:
    """The server: its records, its fault, and the requests that it has yet to carry out.

    A record of ours dies when its owner has given no sign of life for one ttl; rivals live on.
    """

    clock: HandClock = field(default_factory=HandClock)
    records: dict[Identity, tuple[str, Info]] = field(default_factory=dict)
    fault: Literal["none", "away", "frozen"] = "none"
    late: list[Callable[[], None]] = field(default_factory=list)
    late_at: float = 0.0
    calls: list[str] = field(default_factory=list)
    signed_at: float = 0.0
    rushing: list[Info] = field(default_factory=list)

    def reach(self, call: str, timeout_s: float, late: Callable[[], None] | None = None) -> None:
        """Let a call through, refuse it, or let it time out and be carried out later."""
        self.calls.append(call)
        self.catch_up()
        self.bury()
        if self.fault == "away":
            raise UnavailableError("connection refused")
        if self.fault == "frozen":
            if late is not None:
                self.late.append(late)
            self.clock.advance(timeout_s)
            raise TimedOutError(f"no answer in {timeout_s:g} s")

    def break_down(self, fault: Literal["away", "frozen"]) -> None:
        """Go away, or freeze; what was asked before an earlier freeze is done by then."""
        if self.fault == "none":
            self._carry_out_late()
        self.fault = fault

    def heal(self, late_s: float = 0.0) -> None:
        """Answer again; what was asked meanwhile is done some time later, as Consul does."""
        if self.fault != "none":
            self.fault = "none"
            self.late_at = self.clock.monotonic() + late_s

    def catch_up(self) -> None:
        """Carry out what was asked of the frozen server, if it is time."""
        if self.fault == "none" and self.clock.monotonic() >= self.late_at:
            self._carry_out_late()

    def _carry_out_late(self) -> None:
        late, self.late = self.late, []
        for request in late:
            request()

    def rush(self) -> None:
        """Have rivals take over what they were told to, between our beat and our repair."""
        rushing, self.rushing = self.rushing, []
        for info in rushing:
            self.put(THEIRS, info)

    def bury(self) -> None:
        """Remove our records if we have been silent for longer than a ttl."""
        if self.clock.monotonic() - self.signed_at > TTL_S:
            for identity in [key for key, (owner, _) in self.records.items() if owner == OURS]:
                del self.records[identity]

    def sign(self, owner: str) -> None:
        """Take note of a sign of life."""
        if owner == OURS:
            self.signed_at = self.clock.monotonic()

    def put(self, owner: str, info: Info) -> None:
        self.sign(owner)
        self.records[info.identity] = (owner, info)

    def remove(self, owner: str, identity: Identity) -> None:
        if self.owner_of(identity) == owner:
            del self.records[identity]

    def owner_of(self, identity: Identity) -> str | None:
        return self.records[identity][0] if identity in self.records else None


class WorldPlugin:
    """The plugin of that server."""

    def __init__(self, world: World, owner: str = OURS) -> None:
        self.world = world
        self.owner = owner

    @hookimpl
    def register(self, info: Info, timeout_s: float) -> None:
        self.world.reach("register", timeout_s, lambda: self.world.put(self.owner, info))
        self.world.put(self.owner, info)

    @hookimpl
    def deregister(self, info: Info, timeout_s: float) -> None:
        identity = info.identity
        self.world.reach("deregister", timeout_s, lambda: self.world.remove(self.owner, identity))
        self.world.remove(self.owner, identity)

    @hookimpl
    def keep_alive(self, infos: Sequence[Info], timeout_s: float) -> Beat:
        self.world.reach("keep_alive", timeout_s)
        self.world.sign(self.owner)
        return Beat([lost for info in infos if (lost := self._look(info))], TTL_S)

    @hookimpl
    def restore(self, infos: Sequence[Info], timeout_s: float) -> Sequence[Lost]:
        self.world.reach("restore", timeout_s, lambda: self._put_all(infos))
        self.world.rush()
        return self._restore(infos)

    def _put_all(self, infos: Sequence[Info]) -> None:
        self._restore(infos)

    def _restore(self, infos: Sequence[Info]) -> list[Lost]:
        lost = []
        for info in infos:
            if self.world.owner_of(info.identity) in {None, self.owner}:
                self.world.put(self.owner, info)
            else:
                lost.append(Lost(info, Why.SUPERSEDED))
        return lost

    def _look(self, info: Info) -> Lost | None:
        owner = self.world.owner_of(info.identity)
        if owner == self.owner:
            return None
        return Lost(info, Why.GONE if owner is None else Why.SUPERSEDED)


class Follower:
    """Notes the backend's signs of life, as the watches do."""

    def __init__(self, watched: Sequence[str] = ()) -> None:
        self.watched = tuple(watched)
        self.signs: list[str] = []

    def active(self) -> tuple[str, ...]:
        return self.watched

    def backend_answered(self) -> None:
        self.signs.append("answered")

    def backend_failed(self, error: RegistryError) -> None:
        self.signs.append(type(error).__name__)


class Kept:
    """A keeper and all that it works with, run round by round."""

    def __init__(
        self,
        world: World,
        *,
        plugin: object | None = None,
        on_unavailable: OnUnavailable = "raise",
        watched: Sequence[str] = (),
        seed: int = 0,
    ) -> None:
        self.world = world
        self.clock = world.clock
        self.changes: list[Change] = []
        self.follower = Follower(watched)
        rng = random.Random(seed)  # noqa: S311 - the same pace in every run
        self.backend = Backend(
            WorldPlugin(world) if plugin is None else plugin, name="world", clock=self.clock
        )
        self.backoff = Backoff(TTL_S, rng)
        self.table = Registrations(
            self.clock, self.changes.extend, lambda: self.backoff.valid_for_s
        )
        writer = Writer(self.backend, self.table)
        self.keeper = Keeper(
            self.backend,
            self.table,
            writer,
            backoff=self.backoff,
            clock=self.clock,
            listener=self.follower,
        )
        self.calls = Calls(
            self.backend,
            self.table,
            writer,
            on_unavailable=on_unavailable,
            hurry=self.keeper.hurry,
        )

    def deadline(self) -> Deadline:
        return Deadline(self.clock, BUDGET_S)

    def register(self, info: Info) -> None:
        self.calls.register(info, self.deadline())

    def deregister(self, info: Info) -> None:
        self.calls.deregister(info, self.deadline())

    def run(self, seconds: float) -> None:
        """Let time pass, with the rounds that fall into it."""
        end = self.clock.seconds + seconds
        while (due_s := self.keeper.seconds_to_round()) is not None:
            if self.clock.seconds + due_s > end:
                break
            self.clock.advance(due_s)
            self.keeper.round()
        self.clock.seconds = max(self.clock.seconds, end)

    def run_until(self, condition: Callable[[], bool], within_s: float) -> float:
        """Run until the condition holds; return how long that took, fail if it does not."""
        start = self.clock.seconds
        while not condition():
            due_s = self.keeper.seconds_to_round()
            assert due_s is not None, "nothing to do, and yet the condition does not hold"
            self.clock.advance(due_s)
            assert self.clock.seconds - start <= within_s, f"not within {within_s} s"
            self.keeper.round()
        return self.clock.seconds - start

    def states(self) -> dict[Identity, State]:
        return {status.info.identity: status.state for status in self.table.statuses("world")}


def server(number: int, *, weight: int = 10, service: str = "echo") -> Info:
    """Return one of many servers."""
    addr = f"10.0.{number // 250}.{number % 250 + 1}:80"
    return Info(service_name=service, addr=addr, weight=weight)
