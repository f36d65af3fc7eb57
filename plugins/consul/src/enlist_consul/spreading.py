"""The same for many: a few requests at a time, until time runs out or the agent is away."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from enlist.errors import RegistryError, TimedOutError, UnavailableError
from enlist_consul.deadline import Deadline

__all__ = ["Outcomes", "spread"]

# One agent answers no faster when more are asked at a time; these hide the way to it.
_AT_A_TIME: Final = 4
_FEW: Final = 16

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Outcomes(Generic[_Item, _Result]):
    """What became of each item.

    Attributes:
        done: those that have a result.
        failed: those that have an error.
        unreached: those that were not tried.
    """

    def __init__(self) -> None:
        """Nothing was done yet."""
        self.done: list[tuple[_Item, _Result]] = []
        self.failed: list[tuple[_Item, RegistryError]] = []
        self.unreached: list[_Item] = []

    def first_error(self, deadline: Deadline) -> RegistryError:
        """Return why not all was done."""
        if self.failed:
            return self.failed[0][1]
        try:
            deadline.left_s()
        except TimedOutError as exc:
            return exc
        return UnavailableError("Consul: not all requests were made.")


def spread(
    items: Sequence[_Item], work: Callable[[_Item], _Result], deadline: Deadline
) -> Outcomes[_Item, _Result]:
    """Do the work for each item; after the first that finds the agent away no other is begun.

    Args:
        items: in the order in which they are begun.
        work: makes the requests for one; raises RegistryError. Called in several threads at
            once where there are many items.
        deadline: when to begin no more.
    """
    run = _Run(items, work, deadline)
    helpers = run.helped_by(0 if len(items) <= _FEW else _AT_A_TIME - 1)
    try:
        run.work_off()
    finally:
        for helper in helpers:
            helper.join()
    for bug in run.bugs:
        raise bug
    run.outcomes.unreached += run.left
    return run.outcomes


class _Run(Generic[_Item, _Result]):
    """What the threads of one ``spread`` share; deques and lists need no lock for this."""

    def __init__(
        self, items: Sequence[_Item], work: Callable[[_Item], _Result], deadline: Deadline
    ) -> None:
        self.left = deque(items)
        self.outcomes: Outcomes[_Item, _Result] = Outcomes()
        self.bugs: list[Exception] = []
        self._work = work
        self._deadline = deadline
        self._away = False

    def helped_by(self, number: int) -> list[threading.Thread]:
        """Start that many threads that work too, or fewer where the interpreter gives no more.

        No executor's: those of the standard library begin nothing any more once the main thread
        has ended, while servers in other threads go on for as long as they like.
        """
        helpers = []
        # A process that is about to end may start none at all.
        with contextlib.suppress(RuntimeError):
            for _ in range(number):
                helper = threading.Thread(target=self._help, name="enlist-consul", daemon=True)
                helper.start()
                helpers.append(helper)
        return helpers

    def _help(self) -> None:
        try:
            self.work_off()
        except Exception as exc:  # noqa: BLE001 - the thread that waits for this one raises it
            self.bugs.append(exc)

    def work_off(self) -> None:
        """Do one after another until nothing is left or nothing helps."""
        while not (self._away or self._deadline.passed):
            try:
                item = self.left.popleft()
            except IndexError:
                return
            try:
                self.outcomes.done.append((item, self._work(item)))
            except RegistryError as exc:
                self.outcomes.failed.append((item, exc))
                self._away = self._away or isinstance(exc, UnavailableError)
