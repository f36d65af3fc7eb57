"""The tests of R5: who may write and remove a record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from enlist.hookspecs import Lost, Why
from enlist.info import Info
from enlist.registry import Registry
from enlist.states import State
from enlist.testing.base import KitTests
from enlist.testing.trial import CALL_S, Trial

__all__ = ["OwnerRules"]


class OwnerRules(KitTests):
    """R5."""

    def test_R5_the_older_stands_back(self, trial: Trial) -> None:
        """Whoever lost an identity notices, says so, and does not write over the new owner."""
        older, newer, client = trial.open(), trial.open(), trial.open()
        first, second = take_over(trial, older, newer)
        trial.wait(
            lambda: state_of(older) is State.SUPERSEDED,
            trial.bounds.one_interval_s,
            "the older owner did not call itself superseded",
        )
        trial.stays(
            lambda: trial.has(client, second),
            trial.bounds.beats_s,
            f"the record of the new owner was replaced: by {first!r}, or by nothing",
        )

    def test_R5_the_older_does_not_deregister_the_newer(self, trial: Trial) -> None:
        """Deregistering what another owner took over is no error, and leaves its record."""
        older, newer, client = trial.open(), trial.open(), trial.open()
        first, second = take_over(trial, older, newer)
        older.deregister(first)
        trial.found(client, [second])
        trial.stays(
            lambda: trial.has(client, second),
            trial.bounds.beats_s,
            "the record of the new owner was removed",
        )

    def test_R5_the_older_closes_and_the_newer_stays(self, trial: Trial) -> None:
        """A registry that closes leaves what another owner took over from it."""
        newer, client = trial.open(), trial.open()
        for _ in range(3):  # a beat that comes just then may repair what went too, but once
            older = trial.under_test.open()
            try:
                _, second = take_over(trial, older, newer)
            finally:
                older.close()
            trial.found(client, [second])
        trial.stays(
            lambda: trial.has(client, second),
            trial.bounds.beats_s,
            "the record of the new owner went after the older one had closed",
        )

    def test_R5_the_older_returns_when_the_newer_leaves(self, trial: Trial) -> None:
        """After the new owner has deregistered, the older one is back within one interval."""
        older, newer, client = trial.open(), trial.open(), trial.open()
        first, second = take_over(trial, older, newer)
        await_superseded(trial, older)
        newer.deregister(second)
        trial.wait(
            lambda: client.resolve(first.service_name) == (first,),
            trial.bounds.one_interval_s,
            "the older owner did not come back",
        )

    def test_R5_the_older_returns_when_the_newer_is_killed(self, trial: Trial) -> None:
        """After the new owner's process was killed, the older one is back an interval later."""
        older, client, worker = trial.open(), trial.open(), trial.worker()
        first = trial.info(**trial.numbered(1))
        older.register(first)
        worker.register(replace(first, **trial.numbered(2)))
        await_superseded(trial, older)
        worker.kill()
        trial.wait(
            lambda: client.resolve(first.service_name) == (first,),
            trial.bounds.death_s + trial.bounds.one_interval_s,
            "the older owner did not come back",
        )

    def test_R5_a_beat_tells_what_was_taken_over(self, trial: Trial) -> None:
        """keep_alive calls a live record of another owner superseded, and only that one."""
        trial.needs("keep_alive")
        older, newer = trial.backend(), trial.backend()
        name = trial.service()
        kept, lost = trial.info(name), trial.info(name)
        for info in (kept, lost):
            older.register(info, CALL_S)
        newer.register(lost, CALL_S)
        beat = older.keep_alive([kept, lost], CALL_S)
        expect_superseded(trial, "keep_alive", beat.lost, [lost])

    def test_R5_a_repair_replaces_no_live_record(self, trial: Trial) -> None:
        """Restore writes what is free and what is ours, and says what another owner holds."""
        trial.needs("restore")
        other, own, client = trial.backend(), trial.backend(), trial.open()
        name = trial.service()
        theirs, ours, free = trial.info(name), trial.info(name), trial.info(name)
        other.register(theirs, CALL_S)
        own.register(ours, CALL_S)
        wanted = [replace(info, **trial.numbered(99)) for info in (theirs, ours, free)]
        lost = own.restore(wanted, CALL_S)
        expect_superseded(trial, "restore", lost, wanted[:1])
        trial.found(client, [theirs, *wanted[1:]])

    def test_R5_withdrawing_leaves_what_is_not_ours(self, trial: Trial) -> None:
        """The bulk removal removes our records and no other's."""
        trial.needs("withdraw")
        other, own, client = trial.backend(), trial.backend(), trial.open()
        name = trial.service()
        theirs, ours = trial.info(name), trial.info(name)
        own.register(ours, CALL_S)
        own.register(theirs, CALL_S)
        other.register(theirs, CALL_S)
        remaining = own.withdraw([theirs, ours], CALL_S)
        trial.check(not remaining, f"withdraw says that these remain: {list(remaining)!r}")
        trial.found(client, [theirs])

    def test_R5_comparing_and_removing_is_one_step(self, trial: Trial) -> None:
        """An identity that changes hands while it is removed stays with its new owner."""
        trial.needs("atomic_compare_and_delete")
        older, newer, client = trial.backend(), trial.backend(), trial.open()
        info = trial.info()
        for number in range(1, 31):
            older.register(info, CALL_S)
            second = replace(info, **trial.numbered(number))
            removal = trial.concurrently(partial(older.deregister, info, CALL_S))
            newer.register(second, CALL_S)
            removal()
            trial.found(client, [second])

    def test_R5_comparing_and_repairing_is_one_step(self, trial: Trial) -> None:
        """An identity that somebody takes while it is repaired is the new owner's."""
        trial.needs("atomic_compare_and_delete", "restore")
        older, newer, client = trial.backend(), trial.backend(), trial.open()
        info = trial.info()
        for number in range(1, 31):
            second = replace(info, **trial.numbered(number))
            repair = trial.concurrently(partial(older.restore, [info], CALL_S))
            newer.register(second, CALL_S)
            repair()
            trial.found(client, [second])
            newer.deregister(second, CALL_S)

    def test_R5_a_record_without_an_owner_is_not_ours(self, trial: Trial) -> None:
        """A foreign record is found, is not removed, and is replaced by an explicit register."""
        trial.needs("foreign_records")
        backend, client = trial.backend(), trial.open()
        foreign = trial.info(**trial.numbered(7))
        trial.under_test.put_foreign(foreign)
        trial.found(client, [foreign])
        backend.deregister(foreign, CALL_S)
        trial.found(client, [foreign])
        ours = replace(foreign, **trial.numbered(8))
        if trial.abilities.restore:
            expect_superseded(trial, "restore", backend.restore([ours], CALL_S), [ours])
            trial.found(client, [foreign])
        backend.register(ours, CALL_S)
        trial.found(client, [ours])


def take_over(trial: Trial, older: Registry, newer: Registry) -> tuple[Info, Info]:
    """Have ``newer`` take an identity from ``older``; return what each registered."""
    first = trial.info(**trial.numbered(1))
    second = replace(first, **trial.numbered(2))
    older.register(first)
    newer.register(second)
    return first, second


def state_of(registry: Registry) -> State | None:
    """Return the state of the only registration, None if there is none."""
    return next((status.state for status in registry.status()), None)


def await_superseded(trial: Trial, registry: Registry) -> None:
    """Wait until its only registration is superseded."""
    trial.wait(
        lambda: state_of(registry) is State.SUPERSEDED,
        trial.bounds.two_intervals_s,
        "the older owner did not call itself superseded",
    )


def expect_superseded(
    trial: Trial, hook: str, lost: Sequence[Lost], expected: Sequence[Info]
) -> None:
    """Fail unless exactly the expected ones are reported as another owner's."""
    told = {item.info.identity: item.why for item in lost}
    due = {info.identity: Why.SUPERSEDED for info in expected}
    trial.check(told == due, f"{hook} reported {told!r}; due was {due!r}")
