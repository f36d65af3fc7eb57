"""``enlist ls``: who is there at this moment."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import click

from enlist.cli.choices import json_option, opened, registry_options
from enlist.cli.output import (
    INSTANCE_COLUMNS,
    Grid,
    instance_row,
    json_value,
    narrated,
    note,
    show,
    show_json,
)
from enlist.opening import AnyRegistry

__all__ = ["command"]


@click.command("ls")
@click.argument("service", required=False)
@registry_options
@json_option
def command(
    service: str | None, registries: Sequence[str], timeout: dt.timedelta | None, *, as_json: bool
) -> None:
    """List the services, or the instances of SERVICE.

    A service that nobody registered has no instances, which is no error. With --json, one list.

    \b
    Examples:
      enlist ls
      enlist ls echo --registry etcd://10.0.0.1:2379
      enlist ls echo --json | jq -r '.[].addr'
    """
    with narrated(), opened(registries, timeout) as registry:
        if service is None:
            _list_services(registry, as_json=as_json)
        else:
            _list_instances(registry, service, as_json=as_json)


def _list_services(registry: AnyRegistry, *, as_json: bool) -> None:
    counts = [(name, len(registry.resolve(name))) for name in registry.services()]
    if as_json:
        show_json([{"service_name": name, "instances": count} for name, count in counts])
    elif counts:
        show(Grid(("service", "instances"), [(name, str(count)) for name, count in counts]))
    else:
        note(f"no service is registered in {registry.name}")


def _list_instances(registry: AnyRegistry, service: str, *, as_json: bool) -> None:
    instances = sorted(registry.resolve(service), key=lambda info: str(info.addr))
    if as_json:
        show_json([json_value(info) for info in instances])
    elif instances:
        show(Grid(INSTANCE_COLUMNS, [instance_row(info) for info in instances]))
    else:
        note(f"no instance of {service!r} is registered in {registry.name}")
