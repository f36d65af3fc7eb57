"""Everything that one opened registry has in one process: put together here, taken apart here.

A forked child inherits the parent's session and never touches it; its first use makes its own.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from enlist.backend import DEFAULT_TTL_S, Backend
from enlist.clock import Clock, Deadline
from enlist.finding.watching import Watches
from enlist.host_process import check_threads
from enlist.keeping.announcer import Announcer
from enlist.keeping.backoff import Backoff
from enlist.keeping.calls import Calls, OnUnavailable
from enlist.keeping.keeper import Keeper
from enlist.keeping.registrations import Registrations
from enlist.keeping.supervisor import Supervisor
from enlist.keeping.writer import Writer

__all__ = ["Session", "SessionPlan"]

LEAST_CLOSING_S: Final = 0.2
"""Even when all the time was spent on leaving, connections are closed with this much patience."""

HOLD_INTERVALS: Final = 2
"""How many intervals beyond one time to live an instance is held after its watch had failed."""


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """What it takes to make a session, in this process or in a forked child.

    Attributes:
        name: the registry's name in messages.
        make_plugin: makes the plugin object for an owner.
        extensions: the objects of the extensions.
        on_unavailable: what a ``register`` does that finds no backend.
        clock: the time.
        ttl_s: the time to live that the options ask for, in seconds.
        is_local: whether the backend is on this machine.
    """

    name: str
    make_plugin: Callable[[str], object]
    extensions: Sequence[object]
    on_unavailable: OnUnavailable
    clock: Clock
    ttl_s: float = DEFAULT_TTL_S
    is_local: bool = False


class Session:
    """The parts of one registry in this process, connected."""

    def __init__(self, plan: SessionPlan) -> None:
        """Connect the parts. Nothing is sent and no thread is started."""
        check_threads()
        self.owner = os.urandom(16).hex()
        clock = plan.clock
        rng = random.Random()  # noqa: S311 - spreads load; nothing secret
        self.backend = Backend(
            plan.make_plugin(self.owner),
            name=plan.name,
            clock=clock,
            extensions=plan.extensions,
            ttl_s=plan.ttl_s,
        )
        self.backoff = Backoff(plan.ttl_s, rng)
        self.table = Registrations(clock, Announcer(self.backend), lambda: self.backoff.valid_for_s)
        self.watches = Watches(
            self.backend,
            clock=clock,
            random=rng,
            hold_s=self._hold_s,
            on_changed=self.backend.instances_changed,
        )
        writer = Writer(self.backend, self.table)
        self.keeper = Keeper(
            self.backend,
            self.table,
            writer,
            backoff=self.backoff,
            clock=clock,
            listener=self.watches,
        )
        self.supervisor = Supervisor(self.keeper, self.watches, name=plan.name)
        self.calls = Calls(
            self.backend,
            self.table,
            writer,
            on_unavailable=plan.on_unavailable,
            hurry=self.keeper.hurry,
        )

    def _hold_s(self) -> float:
        return self.backoff.valid_for_s + HOLD_INTERVALS * self.backoff.interval_s

    def close(self, deadline: Deadline) -> int:
        """Leave the registry and let go of everything; return how many records may remain."""
        with ExitStack() as rest:  # what fails in one keeps nobody from the others
            rest.callback(lambda: self.backend.close(max(LEAST_CLOSING_S, deadline.left_s)))
            rest.callback(lambda: self.supervisor.stop(max(LEAST_CLOSING_S, deadline.left_s)))
            rest.callback(self.watches.close)
            return self.calls.leave(deadline)
