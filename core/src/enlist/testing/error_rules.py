"""The tests of R7 and R8, and of the claims: errors, time, secrets and refusals."""

from __future__ import annotations

import datetime as dt
import logging
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from enlist.backend import Backend
from enlist.errors import (
    ClosedError,
    InvalidInfoError,
    UnauthorisedError,
    UnavailableError,
)
from enlist.info import Info
from enlist.registry import Registry
from enlist.testing.base import KitTests
from enlist.testing.extensions import Counting
from enlist.testing.hostile import CASES
from enlist.testing.trial import CALL_S, Trial

__all__ = ["ErrorRules"]

TIMEOUT = dt.timedelta(seconds=0.5)
HOOK_S = 1.0
"""Long enough beside the margin that twice the time, as of a second attempt, is too long."""


class ErrorRules(KitTests):
    """A1, R7 and R8."""

    def test_A1_what_is_claimed_is_there(self, trial: Trial) -> None:
        """Nothing stands in the abilities that the plugin or the test module does not have."""
        false = trial.under_test.false_claims()
        trial.check(not false, "; ".join(false))

    # --- R7 ------------------------------------------------------------------------------------

    def test_R7_a_server_that_is_away_is_unavailable(self, trial: Trial) -> None:
        """Each call says within its time that the backend is unavailable, and nothing else."""
        trial.needs("kill")
        registry = trial.open(timeout=TIMEOUT)
        info = trial.info()
        registry.register(info)
        with trial.server_away():
            for call in every_call(trial, registry, info):
                trial.raises(UnavailableError, call, TIMEOUT.total_seconds())
        trial.await_answer(trial.open())

    def test_R7_a_first_call_to_a_server_that_is_away_is_the_same(self, trial: Trial) -> None:
        """A registry that never had a connection says the same."""
        trial.needs("kill")
        registry = trial.open(timeout=TIMEOUT)
        with trial.server_away():
            for call in every_call(trial, registry):
                trial.raises(UnavailableError, call, TIMEOUT.total_seconds())
        trial.await_answer(trial.open())

    def test_R7_each_hook_says_that_the_server_is_away(self, trial: Trial) -> None:
        """No hook passes a failure for success, among them those that only the keeper calls."""
        trial.needs("kill")
        backend, info = trial.backend(), trial.info()
        backend.register(info, CALL_S)
        with trial.server_away():
            for hook, call in every_hook(backend, info, HOOK_S).items():
                trial.all_raise(UnavailableError, {hook: call}, HOOK_S)
        trial.await_answer(trial.open())

    def test_R7_no_hook_waits_longer_for_a_frozen_server(self, trial: Trial) -> None:
        """Each hook keeps to its own time, all of them at once."""
        trial.needs("freeze")
        backend, info = trial.backend(), trial.info()
        backend.register(info, CALL_S)
        with trial.server_frozen():
            trial.all_raise(UnavailableError, every_hook(backend, info, HOOK_S), HOOK_S)
        trial.await_answer(trial.open())

    def test_R7_a_frozen_server_costs_no_more_than_the_timeout(self, trial: Trial) -> None:
        """Each call to a server that never answers ends within its time."""
        trial.needs("freeze")
        registry, fresh = trial.open(timeout=TIMEOUT), trial.open(timeout=TIMEOUT)
        info = trial.info()
        registry.register(info)
        with trial.server_frozen():
            calls = [*every_call(trial, registry, info), *every_call(trial, fresh)]
            named = {f"call {number}": call for number, call in enumerate(calls, 1)}
            trial.all_raise(UnavailableError, named, TIMEOUT.total_seconds())
        trial.await_answer(trial.open())

    def test_R7_closing_before_a_frozen_server_costs_one_timeout(self, trial: Trial) -> None:
        """A registry closes in its time although the server never answers."""
        trial.needs("freeze")
        registry = trial.open(timeout=TIMEOUT)
        registry.register(trial.info())
        with trial.server_frozen():
            outcome = trial.in_time(registry.close, 2 * TIMEOUT.total_seconds())
            trial.check(outcome is None, f"close raised {outcome!r}")
        trial.await_answer(trial.open())

    def test_R7_a_wrong_secret_is_unauthorised(
        self,
        trial: Trial,
        caplog: pytest.LogCaptureFixture,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        """A wrong secret is refused as such by each call, and is shown nowhere."""
        trial.needs("credentials")
        caplog.set_level(logging.DEBUG)
        registry = trial.under_test.open_unauthorised()
        trial.closed_at_end(registry.close)
        shown = [repr(registry)]
        # Some servers say to anybody that they are there.
        for call in (call for call in every_call(trial, registry) if call != registry.probe):
            error = trial.raises(UnauthorisedError, call, CALL_S)
            shown += traceback.format_exception(error)
        with registry.resolver(trial.service()) as view:
            trial.wait(lambda: view.last_error, CALL_S, "a refused watch told of no error")
            shown += [repr(view), repr(view.last_error)]
            trial.check(
                isinstance(view.last_error, UnauthorisedError) and view.stale,
                f"a watch with a wrong secret ended with {view.last_error!r}",
            )
        shown += [repr(status) for status in registry.status()]
        expect_hidden(
            trial,
            trial.under_test.wrong_secret,
            "\n".join([*shown, caplog.text, *capfd.readouterr()]),
        )

    def test_R7_a_secret_is_never_shown(
        self,
        trial: Trial,
        caplog: pytest.LogCaptureFixture,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        """The secret in use is in no repr, log line, error or output, also not when all fails."""
        trial.needs("credentials", "kill")
        caplog.set_level(logging.DEBUG)
        registry = trial.open(timeout=TIMEOUT)
        info = trial.info()
        registry.register(info)
        trial.resolver(registry, info.service_name)
        shown = [repr(registry), repr(registry.status())]
        shown.append(repr(trial.under_test.make_plugin("0" * 32)))
        with trial.server_away():
            for call in every_call(trial, registry, info):
                error = trial.raises(UnavailableError, call, TIMEOUT.total_seconds())
                shown += traceback.format_exception(error)
            shown.append(repr(registry.status()))
        trial.await_answer(trial.open())
        expect_hidden(
            trial, trial.under_test.secret, "\n".join([*shown, caplog.text, *capfd.readouterr()])
        )

    def test_R7_too_little_time_is_no_worse_than_unavailable(self, trial: Trial) -> None:
        """With a millisecond a call succeeds or is unavailable; it never does half in silence."""
        registry, client = trial.open(), trial.open()
        name = trial.service()
        for _ in range(10):
            info = trial.info(name)
            outcome = trial.in_time(
                partial(registry.register, info, timeout=dt.timedelta(milliseconds=1)),
                0.001,
            )
            trial.check(
                outcome is None or isinstance(outcome, UnavailableError),
                f"register with 1 ms raised {outcome!r}",
            )
            trial.check(
                outcome is not None or info in client.resolve(name),
                "register with 1 ms returned, and the instance is not found",
            )

    def test_R7_a_closed_registry_says_so(self, trial: Trial) -> None:
        """Each call after close is refused, and a second close is nothing."""
        registry = trial.under_test.open()
        info = trial.info()
        registry.register(info)
        registry.close()
        registry.close()
        for call in every_call(trial, registry, info):
            trial.raises(ClosedError, call, 0.0)

    # --- R8 ------------------------------------------------------------------------------------

    def test_R8_an_incomplete_info_reaches_nobody(self, trial: Trial) -> None:
        """Without a name, or an address that can be called, no hook that writes is called."""
        counting = Counting()
        registry, name = trial.open(extensions=[counting]), trial.service()
        incomplete = {
            "service_name": Info(addr="10.0.0.1:1"),
            "addr": Info(service_name=name),
            "addr.host": Info(service_name=name, addr="0.0.0.0:80"),
        }
        for field, info in incomplete.items():
            error = trial.raises(InvalidInfoError, partial(registry.register, info), 0.0)
            named = error.field if isinstance(error, InvalidInfoError) else ""
            trial.check(named == field, f"the error names {named!r}; wrong was {field!r}")
        trial.check(not counting.calls.total(), f"hooks were called: {dict(counting.calls)}")
        trial.check(not registry.resolve(name), "something was written")

    def test_R8_what_cannot_be_carried_reaches_nobody(self, trial: Trial) -> None:
        """What passes a limit of the backend is refused before a hook that writes is called."""
        counting = Counting()
        registry = trial.open(extensions=[counting])
        for case in CASES:
            info = case.info(trial.info(trial.service(case.ending)))
            before = counting.calls.total()
            if trial.abilities.limits.known and trial.carries(info):
                continue
            outcome = trial.in_time(partial(registry.register, info), CALL_S)
            trial.check(
                outcome is None or isinstance(outcome, InvalidInfoError),
                f"{case.id} cannot be carried and was refused by {outcome!r}",
            )
            trial.check(
                outcome is None or counting.calls.total() == before,
                f"{case.id} was refused after a hook that writes had been called",
            )

    def test_R8_a_refusal_needs_no_server(self, trial: Trial) -> None:
        """Whether an Info can be carried is said although the backend is away."""
        trial.needs("kill")
        registry, backend = trial.open(), trial.backend()
        with trial.server_away():
            outcome = trial.in_time(lambda: backend.validate(trial.info()), 0.0)
            trial.check(outcome is None, f"validate asked the server, and raised {outcome!r}")
            trial.raises(InvalidInfoError, lambda: registry.register(Info(addr="10.0.0.1:1")), 0.0)
        trial.await_answer(trial.open())


def every_call(
    trial: Trial, registry: Registry, registered: Info | None = None
) -> list[Callable[[], object]]:
    """Return every public call that needs the backend; the last ones are for what is registered."""
    calls: list[Callable[[], object]] = [
        lambda: registry.register(trial.info()),
        lambda: registry.register_all([trial.info(), trial.info()]),
        lambda: registry.resolve(trial.service()),
        registry.probe,
    ]
    if trial.abilities.services:
        calls.append(registry.services)
    if registered is not None:
        other = trial.numbered(3)
        calls += [
            lambda: registry.update(registered, **other),
            lambda: registry.deregister(registered),
        ]
    return calls


def every_hook(backend: Backend, info: Info, timeout_s: float) -> dict[str, Callable[[], object]]:
    """Return a call of each hook that the plugin has and that asks the server something.

    Closing and watching are left out: there is no answer that they could miss.
    """
    infos, other = [info], replace(info, service_name=f"{info.service_name}-2")
    calls: dict[str, Callable[[], object]] = {
        "register": lambda: backend.register(other, timeout_s),
        "deregister": lambda: backend.deregister(replace(info, service_name="x"), timeout_s),
        "keep_alive": lambda: backend.keep_alive(infos, timeout_s),
        "restore": lambda: backend.restore(infos, timeout_s),
        "withdraw": lambda: backend.withdraw(infos, timeout_s),
        "resolve": lambda: backend.resolve(info.service_name, timeout_s),
        "services": lambda: backend.services(timeout_s),
        "probe": lambda: backend.probe(info.service_name, timeout_s),
    }
    return {hook: call for hook, call in calls.items() if hook in backend.abilities}


def expect_hidden(trial: Trial, secret: str, text: str) -> None:
    """Fail if the secret is in the text; say where, without it."""
    trial.check(secret, "a claim of credentials needs the attributes secret and wrong_secret")
    lines = [line.replace(secret, "<the secret>") for line in text.splitlines() if secret in line]
    trial.check(not lines, f"the secret is shown: {lines[:3]}")
