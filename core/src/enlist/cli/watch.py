"""``enlist watch``: who comes and goes."""

from __future__ import annotations

import datetime as dt
import queue
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Final, TypeAlias

import click

from enlist.cli.choices import json_option, opened, registry_options
from enlist.cli.output import (
    INSTANCE_COLUMNS,
    Grid,
    instance_row,
    json_value,
    narrated,
    note,
    on_terminal,
    printable,
    rich_table,
    show_json,
)
from enlist.errors import UnavailableError
from enlist.finding.resolver import Resolver
from enlist.finding.view import Snapshot
from enlist.info import Info
from enlist.opening import AnyRegistry
from enlist.serving.signals import told_to_stop

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["command"]

View: TypeAlias = tuple[Snapshot, str]
"""What is known of a service, and why it may be out of date, if it is known why."""

LOOK_EVERY_S: Final = 2.0
"""How often to look for services that are new, and for reasons; instances are shown at once."""


@click.command("watch")
@click.argument("service", required=False)
@registry_options
@json_option
def command(
    service: str | None, registries: Sequence[str], timeout: dt.timedelta | None, *, as_json: bool
) -> None:
    """Show the instances of SERVICE, or of all services, live. Ctrl-C ends it, with status 0.

    On a terminal a table that changes in place. In a pipe one line for each instance that
    comes, changes or goes. With --json one object a line, for each change of a service, with
    all that is there. While the registry is away the last list stays, marked stale.

    \b
    Examples:
      enlist watch echo
      enlist watch --registry etcd://10.0.0.1:2379
      enlist watch echo --json | jq -c '[.instances[].addr]'
    """
    changes = _Changes()
    with (
        narrated(),
        opened(registries, timeout) as registry,
        told_to_stop(changes.end),
        ExitStack() as closing,
    ):
        follower = _Follower(registry, service, changes, closing)
        if as_json:
            _follow(follower, changes, _JsonLines())
        elif on_terminal():
            _follow(follower, changes, closing.enter_context(_live_table(registry.name)))
        else:
            _follow(follower, changes, _Lines())


class _Changes:
    """Wakes the one thread that shows what changed, and ends it."""

    def __init__(self) -> None:
        # Of all that threads have for waiting, this alone may be used in a signal handler.
        self._queue: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.ended = False

    def end(self) -> None:
        """End the showing; may be called in a signal handler."""
        self.ended = True
        self._queue.put(None)

    def put(self) -> None:
        """Note a change."""
        self._queue.put(None)

    def wait(self, within_s: float) -> None:
        """Return when something has changed, or the seconds have passed."""
        with suppress(queue.Empty):
            self._queue.get(timeout=within_s)
            while True:  # all that has changed by now is shown at once
                self._queue.get_nowait()


class _Follower:
    """The resolvers of what is watched."""

    def __init__(
        self, registry: AnyRegistry, service: str | None, changes: _Changes, closing: ExitStack
    ) -> None:
        self._registry = registry
        self._all = service is None
        self._changes = changes
        self._closing = closing
        self._resolvers: dict[str, Resolver] = {}
        self._trouble = ""
        for name in registry.services() if service is None else [service]:
            self._add(name)

    def look_for_more(self) -> None:
        """Follow the services that are new, if all are wanted."""
        if not self._all:
            return
        try:
            names = self._registry.services()
            self._trouble = ""
        except UnavailableError as exc:
            if not self._trouble:
                note(f"services that are new cannot be seen: {exc}")
            self._trouble = str(exc)
            return
        for name in names:
            if name not in self._resolvers:
                self._add(name)

    def _add(self, name: str) -> None:
        resolver = self._closing.enter_context(self._registry.resolver(name))
        self._resolvers[name] = resolver
        resolver.on_change(lambda _: self._changes.put())

    def views(self) -> dict[str, View]:
        """Return what is known of each service of which anything is known."""
        views = {name: self._view(resolver) for name, resolver in self._resolvers.items()}
        return {name: view for name, view in views.items() if view[0].listed or view[1]}

    def _view(self, resolver: Resolver) -> View:
        snapshot = resolver.snapshot()
        return snapshot, str(resolver.last_error or "") if snapshot.stale else ""


def _follow(
    follower: _Follower, changes: _Changes, tell: Callable[[dict[str, View]], None]
) -> None:
    """Tell what is known whenever it has changed, until the end."""
    told: dict[str, View] | None = None
    while not changes.ended:
        views = follower.views()
        if views != told:
            tell(views)
            told = views
        changes.wait(LOOK_EVERY_S)
        follower.look_for_more()


class _JsonLines:
    """One object for each change of a service."""

    def __init__(self) -> None:
        self._told: dict[str, View] = {}

    def __call__(self, views: dict[str, View]) -> None:
        for name, view in views.items():
            if view != self._told.get(name):
                show_json(_view_json(name, view))
        self._told = views


def _view_json(name: str, view: View) -> Mapping[str, object]:
    snapshot, why = view
    return {
        "time": dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"),
        "service_name": name,
        "stale": snapshot.stale,
        "why_stale": why,
        "instances": [json_value(info) for info in _sorted(snapshot)],
    }


class _Lines:
    """One line for each instance that comes (+), changes (~) or goes (-), or for what is wrong."""

    def __init__(self) -> None:
        self._instances: dict[str, dict[str, Info]] = {}
        self._stale: dict[str, str] = {}

    def __call__(self, views: dict[str, View]) -> None:
        for name, (snapshot, why) in views.items():
            self._tell_instances(name, {str(info.addr): info for info in _sorted(snapshot)})
            self._tell_staleness(name, (why or "the registry is away") if snapshot.stale else "")

    def _tell_instances(self, name: str, present: dict[str, Info]) -> None:
        before = self._instances.get(name, {})
        for addr, info in before.items():
            if addr not in present:
                _line("-", info)
        for addr, info in present.items():
            if addr not in before:
                _line("+", info)
            elif info != before[addr]:
                _line("~", info)
        self._instances[name] = present

    def _tell_staleness(self, name: str, why: str) -> None:
        before = self._stale.get(name, "")
        if bool(why) != bool(before):
            note(f"{name} is stale: {why}" if why else f"{name} is live again")
        self._stale[name] = why


def _line(sign: str, info: Info) -> None:
    service, addr, weight, codec, tags = map(printable, instance_row(info))
    time = dt.datetime.now(dt.UTC).strftime("%H:%M:%SZ")
    said = [time, sign, service, addr, f"weight={weight}", codec, tags]
    click.echo(" ".join(filter(None, said)))
    sys.stdout.flush()


def _sorted(snapshot: Snapshot) -> list[Info]:
    return sorted(snapshot.instances, key=lambda info: (info.service_name, str(info.addr)))


@contextmanager
def _live_table(registry_name: str) -> Iterator[Callable[[dict[str, View]], None]]:
    """Draw a table that changes in place; gives what is to be called with each new state."""
    from rich.live import Live  # noqa: PLC0415 - for a terminal alone

    with Live(auto_refresh=False) as live:
        live.update(_drawn(registry_name, {}), refresh=True)
        yield lambda views: live.update(_drawn(registry_name, views), refresh=True)


def _drawn(registry_name: str, views: dict[str, View]) -> RenderableType:
    from rich.console import Group  # noqa: PLC0415 - for a terminal alone
    from rich.text import Text  # noqa: PLC0415 - the same

    rows = [instance_row(info) for snapshot, _ in views.values() for info in _sorted(snapshot)]
    stale = {why or "the registry is away" for snapshot, why in views.values() if snapshot.stale}
    state = f"stale: {'; '.join(sorted(stale))}" if stale else "live"
    text = f"{len(rows)} instances in {registry_name}, {state}. Ctrl-C ends this."
    return Group(
        rich_table(Grid(INSTANCE_COLUMNS, rows)),
        Text(printable(text), style="bold red" if stale else "green"),
    )
