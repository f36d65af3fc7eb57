"""The tests of K5 and K7 to K9: the process itself sleeps, forks, looks on, and has bugs."""

from __future__ import annotations

import logging

import pytest

from enlist.errors import UnavailableError
from enlist.registry import Registry
from enlist.states import State
from enlist.testing.base import KitTests
from enlist.testing.extensions import Failing, Listening
from enlist.testing.following import Asking
from enlist.testing.trial import Trial
from enlist.testing.workers import Worker

__all__ = ["ProcessRules"]

DUE_STATES = ("enlisted",)


class ProcessRules(KitTests):
    """K5 and K7 to K9."""

    # --- K5 ------------------------------------------------------------------------------------

    def test_K5_back_after_the_process_slept_past_its_ttl(self, trial: Trial) -> None:
        """A process that was stopped until its record was gone has it back an interval later."""
        client, worker = trial.open(), trial.worker()
        info = trial.info(tags=trial.tags("a:b", "c"))
        worker.register(info)
        # Past the first beat, which comes right after register: stopped in the middle of it, the
        # process would go on with the half that finds its record gone.
        trial.pass_time(trial.bounds.interval_s / 2)
        worker.freeze()
        trial.wait(
            lambda: not client.resolve(info.service_name),
            trial.bounds.death_s,
            "the record of a stopped process was not gone",
        )
        worker.thaw()
        trial.wait(
            lambda: client.resolve(info.service_name) == (info,),
            trial.bounds.one_interval_s,
            "the record of a process that goes on was not back",
        )
        trial.stays(
            lambda: trial.has(client, info), trial.bounds.ttl_s, "it came back and went again"
        )

    # --- K7 ------------------------------------------------------------------------------------

    def test_K7_children_that_end_disturb_nothing(self, trial: Trial) -> None:
        """Children that exit, close what they inherited, or end in multiprocessing, are no loss."""
        client, worker = trial.open(), trial.worker()
        info = trial.info()
        worker.register(info)
        # Looked at without a pause: what a child removes, the parent's next beat repairs.
        with Asking(client, info.service_name) as asking:
            worker.fork("exit")
            worker.fork("close")
            worker.fork_by_multiprocessing()
            trial.pass_time(trial.bounds.ttl_s + trial.bounds.granularity_s)
        trial.check(asking.error is None, f"resolve raised {asking.error!r}")
        trial.check(
            set(asking.answers) == {(info,)},
            f"around the end of its children the parent's record was {asking.answers!r}",
        )
        expect_enlisted(trial, worker)

    def test_K7_a_child_does_not_outlive_its_parent_for_it(self, trial: Trial) -> None:
        """A record ends with the process that registered it, although a child of it lives on."""
        client, worker = trial.open(), trial.worker()
        info = trial.info()
        worker.register(info)
        worker.fork("linger")
        trial.found(client, [info])
        worker.kill()
        trial.wait(
            lambda: not client.resolve(info.service_name),
            trial.bounds.death_s,
            "a forked child kept the record of its dead parent alive; it was not gone",
        )

    def test_K7_what_a_child_registers_is_its_own(self, trial: Trial) -> None:
        """A child that uses the registry has its own registration, which ends with the child."""
        client, worker = trial.open(), trial.worker()
        parents, childs = trial.info(), trial.info()
        worker.register(parents)
        pid = worker.fork("register", childs)
        trial.found(client, [childs])
        trial.stays(
            lambda: trial.has(client, childs) and trial.has(client, parents),
            trial.bounds.ttl_s + trial.bounds.granularity_s,
            "parent and child did not both stay registered",
        )
        worker.end_child(pid)
        trial.wait(
            lambda: not client.resolve(childs.service_name),
            trial.bounds.death_s,
            "the record of a child that was killed was not gone",
        )
        trial.found(client, [parents])
        expect_enlisted(trial, worker)

    # --- K8 ------------------------------------------------------------------------------------

    def test_K8_a_registration_is_seen(
        self, trial: Trial, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Registering and leaving can be read as values, in the log, and by extensions."""
        caplog.set_level(logging.INFO, "enlist")
        listening = Listening()
        registry = trial.open(extensions=[listening])
        info = trial.info()
        registry.register(info)
        (status,) = registry.status()
        trial.check(status.info == info, f"the status is of {status.info!r}")
        trial.check(status.state is State.ENLISTED, f"the state is {status.state}")
        trial.check(status.last_success is not None, "no last success is known")
        trial.check(status.last_error is None, f"the last error is {status.last_error!r}")
        trial.check(registry.readiness().ready, f"not ready: {registry.readiness().reasons}")
        registry.deregister(info)
        trial.check(not registry.status(), f"after deregister: {registry.status()!r}")
        states = listening.states(info)
        trial.check(
            states[:1] == ["enlisted"] and states[-1:] == ["left"], f"extensions heard {states!r}"
        )
        logged = [line for line in caplog.messages if info.service_name in line]
        trial.check(len(logged) > 1, f"the log has {logged!r}")

    def test_K8_an_outage_is_seen(self, trial: Trial, caplog: pytest.LogCaptureFixture) -> None:
        """An outage and its end can be read as values, in the log, and by extensions."""
        trial.needs("kill")
        caplog.set_level(logging.INFO, "enlist")
        listening = Listening()
        registry = trial.open(extensions=[listening])
        info = trial.info()
        registry.register(info)
        with trial.server_away():
            trial.wait(
                lambda: state_of(registry) is State.UNCONFIRMED,
                trial.bounds.two_intervals_s,
                f"the state during an outage was {state_of(registry)}, not unconfirmed",
            )
            (status,) = registry.status()
            error = status.last_error
            trial.check(isinstance(error, UnavailableError), f"the last error is {error!r}")
            trial.check(registry.readiness().ready, "an outage of the backend ends readiness")
        trial.await_answer(trial.open())
        expect_recovered(trial, registry)
        # They are told once the registry shows it, and in the thread that found out.
        trial.wait(
            lambda: listening.states(info)[-1:] == ["enlisted"],
            trial.bounds.one_interval_s,
            f"extensions heard {listening.states(info)!r}, not of the end of the outage",
        )
        states = listening.states(info)
        trial.check("unconfirmed" in states, f"extensions heard {states!r}")
        logged = [line for line in caplog.messages if info.service_name in line]
        trial.check(any("unconfirmed" in line for line in logged), f"the log has {logged!r}")

    def test_K8_a_loss_is_seen(self, trial: Trial, caplog: pytest.LogCaptureFixture) -> None:
        """That a record was lost is told to extensions and logged, and so is its return."""
        trial.needs("delete_record")
        caplog.set_level(logging.INFO, "enlist")
        listening = Listening()
        registry = trial.open(extensions=[listening])
        info = trial.info()
        registry.register(info)
        trial.under_test.delete_record(info)
        trial.wait(
            lambda: "lost" in listening.states(info),
            trial.bounds.one_interval_s,
            f"extensions heard {listening.states(info)!r}, and of no loss",
        )
        expect_recovered(trial, registry)
        trial.check(
            any("lost" in line and info.service_name in line for line in caplog.messages),
            "the loss is not in the log",
        )

    # --- K9 ------------------------------------------------------------------------------------

    def test_K9_an_unforeseen_error_is_one_failed_beat(
        self, trial: Trial, caplog: pytest.LogCaptureFixture
    ) -> None:
        """After an exception that nobody foresaw the beats go on, and the log has it."""
        failing = Failing()
        registry, client = trial.open(extensions=[failing]), trial.open()
        info = trial.info()
        registry.register(info)
        failing.armed = RuntimeError("nobody foresaw this")
        expect_beats_after(trial, registry, failing)
        trial.check(any(record.exc_info for record in caplog.records), "no traceback is in the log")
        trial.stays(
            lambda: trial.has(client, info),
            trial.bounds.ttl_s + trial.bounds.granularity_s,
            "the record went after an unforeseen exception",
        )

    def test_K9_nothing_ends_the_keeper(
        self, trial: Trial, caplog: pytest.LogCaptureFixture
    ) -> None:
        """What would end a thread in silence, such as SystemExit, does not end the keeper's."""
        failing = Failing()
        registry, client = trial.open(extensions=[failing]), trial.open()
        info = trial.info()
        registry.register(info)
        failing.armed = SystemExit()
        trial.wait(lambda: failing.armed is None, trial.bounds.two_intervals_s, "there was no beat")
        trial.stays(
            lambda: trial.has(client, info),
            trial.bounds.ttl_s + trial.bounds.interval_s + trial.bounds.granularity_s,
            "the record went after a SystemExit in the keeper",
        )
        trial.check(any(record.exc_info for record in caplog.records), "no traceback is in the log")


def state_of(registry: Registry) -> State | None:
    """Return the state of the only registration, None if there is none."""
    return next((status.state for status in registry.status()), None)


def expect_enlisted(trial: Trial, worker: Worker) -> None:
    """Fail unless the only registration of another process is all right, an interval from now."""
    trial.wait(
        lambda: tuple(worker.states()) == DUE_STATES,
        trial.bounds.one_interval_s,
        f"the parent's registrations are {worker.states()!r}",
    )


def expect_recovered(trial: Trial, registry: Registry) -> None:
    """Fail unless the only registration is all right again in time, without an error."""
    trial.wait(
        lambda: state_of(registry) is State.ENLISTED,
        trial.bounds.back_s(1),
        "the state did not become enlisted again",
    )
    (status,) = registry.status()
    trial.check(status.last_error is None, f"the last error is still {status.last_error!r}")


def expect_beats_after(trial: Trial, registry: Registry, failing: Failing) -> None:
    """Fail unless a beat meets the armed exception, and a later one succeeds."""
    trial.wait(lambda: failing.armed is None, trial.bounds.two_intervals_s, "there was no beat")
    (before,) = registry.status()
    trial.wait(
        lambda: (
            registry.status()[0].last_success != before.last_success
            and state_of(registry) is State.ENLISTED
        ),
        trial.bounds.two_intervals_s,
        "no beat came after the one that failed",
    )
