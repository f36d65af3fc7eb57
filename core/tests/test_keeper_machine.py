"""Whatever happens in whatever order: once the backend answers, wanted and enlisted are one."""

from __future__ import annotations

from contextlib import suppress
from typing import Literal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from core.tests.keeping_world import OURS, THEIRS, TTL_S, Kept, World, WorldPlugin, server
from enlist.errors import UnavailableError
from enlist.info import Identity, Info
from enlist.states import State

CHILD = "child"
NUMBERS = st.integers(0, 3)
WEIGHTS = st.integers(0, 3)
# The longest wait of the policy, and then some rounds.
LONG_ENOUGH_S = TTL_S / 3 * 64 * 3


class AnyOrder(RuleBasedStateMachine):
    """Registrations, faults and rivals in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.kept = Kept(self.world)
        self.child: Kept | None = None
        self.late_s = 0.0
        self.wanted: dict[Identity, Info] = {}

    @rule(number=NUMBERS, weight=WEIGHTS)
    def register(self, number: int, weight: int) -> None:
        """What raises leaves wanted what was wanted before; what returns is wanted."""
        info = server(number, weight=weight)
        with suppress(UnavailableError):
            self.kept.register(info)
            self.wanted[info.identity] = info

    @rule(number=NUMBERS, weight=WEIGHTS)
    def update(self, number: int, weight: int) -> None:
        """An update begins from what is wanted; one that raises leaves that."""
        current = self.kept.table.get(server(number).identity)
        assert current == self.wanted.get(server(number).identity)
        if current is not None:
            self.register(number, weight)

    @rule(numbers=st.sets(NUMBERS, min_size=1), weight=WEIGHTS)
    def register_all(self, numbers: set[int], weight: int) -> None:
        """All are wanted, or none more than before."""
        infos = [server(number, weight=weight) for number in sorted(numbers)]
        with suppress(UnavailableError):
            self.kept.calls.register_all(infos, self.kept.deadline())
            self.wanted |= {info.identity: info for info in infos}

    @rule(number=NUMBERS)
    def deregister(self, number: int) -> None:
        """What was deregistered is not wanted, also when that raises."""
        info = server(number)
        self.wanted.pop(info.identity, None)
        with suppress(UnavailableError):
            self.kept.deregister(info)

    @rule(fault=st.sampled_from(["away", "frozen"]))
    def break_backend(self, fault: Literal["away", "frozen"]) -> None:
        """The backend goes away, or freezes."""
        self.world.break_down(fault)

    @rule(late_s=st.floats(0, TTL_S * 0.9))
    def heal_backend(self, late_s: float) -> None:
        """The backend is back, and does what it was asked while frozen, sooner or later."""
        self.world.heal(late_s)

    @rule()
    def wipe(self) -> None:
        """The backend loses all of its data."""
        self.world.records.clear()

    @rule(number=NUMBERS)
    def delete(self, number: int) -> None:
        """Somebody deletes a record by hand."""
        self.world.records.pop(server(number).identity, None)

    @rule(number=NUMBERS)
    def rival_takes_over(self, number: int) -> None:
        """Another process registers one of our identities."""
        if self.world.fault == "none":
            self.world.put(THEIRS, server(number, weight=99))

    @rule(number=NUMBERS)
    def rival_will_take_over_before_a_repair(self, number: int) -> None:
        """Another process registers what our beat found gone, just before we write it again."""
        self.world.rushing.append(server(number, weight=99))

    @rule(number=NUMBERS)
    def rival_leaves(self, number: int) -> None:
        """That process leaves again."""
        if self.world.fault == "none":
            self.world.remove(THEIRS, server(number).identity)

    @rule(seconds=st.floats(0.1, 60))
    def run(self, seconds: float) -> None:
        """Time passes, and the keeper works; no repair of it uses the call that takes over."""
        before = len(self.world.calls)
        self.kept.run(seconds)
        assert "register" not in self.world.calls[before:]

    @rule(number=NUMBERS, weight=WEIGHTS)
    def fork_and_register_in_the_child(self, number: int, weight: int) -> None:
        """A child of this process uses the registry: under an owner of its own."""
        self.child = self.child or Kept(self.world, plugin=WorldPlugin(self.world, CHILD))
        with suppress(UnavailableError):
            self.child.register(server(number, weight=weight))

    @rule()
    def child_closes_the_registry(self) -> None:
        """The child leaves; if it took the parent's records with it, the end would show."""
        if self.child is not None and self.world.fault == "none":
            self.child.calls.leave(self.child.deadline())
            self.child = None

    @rule(late_s=st.floats(0, TTL_S * 0.9))
    def be_late_in_the_end(self, late_s: float) -> None:
        """Choose how late the backlog is done when all is well again."""
        self.late_s = late_s

    @rule(seconds=st.floats(0.1, 60))
    def pause(self, seconds: float) -> None:
        """Time passes, and the process is suspended; for longer than a ttl, and its records die."""
        self.kept.clock.advance(seconds)

    def teardown(self) -> None:
        """Once the backend answers and some time has passed, wanted and enlisted are one."""
        self.world.heal(self.late_s)
        self.kept.run(LONG_ENOUGH_S)
        self.world.catch_up()  # nobody may be left who asks, and so meets a ghost
        ours = {key: info for key, (owner, info) in self.world.records.items() if owner == OURS}
        theirs = {key for key, (owner, _) in self.world.records.items() if owner != OURS}
        expected = {key: info for key, info in self.wanted.items() if key not in theirs}
        assert ours == expected
        assert self.kept.states() == {
            key: State.SUPERSEDED if key in theirs else State.ENLISTED for key in self.wanted
        }


AnyOrder.TestCase.settings = settings(max_examples=150, stateful_step_count=40)
TestAnyOrder = pytest.mark.timeout(300)(AnyOrder.TestCase)
