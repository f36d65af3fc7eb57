"""What each test of the kit works with: :class:`Trial`."""

from __future__ import annotations

import contextlib
import datetime as dt
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import pytest

from enlist.backend import Backend
from enlist.clock import SystemClock
from enlist.errors import RegistryError, UnavailableError
from enlist.finding.resolver import Resolver
from enlist.info import Info
from enlist.registry import Registry
from enlist.testing.abilities import Abilities, Ability
from enlist.testing.bounds import Bounds
from enlist.testing.following import Following, poll
from enlist.testing.making import Making
from enlist.testing.rules import Rule, RuleBrokenError
from enlist.testing.under_test import BackendUnderTest
from enlist.testing.workers import Worker

__all__ = ["CALL_S", "NOT_CLAIMED", "PATIENCE", "Trial", "same"]

NOT_CLAIMED: Final = "not claimed: "
"""How the reason of a test begins that the backend makes no claim for."""
SHOWN: Final = 5
"""How many Infos a message shows at most."""
CALL_S: Final = 3.0
"""What a hook that the kit calls by itself is given, in seconds."""
PATIENCE: Final = dt.timedelta(seconds=15)
"""How long one call may take of which no rule asks that it be quick."""


def same(found: Sequence[Info], infos: Sequence[Info]) -> bool:
    """Return whether these are the same instances in any order, each once."""
    return len(found) == len(infos) and set(found) == set(infos)


def _shown(infos: Sequence[Info]) -> str:
    text = ", ".join(map(repr, infos[:SHOWN]))
    return f"{len(infos)}: [{text}{', ...' if len(infos) > SHOWN else ''}]"


class Trial(Making):
    """One test: opens what it needs, judges what it sees, and takes everything down again.

    Attributes:
        rule: the rule that is tried.
        under_test: the backend, with its disturbances.
        bounds: how long things may take.
    """

    def __init__(self, rule: Rule, under_test: BackendUnderTest) -> None:
        """Open nothing yet."""
        super().__init__(under_test.abilities.limits)
        self.rule = rule
        self.under_test = under_test
        self.bounds = Bounds.of(under_test.abilities)
        self._ends = contextlib.ExitStack()
        self._asked: Backend | None = None

    @property
    def abilities(self) -> Abilities:
        """What the backend claims."""
        return self.under_test.abilities

    def needs(self, *abilities: Ability) -> None:
        """End the test as "not claimed" unless all of these are claimed."""
        missing = [ability for ability in abilities if not self.abilities.claims(ability)]
        if missing:
            pytest.skip(NOT_CLAIMED + ", ".join(missing))

    def end(self) -> None:
        """Take down everything that was opened, the latest first, and undo disturbances."""
        self._ends.close()

    def at_end(self, undo: Callable[[], object]) -> None:
        """Have something done when the test ends."""
        self._ends.callback(undo)

    # --- opening -------------------------------------------------------------------------------

    def open(self, **options: Any) -> Registry:  # noqa: ANN401 - each plugin has its own
        """Open the backend as one more client or server; closed at the end."""
        registry = self.under_test.open(**options)
        self.closed_at_end(registry.close)
        return registry

    def closed_at_end(self, close: Callable[[], object]) -> None:
        """Have something closed when the test ends, also if a plugin hangs in it."""

        def run() -> None:
            outcome = self._begin(close, PATIENCE.total_seconds())("closing")
            if outcome is not None:
                raise outcome

        self.at_end(run)

    def resolver(
        self, registry: Registry, service_name: str, *, allowed_s: float | None = None
    ) -> Resolver:
        """Follow a service, and wait for the first list; closed at the end.

        Args:
            registry: where.
            service_name: whom.
            allowed_s: how long the list may take; None for what a short one may.
        """
        resolver = registry.resolver(service_name)
        self.closed_at_end(resolver.close)
        self.wait(
            lambda: not resolver.stale,
            self.bounds.arrival_s + CALL_S if allowed_s is None else allowed_s,
            f"a first list of {service_name!r} did not come",
        )
        return resolver

    def worker(self) -> Worker:
        """Start another process that has the backend open; ended at the end."""
        worker = Worker(self.under_test)
        self.at_end(worker.end)
        return worker

    def backend(self) -> Backend:
        """Make a plugin object with an owner of its own, whose hooks the test calls; no keeper."""
        plugin = self.under_test.make_plugin(secrets.token_hex(16))
        backend = Backend(
            plugin, name=self.under_test.name, clock=SystemClock(), ttl_s=self.bounds.ttl_s
        )
        self.closed_at_end(lambda: backend.close(CALL_S))
        return backend

    def validate(self, info: Info) -> None:
        """Ask a plugin object whether it can carry that."""
        if self._asked is None:
            self._asked = self.backend()
        self._asked.validate(info)

    def following(self, backend: Backend, service_name: str, *, paused: bool = False) -> Following:
        """Take every list of a plugin's own watch, and wait for the first; ended at the end.

        Args:
            backend: whose hook to call.
            service_name: what to watch.
            paused: do not ask for a second list before ``go_on``.
        """
        following = Following(backend, service_name, paused=paused)
        self.at_end(lambda: following.end(CALL_S))
        self.wait(
            lambda: bool(following.lists) or following.error is not None,
            self.bounds.arrival_s + CALL_S,
            f"watch yielded no first list of {service_name!r}",
        )
        self.check(following.error is None, f"watch raised {following.error!r}")
        return following

    # --- disturbing ----------------------------------------------------------------------------

    @contextlib.contextmanager
    def server_away(self) -> Iterator[None]:
        """Kill the server for the time of a ``with`` block."""
        self.under_test.kill()
        try:
            yield
        finally:
            self.under_test.start()

    @contextlib.contextmanager
    def server_frozen(self) -> Iterator[None]:
        """Freeze the server for the time of a ``with`` block."""
        self.under_test.freeze()
        try:
            yield
        finally:
            self.under_test.thaw()

    def await_answer(self, registry: Registry) -> None:
        """Wait until the backend answers a client that is not concerned in the test."""
        self.wait(lambda: self.answers(registry), 30.0, "the backend did not come back")

    def answers(self, registry: Registry) -> bool:
        """Return whether the backend answers that client now."""
        try:
            registry.resolve("enlist-kit-probe")
        except UnavailableError:
            return False
        return True

    # --- judging -------------------------------------------------------------------------------

    def check(self, condition: object, seen: str) -> None:
        """Fail unless the condition is true.

        Args:
            condition: what should hold.
            seen: what was seen if it does not.
        """
        if not condition:
            raise RuleBrokenError(self.rule, seen)

    def wait(self, condition: Callable[[], object], within_s: float, seen: str) -> float:
        """Wait for a condition and return the seconds that it took; fail if it takes too long.

        Args:
            condition: called again and again; an UnavailableError counts as no.
            within_s: the longest that it may take.
            seen: what was seen if it does not come true.
        """
        began = time.monotonic()
        raised: list[RegistryError] = []

        def holds() -> bool:
            raised.clear()
            try:
                return bool(condition())
            except UnavailableError as exc:
                raised.append(exc)
                return False

        if not poll(holds, within_s):
            why = f" ({type(raised[0]).__name__}: {raised[0]})" if raised else ""
            raise RuleBrokenError(self.rule, f"{seen} within {within_s:.2f} s{why}")
        return time.monotonic() - began

    def pass_time(self, seconds: float) -> None:
        """Let time pass: an outage has a length, and nothing happens at its end."""
        threading.Event().wait(seconds)

    def shows(self, view: Resolver, infos: Sequence[Info]) -> float:
        """Wait until a client shows exactly these; return the seconds that it took.

        Fail if the change takes longer to arrive than is declared.
        """
        return self.wait(
            lambda: same(view.instances, infos),
            self.bounds.arrival_s,
            f"a client that watches did not come to show {_shown(infos)}",
        )

    def stays(self, condition: Callable[[], object], for_s: float, seen: str) -> None:
        """Look at a condition for some seconds; fail once it does not hold.

        Args:
            condition: called again and again.
            for_s: how long to look.
            seen: what was seen if it does not hold.
        """
        began = time.monotonic()
        if poll(lambda: not condition(), for_s):
            after_s = time.monotonic() - began
            raise RuleBrokenError(self.rule, f"{seen} (after {after_s:.2f} s)")

    def raises(
        self, kind: type[Exception], call: Callable[[], object], within_s: float
    ) -> Exception:
        """Return the error of that kind that a call raises in time; fail if it does not.

        Args:
            kind: the kind of error of :mod:`enlist.errors`.
            call: what must fail.
            within_s: the longest that it may take, the machine's margin not included.
        """
        outcome = self.in_time(call, within_s)
        if isinstance(outcome, kind):
            return outcome
        seen = "the call succeeded"
        if isinstance(outcome, Exception):
            seen = f"{type(outcome).__name__} came: {outcome}"
        raise RuleBrokenError(self.rule, f"{kind.__name__} was due, and {seen}")

    def all_raise(
        self, kind: type[Exception], calls: Mapping[str, Callable[[], object]], within_s: float
    ) -> None:
        """Make calls at once, and fail unless each raises an error of that kind in time.

        Args:
            kind: the kind of error of :mod:`enlist.errors`.
            calls: what must fail, by what a message calls it.
            within_s: the longest that each may take, the machine's margin not included.
        """
        begun = {name: self._begin(call, within_s) for name, call in calls.items()}
        for name, outcome_of in begun.items():
            outcome = outcome_of(name)
            seen = "succeeded" if outcome is None else f"raised {outcome!r}"
            self.check(isinstance(outcome, kind), f"{name} {seen}; due was {kind.__name__}")

    def all_end(self, calls: Sequence[Callable[[], object]], within_s: float) -> None:
        """Make calls at once, and fail unless each ends in time; an error of one is raised."""
        for outcome_of in [self._begin(call, within_s) for call in calls]:
            outcome = outcome_of("one of several calls at once")
            if outcome is not None:
                raise outcome

    def in_time(self, call: Callable[[], object], within_s: float) -> Exception | None:
        """Return the error that a call raises, or None; fail if it takes too long.

        It runs in another thread, since a plugin without time-outs would hang the test.
        """
        return self._begin(call, within_s)("a call")

    def _begin(
        self, call: Callable[[], object], within_s: float
    ) -> Callable[[str], Exception | None]:
        """Begin a call in another thread; return what waits for its end, given its name."""
        outcome: list[Exception | None] = []

        def run() -> None:
            try:
                call()
            except Exception as exc:  # noqa: BLE001 - whatever a plugin raises is to be judged
                outcome.append(exc)
            else:
                outcome.append(None)

        thread = threading.Thread(target=run, name="enlist-kit-call", daemon=True)
        thread.start()
        self.at_end(lambda: thread.join(CALL_S))
        most_s = within_s + self.bounds.margin_s
        end = time.monotonic() + most_s

        def wait(name: str) -> Exception | None:
            thread.join(max(0.0, end - time.monotonic()))
            self.check(outcome, f"{name} had not ended after {most_s:.2f} s")
            return outcome[0]

        return wait

    def has(self, registry: Registry, *infos: Info) -> bool:
        """Return whether a client finds these instances, among others; True if nobody answers.

        For looking at a record through an outage: no answer is not the answer that it is gone.
        """
        try:
            found = registry.resolve(infos[0].service_name)
        except UnavailableError:
            return True
        return set(infos) <= set(found)

    def concurrently(self, call: Callable[[], object]) -> Callable[[], None]:
        """Begin a call in another thread; return what waits for its end and checks it."""
        outcome: list[Exception | None] = []

        def run() -> None:
            outcome.append(self.in_time(call, CALL_S))

        thread = threading.Thread(target=run, name="enlist-kit-call", daemon=True)
        thread.start()

        def finish() -> None:
            thread.join()
            self.check(outcome == [None], f"a call that ran at the same time raised {outcome!r}")

        return finish

    def found(self, registry: Registry, infos: Sequence[Info], *, by: str = "resolve") -> None:
        """Fail unless a client finds exactly these instances now, all of one service."""
        found = registry.resolve(infos[0].service_name, timeout=PATIENCE)
        self.check(same(found, infos), f"{by} gave {_shown(found)}; registered was {_shown(infos)}")
