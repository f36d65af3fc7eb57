"""The tests of K1 to K4 and K6: what a registration outlives, and what it does not."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from functools import partial

import pytest

from enlist.errors import RegistryError, UnavailableError
from enlist.hookspecs import Why
from enlist.info import Info
from enlist.registry import Registry
from enlist.testing.base import KitTests
from enlist.testing.extensions import Counting
from enlist.testing.following import Asking
from enlist.testing.trial import CALL_S, Trial, same

__all__ = ["KeepRules"]

COUNT = 20
ATTEMPTS = 3
FAILED_BEATS = 8
BRIEF = dt.timedelta(milliseconds=300)


class KeepRules(KitTests):
    """K1 to K4 and K6."""

    # --- K1 ------------------------------------------------------------------------------------

    def test_K1_a_short_outage_loses_nothing(self, trial: Trial) -> None:
        """A server that was away for less than ttl/2 shows every registration when it is back."""
        trial.needs("kill", "keeps_data")
        server, client = trial.open(), trial.open()
        infos = enlist_some(trial, server)
        for _ in range(ATTEMPTS):
            with Asking(client, infos[0].service_name) as asking:
                began = time.monotonic()
                with trial.server_away():
                    trial.pass_time(trial.bounds.ttl_s / 5)
                trial.await_answer(client)
                outage_s = time.monotonic() - began
                trial.pass_time(trial.bounds.ttl_s)
            if outage_s < trial.bounds.ttl_s / 2:
                expect_no_gap(trial, asking, infos)
                return
        pytest.fail(
            f"the server never came back within half a ttl of {trial.bounds.ttl_s:g} s; "
            "declare a longer ttl",
            pytrace=False,
        )

    def test_K1_a_short_freeze_loses_nothing(self, trial: Trial) -> None:
        """A server that did not answer for nearly half a ttl shows every registration after it."""
        trial.needs("freeze")
        server, client = trial.open(), trial.open()
        infos = enlist_some(trial, server)
        with Asking(client, infos[0].service_name) as asking:
            with trial.server_frozen():
                trial.pass_time(0.45 * trial.bounds.ttl_s)
            trial.await_answer(client)
            trial.pass_time(trial.bounds.ttl_s)
        expect_no_gap(trial, asking, infos)

    # --- K2 ------------------------------------------------------------------------------------

    def test_K2_back_after_a_long_outage(self, trial: Trial) -> None:
        """After an outage longer than the ttl everything is back, and is what it was."""
        trial.needs("kill")
        server, client = trial.open(), trial.open()
        infos = enlist_some(trial, server)
        with trial.server_away():
            trial.pass_time(1.5 * trial.bounds.ttl_s)
        expect_back(trial, client, infos)

    def test_K2_back_after_a_restart_with_empty_data(self, trial: Trial) -> None:
        """A server that has forgotten everything is told everything again."""
        trial.needs("restart")
        server, client = trial.open(), trial.open()
        infos = enlist_some(trial, server)
        trial.under_test.restart(wipe=True)
        expect_back(trial, client, infos)

    def test_K2_back_after_the_data_was_removed(self, trial: Trial) -> None:
        """The same without a restart: each record is gone, and no error tells of it."""
        trial.needs("wipe")
        server, client = trial.open(), trial.open()
        infos = enlist_some(trial, server)
        trial.under_test.wipe()
        expect_back(trial, client, infos)

    def test_K2_back_after_many_failed_attempts(self, trial: Trial) -> None:
        """However many signs of life have failed, the next outage's end is met as the first."""
        trial.needs("kill", "restart")
        counting = Counting()
        server, client = trial.open(extensions=[counting]), trial.open()
        infos = enlist_some(trial, server)
        hook = "keep_alive" if trial.abilities.keep_alive else "register"
        with trial.server_away():
            trial.wait(
                lambda: counting.failures[hook] >= FAILED_BEATS,
                2 * FAILED_BEATS * trial.bounds.interval_s + trial.bounds.margin_s,
                f"there were {counting.failures[hook]} failed beats; due were {FAILED_BEATS}",
            )
        trial.under_test.restart(wipe=True)
        expect_back(trial, client, infos)

    # --- K3, K4 --------------------------------------------------------------------------------

    def test_K3_back_after_a_deletion_by_hand(self, trial: Trial) -> None:
        """A record that was deleted is back within one interval, and is what it was."""
        trial.needs("delete_record")
        server, client = trial.open(), trial.open()
        infos = enlist_some(trial, server)
        for info in (infos[0], infos[COUNT // 2], infos[-1]):
            trial.under_test.delete_record(info)
            trial.wait(
                lambda: finds(client, infos),
                trial.bounds.one_interval_s,
                "a deleted record was not back",
            )

    def test_K3_a_beat_tells_what_is_gone(self, trial: Trial) -> None:
        """keep_alive calls a deleted record gone, and only that one, and does not write it."""
        trial.needs("delete_record", "keep_alive")
        backend, client = trial.backend(), trial.open()
        name = trial.service()
        stays, deleted = trial.info(name), trial.info(name)
        for info in (stays, deleted):
            backend.register(info, CALL_S)
        trial.under_test.delete_record(deleted)
        beat = backend.keep_alive([stays, deleted], CALL_S)
        told = {item.info.identity: item.why for item in beat.lost}
        trial.check(
            told == {deleted.identity: Why.GONE}, f"of one deleted record the beat told {told!r}"
        )
        trial.found(client, [stays])

    def test_K4_back_after_its_liveness_was_ended(self, trial: Trial) -> None:
        """After a lease was revoked or a session expired all is back within one interval."""
        trial.needs("expire")
        server, elsewhere = trial.open(), trial.worker()
        infos = enlist_some(trial, server)

        def seen() -> bool:
            # By another process: a plugin may know about itself what no server told it.
            return same(elsewhere.resolve(infos[0].service_name), infos)

        trial.wait(seen, trial.bounds.arrival_s, "another process does not find the instances")
        for _ in range(2):
            trial.under_test.expire(server)
            trial.wait(
                seen,
                trial.bounds.back_s(len(infos)) - trial.bounds.interval_s,
                "what was bound to the ended lease or session was not back",
            )
        # It has to be bound to the new one: what only lingers ends with the old ttl. And it may
        # still be the old one that is seen, up to the beat that finds it ended.
        trial.pass_time(trial.bounds.interval_s)
        trial.stays(
            seen, trial.bounds.ttl_s + trial.bounds.granularity_s, "it came back and went again"
        )

    # --- K6 ------------------------------------------------------------------------------------

    def test_K6_what_left_stays_away(self, trial: Trial) -> None:
        """Beats for others do not bring back what was deregistered."""
        server, client = trial.open(), trial.open()
        stays, leaves = enlist_some(trial, server, 2)
        server.deregister(leaves)
        trial.stays(
            lambda: leaves not in client.resolve(stays.service_name),
            trial.bounds.beats_s,
            "what was deregistered came back",
        )
        trial.found(client, [stays])

    def test_K6_a_repair_does_not_bring_it_back(self, trial: Trial) -> None:
        """Deregistered while it was being repaired, an instance stays away."""
        trial.needs("delete_record")
        server, client = trial.open(), trial.open()
        stays, *leaving = enlist_some(trial, server, COUNT)
        for leaves in leaving:
            trial.under_test.delete_record(leaves)
            # Somewhere within an interval comes the beat that finds it gone.
            trial.pass_time(trial.bounds.interval_s / len(leaving))
            server.deregister(leaves)
        trial.stays(
            lambda: set(client.resolve(stays.service_name)).isdisjoint(leaving),
            trial.bounds.beats_s,
            "what was deregistered came back",
        )

    def test_K6_a_lost_lease_does_not_bring_it_back(self, trial: Trial) -> None:
        """Deregistered before its lease was lost, an instance is not part of the repair."""
        trial.needs("expire")
        server, client = trial.open(), trial.open()
        stays, leaves = enlist_some(trial, server, 2)
        server.deregister(leaves)
        trial.under_test.expire(server)
        trial.wait(
            lambda: client.resolve(stays.service_name),
            trial.bounds.two_intervals_s,
            "nothing came back after the lease was lost",
        )
        trial.stays(
            lambda: leaves not in client.resolve(stays.service_name),
            trial.bounds.beats_s,
            "what was deregistered came back",
        )

    def test_K6_a_deregister_during_an_outage_is_made_up_for(self, trial: Trial) -> None:
        """What could not be removed is gone soon after the backend answers, and stays away."""
        trial.needs("kill")
        server, client = trial.open(), trial.open()
        stays, leaves = enlist_some(trial, server, 2)
        with trial.server_away():
            trial.raises(UnavailableError, lambda: server.deregister(leaves, timeout=BRIEF), 0.3)
        trial.await_answer(client)
        # Both at once: a backend that has just come up may for a moment show nobody.
        trial.wait(
            lambda: finds(client, [stays]),
            trial.bounds.back_s(1),
            "what was deregistered was still there, or the other one not back",
        )
        expect_gone_for_good(trial, client, [leaves], trial.bounds.two_intervals_s)

    def test_K6_a_write_that_is_carried_out_late_is_removed(self, trial: Trial) -> None:
        """A frozen server that goes on writes what nobody wants any more; it is removed."""
        trial.needs("freeze")
        server, client = trial.open(), trial.open()
        enlist_some(trial, server, 1)
        late, never = trial.info(), trial.info()
        with trial.server_frozen():
            for info in (late, never):
                trial.raises(UnavailableError, partial(server.register, info, timeout=BRIEF), 0.3)
            trial.raises(UnavailableError, lambda: server.deregister(late, timeout=BRIEF), 0.3)
        trial.await_answer(client)
        expect_gone_for_good(
            trial, client, (late, never), 2 * trial.bounds.ttl_s + trial.bounds.margin_s
        )


def enlist_some(trial: Trial, registry: Registry, count: int = COUNT) -> list[Info]:
    """Register some instances of one service."""
    name = trial.service()
    infos = [trial.info(name, **trial.numbered(number + 1, "a:b")) for number in range(count)]
    for info in infos:
        registry.register(info)
    return infos


def finds(client: Registry, infos: list[Info]) -> bool:
    """Return whether exactly these are found."""
    return same(client.resolve(infos[0].service_name), infos)


def expect_no_gap(trial: Trial, asking: Asking, infos: list[Info]) -> None:
    """Fail if one of these was missing in any answer."""
    missing = [set(infos) - set(answer) for answer in asking.answers]
    trial.check(asking.error is None, f"resolve raised {asking.error!r}")
    trial.check(
        not any(missing),
        f"missing through a short outage: {[len(each) for each in missing]} of {len(infos)}",
    )


def expect_back(trial: Trial, client: Registry, infos: list[Info]) -> None:
    """Fail unless all of these are found two intervals after the first answer."""
    trial.await_answer(client)
    trial.wait(
        lambda: finds(client, infos),
        trial.bounds.back_s(len(infos)),
        f"of {len(infos)} registrations not all were back",
    )


def expect_gone_for_good(
    trial: Trial, client: Registry, infos: Sequence[Info], within_s: float
) -> None:
    """Fail unless instances are gone in time, and stay away for two intervals."""

    def gone() -> bool:
        try:
            return not any(info in client.resolve(info.service_name) for info in infos)
        except RegistryError:
            return False

    trial.wait(gone, within_s, "what was deregistered was still there")
    trial.stays(gone, trial.bounds.beats_s, "what was deregistered came back")
