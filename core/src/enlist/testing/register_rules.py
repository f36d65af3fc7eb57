"""The tests of R1 to R4 and R6: what register and deregister promise."""

from __future__ import annotations

import datetime as dt
import threading
from dataclasses import replace
from functools import partial

import pytest

from enlist.errors import InvalidInfoError
from enlist.info import Info
from enlist.registry import Registry
from enlist.testing.base import KitTests
from enlist.testing.following import Asking
from enlist.testing.hostile import ALIKE, CASES, Hostile, longest_name
from enlist.testing.trial import CALL_S, PATIENCE, Trial

__all__ = ["RegisterRules"]

MANY = 1_000
THREADS = 20
ROUNDS = 20


class RegisterRules(KitTests):
    """R1 to R4 and R6."""

    # --- R1 ------------------------------------------------------------------------------------

    def test_R1_another_client_finds_it_at_once(self, trial: Trial) -> None:
        """Each of many registrations is found right after register has returned."""
        server, client = trial.open(), trial.open()
        name = trial.service()
        infos: list[Info] = []
        for number in range(1, ROUNDS + 1):
            infos.append(trial.info(name, **trial.numbered(number)))
            server.register(infos[-1])
            trial.found(client, infos)

    def test_R1_another_client_finds_an_update_at_once(self, trial: Trial) -> None:
        """What a second register or an update says is found right after it has returned."""
        server, client = trial.open(), trial.open()
        info = trial.info(**trial.numbered(1, "version"))
        server.register(info)
        for number in range(2, ROUNDS):
            info = server.update(info, **trial.numbered(number, "version"))
            trial.found(client, [info])

    def test_R1_another_process_finds_it_at_once(self, trial: Trial) -> None:
        """What one process registered, another process finds, and the other way round."""
        server, worker = trial.open(), trial.worker()
        info = trial.info()
        server.register(info)
        seen = worker.resolve(info.service_name)
        trial.check(list(seen) == [info], f"the other process found {list(seen)!r}")
        theirs = trial.info()
        worker.register(theirs)
        trial.found(server, [theirs])

    def test_R1_what_threads_register_at_once_is_found(self, trial: Trial) -> None:
        """Twenty threads that share a registry each find what they register, update and remove."""
        server, client = trial.open(), trial.open()
        name = trial.service()
        numbers = range(1, 5 * THREADS + 1)
        infos = [trial.info(name, **trial.numbered(number, "number")) for number in numbers]
        before = trial.numbered(0, "number")
        start = threading.Barrier(THREADS)

        def work(mine: list[Info]) -> None:
            start.wait()
            for info in mine:
                server.register(replace(info, **before), timeout=PATIENCE)
                server.update(info, weight=info.weight, tags=info.tags, timeout=PATIENCE)
                trial.check(trial.has(client, info), f"{info!r} was not found at once")
            server.deregister(mine[0], timeout=PATIENCE)

        shares = [partial(work, infos[at::THREADS]) for at in range(THREADS)]
        trial.all_end(shares, len(infos) / THREADS * PATIENCE.total_seconds())
        trial.found(client, infos[THREADS:])

    # --- R2 ------------------------------------------------------------------------------------

    @pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in CASES])
    def test_R2_a_difficult_info_comes_back_or_is_refused(
        self, trial: Trial, case: Hostile
    ) -> None:
        """Each field at its edges comes back equal, or is refused and nothing is written."""
        info = case.info(trial.info(trial.service(case.ending)))
        server, client = trial.open(), trial.open()
        register_or_be_refused(trial, server, client, info)

    def test_R2_the_longest_name_comes_back_or_is_refused(self, trial: Trial) -> None:
        """A service name of 255 bytes comes back, or is refused and nothing is written."""
        server, client = trial.open(), trial.open()
        register_or_be_refused(trial, server, client, trial.info(longest_name(trial.service("-"))))

    @pytest.mark.parametrize("endings", ALIKE, ids=["separators", "case", "unicode", "escapes"])
    def test_R2_names_that_are_alike_stay_apart(
        self, trial: Trial, endings: tuple[str, ...]
    ) -> None:
        """No two names are stored as one, whatever a backend does to write them down."""
        server, client = trial.open(), trial.open()
        one = trial.info()
        infos = [
            replace(one, service_name=one.service_name + ending, **trial.numbered(number))
            for number, ending in enumerate(endings, 1)
        ]
        infos = [info for info in infos if trial.carries(info)]
        for info in infos:
            server.register(info)
        for info in infos:
            trial.found(client, [info])

    def test_R2_a_watch_gives_back_what_was_registered(self, trial: Trial) -> None:
        """A watch loses as little as resolve does."""
        server, client = trial.open(), trial.open()
        name = trial.service()
        infos = [*carried(trial, name), trial.info(name, tags=trial.tags("a:b", "c"))]
        view = trial.resolver(client, name)
        for info in infos:
            server.register(info)
        trial.wait(
            lambda: set(view.instances) == set(infos),
            trial.bounds.arrival_s,
            f"the watch did not show these {len(infos)} instances as they were registered",
        )

    def test_R2_a_repair_writes_what_register_writes(self, trial: Trial) -> None:
        """What restore writes comes back as it was, as what register writes does."""
        trial.needs("restore")
        backend, client = trial.backend(), trial.open()
        name = trial.service()
        infos = [*carried(trial, name), trial.info(name, tags=trial.tags("a:b", "c"))]
        lost = backend.restore(infos, CALL_S)
        trial.check(not lost, f"restore says that these are not alive: {list(lost)!r}")
        trial.found(client, infos)

    def test_R2_a_thousand_instances_come_back(self, trial: Trial) -> None:
        """A thousand instances of one service are all found, each as it was registered."""
        server, client = trial.open(), trial.open()
        name = trial.service()
        infos = [trial.info(name, **trial.numbered(number + 1, "number")) for number in range(MANY)]
        allowed_s = MANY / trial.bounds.restore_rate + CALL_S + trial.bounds.margin_s
        server.register_all(infos, timeout=dt.timedelta(seconds=allowed_s))
        trial.found(client, infos)
        view = trial.resolver(client, name, allowed_s=allowed_s + trial.bounds.arrival_s)
        trial.check(len(view.instances) == MANY, f"a watch began with {len(view.instances)}")

    # --- R3 ------------------------------------------------------------------------------------

    def test_R3_a_killed_process_is_gone_in_time(self, trial: Trial) -> None:
        """After kill -9 neither resolve nor a watch shows the instance for longer than allowed."""
        client, worker = trial.open(), trial.worker()
        info, own = trial.info(), trial.info()
        updated, in_bulk = replace(info, **trial.numbered(3)), trial.info(info.service_name)
        for each in (info, updated, own):
            worker.register(each)
        worker.register_all([in_bulk])
        # This process lives: what it took over has to stay while the other's goes.
        client.register(own)
        view = trial.resolver(client, info.service_name)
        trial.found(client, [updated, in_bulk])
        worker.kill()
        trial.wait(
            lambda: not client.resolve(info.service_name),
            trial.bounds.death_s,
            "after kill -9 resolve still gave the instance; it was not gone",
        )
        trial.wait(lambda: not view.instances, trial.bounds.arrival_s, "the watch still had it")
        trial.found(client, [own])

    def test_R3_a_living_process_stays(self, trial: Trial) -> None:
        """While its process lives an instance is found without a gap, for longer than its ttl."""
        server, client = trial.open(), trial.open()
        info = trial.info()
        server.register(info)
        trial.stays(
            lambda: trial.has(client, info),
            trial.bounds.ttl_s + trial.bounds.interval_s + trial.bounds.granularity_s,
            "a living process was not found",
        )

    def test_R3_the_declared_ttl_is_granted(self, trial: Trial) -> None:
        """A sign of life says how long the server keeps the record: as long as is declared."""
        trial.needs("keep_alive")
        backend = trial.backend()
        info = trial.info()
        backend.register(info, CALL_S)
        beat = backend.keep_alive([info], CALL_S)
        trial.check(not beat.lost, f"a beat right after register lost {beat.lost!r}")
        trial.check(
            abs(beat.valid_for_s - trial.bounds.ttl_s) <= trial.bounds.ttl_s / 100,
            f"declared is a ttl of {trial.bounds.ttl_s:g} s; granted were {beat.valid_for_s:g} s",
        )

    # --- R4 ------------------------------------------------------------------------------------

    def test_R4_registering_again_leaves_one_record_and_no_gap(self, trial: Trial) -> None:
        """However often an identity is registered again, each look finds exactly one record."""
        server, client = trial.open(), trial.open()
        info = trial.info(**trial.numbered(1))
        server.register(info)
        with Asking(client, info.service_name) as asking:
            for number in range(2, 2 * ROUNDS):
                info = replace(info, **trial.numbered(number, "number"))
                server.register(info)
        expect_one_each_time(trial, asking)
        trial.found(client, [info])

    def test_R4_registering_again_in_bulk_leaves_one_record_and_no_gap(self, trial: Trial) -> None:
        """The same on the path that registers many at once."""
        server, client = trial.open(), trial.open()
        info = trial.info(**trial.numbered(1))
        server.register(info)
        with Asking(client, info.service_name) as asking:
            for number in range(2, ROUNDS):
                info = replace(info, **trial.numbered(number))
                server.register_all([info])
        expect_one_each_time(trial, asking)
        trial.found(client, [info])

    def test_R4_taking_over_leaves_one_record_and_no_gap(self, trial: Trial) -> None:
        """Two live servers that take an identity from each other leave one record at each look."""
        servers, client = [trial.open(), trial.open()], trial.open()
        info = trial.info(**trial.numbered(1))
        servers[0].register(info)
        with Asking(client, info.service_name) as asking:
            for number in range(2, ROUNDS):
                info = replace(info, **trial.numbered(number))
                servers[number % 2].register(info)
        expect_one_each_time(trial, asking)
        trial.found(client, [info])

    # --- R6 ------------------------------------------------------------------------------------

    def test_R6_no_client_finds_it_any_more(self, trial: Trial) -> None:
        """Each of many instances is gone right after deregister has returned."""
        server, client = trial.open(), trial.open()
        name = trial.service()
        stays = trial.info(name)
        server.register(stays)
        for _ in range(ROUNDS):
            leaves = trial.info(name)
            server.register(leaves)
            server.deregister(leaves)
            trial.found(client, [stays])

    def test_R6_nobody_else_goes(self, trial: Trial) -> None:
        """Removing one leaves addresses that begin alike, and the same address elsewhere."""
        server, client = trial.open(), trial.open()
        name, longer = trial.service(), trial.service()
        leaves = trial.info(name, addr="10.78.0.1:80")
        stay = [trial.info(name, addr=f"10.78.0.1:80{end}") for end in ("8", "80")]
        elsewhere = trial.info(longer, addr="10.78.0.1:80")
        server.register_all([*stay, elsewhere])
        for _ in range(5):  # a beat that comes just then may repair what went too, but once
            server.register(leaves)
            server.deregister(leaves)
            trial.found(client, stay)
            trial.found(client, [elsewhere])

    def test_R6_a_name_that_everybody_left_is_not_listed(self, trial: Trial) -> None:
        """The names of services are those of which somebody is there."""
        trial.needs("services")
        server, client = trial.open(), trial.open()
        info = trial.info()
        server.register(info)
        trial.check(info.service_name in client.services(), "a name was not listed")
        server.deregister(info)
        trial.check(info.service_name not in client.services(), "the name is listed still")

    def test_R6_deregistering_what_is_not_there_is_no_error(self, trial: Trial) -> None:
        """What was never registered, or is gone already, can be deregistered."""
        server, backend = trial.open(), trial.backend()
        info = trial.info()
        outcome = trial.in_time(lambda: server.deregister(info), CALL_S)
        trial.check(outcome is None, f"deregistering what never was there raised {outcome!r}")
        server.register(info)
        server.deregister(info)
        for _ in range(2):
            outcome = trial.in_time(lambda: server.deregister(info), CALL_S)
            trial.check(outcome is None, f"deregistering it again raised {outcome!r}")
        outcome = trial.in_time(lambda: backend.deregister(info, CALL_S), CALL_S)
        trial.check(outcome is None, f"the hook of a new plugin object raised {outcome!r}")

    def test_R6_closing_leaves_nothing(self, trial: Trial) -> None:
        """A registry that closes takes everything with it that it holds."""
        server, client = trial.under_test.open(), trial.open()
        name = trial.service()
        infos = [trial.info(name) for _ in range(ROUNDS)]
        try:
            server.register_all(infos)
        finally:
            server.close()
        trial.check(not client.resolve(name), f"found after close: {client.resolve(name)!r}")


def carried(trial: Trial, name: str) -> list[Info]:
    """Return every difficult Info that the backend can carry, all of one service."""
    infos = (case.info(trial.info(name)) for case in CASES if not case.ending)
    return [info for info in infos if trial.carries(info)]


def expect_one_each_time(trial: Trial, asking: Asking) -> None:
    """Fail if any answer had no record, or more than one."""
    trial.check(asking.error is None, f"resolve raised {asking.error!r}")
    counts = {len(answer) for answer in asking.answers}
    trial.check(counts == {1}, f"numbers of records seen: {sorted(counts)}")


def register_or_be_refused(trial: Trial, server: Registry, client: Registry, info: Info) -> None:
    """Register, and judge either what comes back or the refusal."""
    limits = trial.abilities.limits
    passed = limits.passed_by(info)
    try:
        server.register(info)
    except InvalidInfoError as exc:
        trial.check(
            passed is not None or not limits.known,
            f"refused although it lies within the declared limits: {exc}",
        )
        trial.check(
            passed is None or exc.field.partition(".")[0].partition("[")[0] == passed,
            f"the limit of {passed!r} is passed, and the error names {exc.field!r}: {exc}",
        )
        trial.check(not _found(client, info), f"it was refused and written: {info!r}")
        return
    trial.found(client, [info])


def _found(client: Registry, info: Info) -> bool:
    try:
        return bool(client.resolve(info.service_name))
    except InvalidInfoError:
        return False  # a name that cannot be asked for cannot be found either
