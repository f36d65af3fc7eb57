"""This owner's records at etcd: written, looked at and removed, singly and in batches.

Which record may be touched is decided in the same step as the touching, by conditions of
etcd's transactions: what hangs on our lease, or carries our owner and has not changed since it
was read, is ours. Every other key is live, since a dead owner's has gone with its lease.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent import futures
from typing import Final, NamedTuple, TypeAlias

from enlist.errors import RegistryError, UnavailableError
from enlist.hookspecs import Lost, Why
from enlist.info import Info
from enlist_etcd.client import Client
from enlist_etcd.deadline import Deadline
from enlist_etcd.lease import Lease
from enlist_etcd.messages import PUT, TXN, Message
from enlist_etcd.operations import Found, Operations, found_in
from enlist_etcd.records import owner_of

__all__ = ["Item", "Store"]

# etcd refuses requests above 1.5 MiB by default.
_MOST_BYTES: Final = 512 * 1_024
# While etcd carries out one transaction, the next one is made: with one core for each of them
# this is twice as fast as one after another, and more at a time gain nothing.
_AT_A_TIME: Final = 2
# A record that changed between our look at it and our write is looked at once more.
_ROUNDS: Final = 2
_logger = logging.getLogger(__name__)


class Item(NamedTuple):
    """An Info with its key, and its value where it is to be written."""

    info: Info
    key: bytes
    value: bytes = b""


_Pending: TypeAlias = Sequence[tuple[Item, Found]]
_Outcome: TypeAlias = list[Lost] | RegistryError


class Store:
    """Reads and writes records for one owner, under one lease."""

    def __init__(self, client: Client, lease: Lease, owner: str, max_txn_ops: int) -> None:
        """Take what makes the calls.

        Args:
            client: makes them.
            lease: what records hang on.
            owner: what our records carry.
            max_txn_ops: how many operations a transaction may have.
        """
        self._client = client
        self._lease = lease
        self._owner = owner
        self._max_txn_ops = max_txn_ops
        self._operations = Operations(client.classes)

    def put(self, item: Item, deadline: Deadline) -> None:
        """Write one record, whatever stands there."""

        def write(lease: int) -> None:
            request = self._operations.plain_put(item.key, item.value, lease)
            self._client.call(PUT, request, deadline)

        self._lease.use(write, deadline)

    def remove(self, item: Item, deadline: Deadline) -> None:
        """Remove one record if it is ours."""
        operations, lease = self._operations, self._lease.id_if_granted()
        read = operations.get(item.key)
        if lease is None:
            found = found_in(self._txn([], [read], [], deadline).responses[0])
        else:
            condition = operations.leased(item.key, lease)
            answer = self._txn([condition], [operations.delete(item.key)], [read], deadline)
            if answer.succeeded:
                return
            found = found_in(answer.responses[0])
        self._remove_ours([(item, found)], deadline)

    def look(self, items: Sequence[Item], deadline: Deadline) -> Iterator[Lost]:
        """Say of each of these, which do not hang on our lease, why that is so."""
        for batch in self._batches(items):
            try:
                pending = self._read(batch, deadline)
            except RegistryError as exc:
                yield from (Lost(item.info, Why.FAILED, exc) for item in batch)
            else:
                yield from (Lost(item.info, self._why(found)) for item, found in pending)

    def restore(self, items: Iterable[Item], deadline: Deadline) -> list[Lost]:
        """Write each that is absent or ours; return those that are still not alive.

        Args:
            items: may be made as they are asked for, which is while etcd is busy with others.
            deadline: by when.

        Raises:
            RegistryError: nothing was written, because of this.
        """
        lost: list[Lost] = []
        written = 0
        first_error: RegistryError | None = None
        for batch, outcome in self._restored(items, deadline):
            if isinstance(outcome, RegistryError):
                first_error = first_error or outcome
                lost += [Lost(item.info, Why.FAILED, outcome) for item in batch]
            else:
                lost += outcome
                written += len(batch) - len(outcome)
        if first_error is not None and not written:
            raise first_error
        return lost

    def _restored(
        self, items: Iterable[Item], deadline: Deadline
    ) -> Iterator[tuple[Sequence[Item], _Outcome]]:
        """Give each batch with what became of it; after one that found etcd away none is sent."""
        batches = self._batches(items)
        first = [*itertools.islice(batches, _AT_A_TIME)]
        if len(first) == 1:
            yield first[0], self._restore_batch(first[0], deadline)
        else:
            yield from self._side_by_side(itertools.chain(first, batches), deadline)

    def _side_by_side(
        self, batches: Iterable[Sequence[Item]], deadline: Deadline
    ) -> Iterator[tuple[Sequence[Item], _Outcome]]:
        under_way: deque[tuple[Sequence[Item], futures.Future[_Outcome]]] = deque()
        away = False
        try:
            for batch in batches:
                if away:
                    yield batch, [Lost(item.info, Why.GONE) for item in batch]
                    continue
                under_way.append((batch, self._begin(batch, deadline)))
                if len(under_way) == _AT_A_TIME:
                    sent, future = under_way.popleft()
                    outcome = future.result()
                    away = isinstance(outcome, UnavailableError)
                    yield sent, outcome
            for sent, future in under_way:
                yield sent, future.result()
        finally:
            futures.wait([future for _, future in under_way])

    def _begin(self, batch: Sequence[Item], deadline: Deadline) -> futures.Future[_Outcome]:
        """Restore a batch in a thread of its own; where there is none to be had, here and now.

        Once the main thread has ended an executor takes no more work, and some CPythons 3.12
        start no thread either, but other threads may serve for long after that.
        """
        future: futures.Future[_Outcome] = futures.Future()

        def run() -> None:
            try:
                future.set_result(self._restore_batch(batch, deadline))
            except BaseException as exc:  # noqa: BLE001 - whoever asks for the result raises it
                future.set_exception(exc)

        try:
            threading.Thread(target=run, name="enlist-etcd-restore", daemon=True).start()
        except RuntimeError:
            run()
        return future

    def withdraw(self, items: Sequence[Item], deadline: Deadline) -> list[Info]:
        """Remove those that are ours; return those that may still be there.

        Raises:
            RegistryError: nothing was removed, because of this.
        """
        rest = self._revoke_if_all(items, deadline)
        removed = len(rest) < len(items)
        done = 0
        for batch in self._batches(rest):
            try:
                self._remove_ours(self._read(batch, deadline), deadline)
            except RegistryError:
                if not removed:
                    raise
                _logger.warning("etcd: not all records could be removed", exc_info=True)
                break
            removed = True
            done += len(batch)
        return [item.info for item in rest[done:]]

    def _revoke_if_all(self, items: Sequence[Item], deadline: Deadline) -> Sequence[Item]:
        """Revoke the lease if nothing else hangs on it; return those that did not hang on it."""
        lease = self._lease.id_if_granted()
        held = None if lease is None else self._lease.keys(lease, deadline)
        if held is None or not held <= {item.key for item in items}:
            return items
        self._lease.revoke(deadline)
        return [item for item in items if item.key not in held]

    def _restore_batch(self, batch: Sequence[Item], deadline: Deadline) -> _Outcome:
        lost: list[Lost] = []

        def write(lease: int) -> None:
            lost[:] = self._write_where_ours(batch, lease, deadline)

        try:
            self._lease.use(write, deadline)
        except RegistryError as exc:
            return exc
        return lost

    def _write_where_ours(
        self, batch: Sequence[Item], lease: int, deadline: Deadline
    ) -> list[Lost]:
        """Write all at once if none of them is there; else each by itself, where it is ours."""
        operations = self._operations

        def put(item: Item) -> Message:
            return operations.put(item.key, item.value, lease)

        absent = [operations.unchanged(item.key, 0) for item in batch]
        if self._txn(absent, [put(item) for item in batch], [], deadline).succeeded:
            return []
        pending = self._read(batch, deadline)
        lost = [Lost(item.info, Why.SUPERSEDED) for item, found in pending if self._foreign(found)]
        mine = [(item, found) for item, found in pending if not self._foreign(found)]
        left = self._change_unchanged(mine, put, deadline)
        return lost + [Lost(item.info, self._why(found)) for item, found in left]

    def _remove_ours(self, pending: _Pending, deadline: Deadline) -> None:
        """Remove each that is ours; what changes all the time is reported as unavailable."""

        def delete(item: Item) -> Message:
            return self._operations.delete(item.key)

        mine = [(item, found) for item, found in pending if self._is_ours(found)]
        left = self._change_unchanged(mine, delete, deadline)
        if any(self._is_ours(found) for _, found in left):
            raise UnavailableError("etcd: a record changed while it was being removed.")

    def _change_unchanged(
        self, pending: _Pending, change: Callable[[Item], Message], deadline: Deadline
    ) -> _Pending:
        """Change each that is still as it was found, and look again at the others.

        Returns:
            Those that another process has now, and those that keep changing.
        """
        left: list[tuple[Item, Found]] = []
        for _ in range(_ROUNDS):
            size = self._max_txn_ops // 2  # a transaction within one counts as well
            chunks = [pending[start : start + size] for start in range(0, len(pending), size)]
            raced = [one for chunk in chunks for one in self._change(chunk, change, deadline)]
            left += [(item, found) for item, found in raced if self._foreign(found)]
            pending = [(item, found) for item, found in raced if not self._foreign(found)]
            if not pending:
                break
        return left + list(pending)

    def _change(
        self, chunk: _Pending, change: Callable[[Item], Message], deadline: Deadline
    ) -> Iterator[tuple[Item, Found]]:
        operations = self._operations
        steps = [
            operations.within(
                operations.txn(
                    [operations.unchanged(item.key, found.revision)],
                    [change(item)],
                    [operations.get(item.key)],
                )
            )
            for item, found in chunk
        ]
        answer = self._txn([], steps, [], deadline)
        for (item, _), response in zip(chunk, answer.responses, strict=True):
            if not response.response_txn.succeeded:
                yield item, found_in(response.response_txn.responses[0])

    def _read(self, batch: Sequence[Item], deadline: Deadline) -> _Pending:
        answer = self._txn([], [self._operations.get(item.key) for item in batch], [], deadline)
        return [*zip(batch, map(found_in, answer.responses), strict=True)]

    def _txn(
        self,
        conditions: Sequence[Message],
        then: Sequence[Message],
        otherwise: Sequence[Message],
        deadline: Deadline,
    ) -> Message:
        return self._client.call(TXN, self._operations.txn(conditions, then, otherwise), deadline)

    def _is_ours(self, found: Found) -> bool:
        return found.revision > 0 and owner_of(found.value) == self._owner

    def _foreign(self, found: Found) -> bool:
        return found.revision > 0 and not self._is_ours(found)

    def _why(self, found: Found) -> Why:
        return Why.SUPERSEDED if self._foreign(found) else Why.GONE

    def _batches(self, items: Iterable[Item]) -> Iterator[Sequence[Item]]:
        """Cut into what a transaction can take, by number and by size."""
        batch: list[Item] = []
        size = 0
        for item in items:
            more = len(item.key) + len(item.value)
            if len(batch) == self._max_txn_ops or (batch and size + more > _MOST_BYTES):
                yield batch
                batch, size = [], 0
            batch.append(item)
            size += more
        if batch:
            yield batch
