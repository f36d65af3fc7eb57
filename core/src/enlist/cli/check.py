"""``enlist check``: does this registry work from here, and if not, what is to be done."""

from __future__ import annotations

import datetime as dt
import os
import queue
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass

import click

from enlist.backend_options import target_from
from enlist.choosing.plugins import load
from enlist.cli.advice import advice
from enlist.cli.choices import json_option, registry_argument, timeout_option
from enlist.cli.output import Grid, complain, narrated, show, show_json
from enlist.errors import EnlistError, RejectedError, TimedOutError
from enlist.info import Info
from enlist.opening import AnyRegistry, open_registry

__all__ = ["command"]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was tried.

    Attributes:
        name: what was tried.
        took_ms: how long it took, in milliseconds.
        found: what it told, where that is of interest.
        error: why it failed; None if it did not.
        advice: what to do about that.
    """

    name: str
    took_ms: float
    found: str = ""
    error: str | None = None
    advice: str | None = None


@click.command("check")
@registry_argument
@click.option("--registry", "option", metavar="NAME|URL", help="The same as REGISTRY.")
@timeout_option
@json_option
def command(
    *, registry: str | None, option: str | None, timeout: dt.timedelta | None, as_json: bool
) -> int:
    """Try REGISTRY step by step, measure each, and say what failed and what to do.

    Enlists a probe of weight 0 under a service name of its own, which nobody asks for, finds
    it as another client would, watches it, and removes it again. Without REGISTRY: what
    ENLIST_REGISTRY says, else "local".

    \b
    Exit status:
      0  every step succeeded
      1  one failed; those after it were not tried

    \b
    Examples:
      enlist check
      enlist check etcd://10.0.0.1:2379
      enlist check consul --json | jq '.steps[] | select(.error)'
    """
    if registry is not None and option is not None:
        raise click.UsageError("Give REGISTRY or --registry, not both", click.get_current_context())
    with narrated(), ExitStack() as closing:
        steps = _tried(_Check(registry or option, timeout, closing))
    failed = steps[-1].error is not None
    if as_json:
        show_json({"ok": not failed, "steps": [asdict(step) for step in steps]})
    else:
        _show(steps)
    return int(failed)


def _show(steps: Sequence[Step]) -> None:
    show(
        Grid(
            ("step", "time", "result"),
            [
                (step.name, f"{step.took_ms:.1f} ms", "FAILED" if step.error else step.found)
                for step in steps
            ],
        )
    )
    last = steps[-1]
    if last.error is not None:
        complain(f"to {last.name} failed: {last.error.rstrip('.')} -- next: {last.advice}")


def _tried(check: _Check) -> list[Step]:
    """Take the steps until one fails."""
    steps = []
    for name, act in check.steps():
        began = time.perf_counter()
        found, error = "", None
        try:
            found = act() or "ok"
        except EnlistError as exc:
            error = exc
        took_ms = round((time.perf_counter() - began) * 1_000, 3)
        if error is not None:
            steps.append(Step(name, took_ms, "", str(error), advice(error)))
            break
        steps.append(Step(name, took_ms, found))
    return steps


class _Check:
    """The steps, and what one leaves to the next."""

    def __init__(
        self, registry: str | None, timeout: dt.timedelta | None, closing: ExitStack
    ) -> None:
        self._registry = registry
        self._timeout = timeout
        self._closing = closing
        self._probe = Info(
            service_name=f"enlist-check-{secrets.token_hex(8)}",
            addr="127.0.0.1:9",  # "discard", on whatever machine it is read
            weight=0,
            tags={"enlist": "check"},
        )

    def steps(self) -> Iterator[tuple[str, Callable[[], str | None]]]:
        """Return the steps in their order."""
        yield "load the backend", self._load
        yield "read its options", self._open
        yield "reach it", self._ours.probe
        yield "enlist a probe", lambda: self._ours.register(self._probe)
        yield "find it as another client", self._find
        yield "watch it", self._watch
        yield "see a change of it", self._change
        yield "remove it", lambda: self._ours.deregister(self._probe)
        yield "see it gone", self._see_gone

    def _load(self) -> str:
        target = target_from(self._registry, os.environ)
        plugin = load(target.name)
        return f"{plugin.distribution} {plugin.version}, spec {plugin.cls.spec_version}"

    def _open(self) -> str:
        self._ours = self._opened()
        self._other = self._opened()
        return self._ours.name

    def _opened(self) -> AnyRegistry:
        registry = open_registry(self._registry, timeout=self._timeout)
        self._closing.callback(registry.close)
        return registry

    def _find(self) -> str:
        found = self._other.resolve(self._probe.service_name)
        if found != (self._probe,):
            raise RejectedError(f"{self._probe} was registered, and {list(found)} was found")
        return "what was registered"

    def _watch(self) -> str:
        self._seen = self._closing.enter_context(self._other.resolver(self._probe.service_name))
        self._seen.wait_for(1)
        return "there"

    def _change(self) -> str:
        tags = {"enlist": "changed"}
        self._ours.update(self._probe, tags=tags)
        self._wait(lambda instances: [info.tags for info in instances] == [tags])
        return "seen by the watch"

    def _see_gone(self) -> str:
        self._wait(lambda instances: not instances)
        return "seen by the watch"

    def _wait(self, wanted: Callable[[Sequence[Info]], bool]) -> None:
        """Wait until the watch shows what is wanted."""
        changes: queue.SimpleQueue[object] = queue.SimpleQueue()
        unsubscribe = self._seen.on_change(changes.put)
        within_s = self._other.timeout.total_seconds()
        deadline = time.monotonic() + within_s
        try:
            while not wanted(self._seen.instances):
                changes.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise TimedOutError(
                f"{self._ours.name}: a client that watches did not hear of it within {within_s:g} s"
            ) from None
        finally:
            unsubscribe()
