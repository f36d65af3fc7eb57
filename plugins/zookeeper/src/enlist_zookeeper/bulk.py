"""Changes to many nodes: in transactions of a bounded size, and one by one where these fail."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from enlist.errors import RegistryError, UnavailableError
from enlist.hookspecs import Lost, Why
from enlist.info import Info
from enlist_zookeeper.client import Change, Client
from enlist_zookeeper.deadline import Deadline
from enlist_zookeeper.failures import NodeChangedError, NodeMissingError, RaceError

if TYPE_CHECKING:
    from enlist_zookeeper.reading import Found

__all__ = ["Bulk", "Item", "Verdict"]

# ZooKeeper refuses requests of 1 MiB by default, and holds up all others meanwhile.
_MOST_BYTES: Final = 256 * 1_024
_MOST_ITEMS: Final = 100
_UNDER_WAY: Final = 8
_CHANGING: Final = "changing records"
_ROUNDS: Final = 4
"""How often a node that changes between our look at it and our step is looked at."""


class Item(NamedTuple):
    """An Info with its path, and its data where it is to be written."""

    info: Info
    path: str
    data: bytes = b""


_logger = logging.getLogger(__name__)

Verdict: TypeAlias = Change | Lost | None
"""What is to be done about a node: a change, or nothing, because that cannot or need not be."""

Judge: TypeAlias = "Callable[[Item, Found | None], Verdict]"
"""Decides what is to be done, given what stands there."""


class Bulk:
    """Carries out changes."""

    def __init__(self, client: Client) -> None:
        """Take what makes the requests."""
        self._client = client

    def settle(self, item: Item, judge: Judge, deadline: Deadline) -> Lost | None:
        """Look at one node and do what is to be done, again if it changed in between."""
        for _ in range(_ROUNDS):
            verdict = judge(item, self._client.read(item.path, deadline))
            if not isinstance(verdict, Change):
                return verdict
            try:
                self._client.change(verdict, deadline)
            except NodeMissingError:
                if verdict.version is None:
                    self._client.make_folders([item.path.rpartition("/")[0]], deadline)
            except RaceError:
                continue
            else:
                return None
        raise NodeChangedError(f"ZooKeeper: {item.path} changes all the time.")

    def run(
        self,
        items: Sequence[Item],
        expected: Callable[[Item], Change] | None,
        judge: Judge,
        deadline: Deadline,
    ) -> list[Lost]:
        """Change many nodes, most of which are as expected.

        Args:
            items: what it is about.
            expected: the change where the node is as it should be; None to look at each first.
            judge: decides about each where one of a batch is not so.
            deadline: by when.

        Returns:
            Those for which it was not done: as GONE what was not reached.

        Raises:
            RegistryError: nothing was done, because of this.
        """
        batches = list(_batches(items))
        lost: list[Lost] = []
        any_done = False
        for start in range(0, len(batches), _UNDER_WAY):
            wave = batches[start : start + _UNDER_WAY]
            failure: RegistryError | None = None
            for batch, begun in [(batch, self._begin(batch, expected, deadline)) for batch in wave]:
                try:
                    left = self._end(batch, begun, judge, deadline)
                except RegistryError as exc:
                    failure = failure or exc
                    left = [Lost(item.info, Why.FAILED, exc) for item in batch]
                lost += left
                any_done = any_done or len(left) < len(batch)
            if failure is not None:
                if not any_done:
                    raise failure
                rest = batches[start + _UNDER_WAY :]
                return lost + [Lost(item.info, Why.GONE) for batch in rest for item in batch]
        return lost

    def _begin(
        self,
        batch: Sequence[Item],
        expected: Callable[[Item], Change] | None,
        deadline: Deadline,
    ) -> Any:  # noqa: ANN401 - kazoo has no types
        """Send a transaction; return kazoo's result, the error, or None where there is none."""
        if expected is None:
            return None
        try:
            return self._client.begin(map(expected, batch), deadline)
        except RegistryError as exc:
            return exc

    def _end(
        self,
        batch: Sequence[Item],
        begun: Any,  # noqa: ANN401 - kazoo has no types
        judge: Judge,
        deadline: Deadline,
    ) -> list[Lost]:
        """Wait for a transaction; where it fails look at its items, then at each by itself."""
        if isinstance(begun, RegistryError):
            raise begun
        try:
            if begun is not None:
                try:
                    self._client.end(begun, deadline, _CHANGING)
                except RaceError:
                    _logger.debug("zookeeper: not all nodes were as expected; looking at them")
                else:
                    return []
            return self._judge_all(batch, judge, deadline)
        except UnavailableError as exc:
            if not isinstance(exc, RaceError):
                raise
        except RegistryError:
            _logger.debug("zookeeper: a batch was refused; its items follow one by one")
        return self._one_by_one(batch, judge, deadline)

    def _judge_all(self, batch: Sequence[Item], judge: Judge, deadline: Deadline) -> list[Lost]:
        founds = dict(self._client.reader(deadline).nodes([item.path for item in batch]))
        verdicts = [judge(item, founds[item.path]) for item in batch]
        changes = [verdict for verdict in verdicts if isinstance(verdict, Change)]
        if changes:
            self._client.end(self._client.begin(changes, deadline), deadline, _CHANGING)
        return [verdict for verdict in verdicts if isinstance(verdict, Lost)]

    def _one_by_one(self, batch: Sequence[Item], judge: Judge, deadline: Deadline) -> list[Lost]:
        lost: list[Lost] = []
        for index, item in enumerate(batch):
            try:
                left = self.settle(item, judge, deadline)
            except RegistryError as exc:
                if isinstance(exc, UnavailableError) and not isinstance(exc, RaceError):
                    if index == len(lost):
                        raise
                    return lost + [Lost(late.info, Why.FAILED, exc) for late in batch[index:]]
                left = Lost(item.info, Why.FAILED, exc)
            if left is not None:
                lost.append(left)
        return lost


def _batches(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Cut into what a transaction may hold, by number and by size."""
    start = size = 0
    for index, item in enumerate(items):
        more = len(item.path.encode()) + len(item.data)
        if index - start == _MOST_ITEMS or (index > start and size + more > _MOST_BYTES):
            yield items[start:index]
            start, size = index, 0
        size += more
    if start < len(items):
        yield items[start:]
