"""The options that several commands share, by one name and with one meaning each."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import click

from enlist.choosing.plugins import installed
from enlist.durations import DURATION_FORM, parse_duration
from enlist.info import DEFAULT_WEIGHT, MAX_WEIGHT
from enlist.opening import AnyRegistry, open_registry

__all__ = [
    "duration_option",
    "json_option",
    "listen_text",
    "on_unavailable_option",
    "opened",
    "place_options",
    "record_options",
    "registry_argument",
    "registry_choice",
    "registry_options",
    "timeout_option",
]

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _to_duration(
    ctx: click.Context, param: click.Parameter, value: str | dt.timedelta | None
) -> dt.timedelta | None:
    """Read a duration such as "15s"; none where none was given."""
    if value is None:
        return None
    duration = value if isinstance(value, dt.timedelta) else parse_duration(value)
    if duration is None:
        raise click.BadParameter(f"{value!r} is not {DURATION_FORM}", ctx, param)
    return duration


def _to_tags(
    ctx: click.Context, param: click.Parameter, values: Sequence[str]
) -> Mapping[str, str]:
    """Read pairs "key=value", each taken apart at its first equals sign."""
    tags: dict[str, str] = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{value!r} is no pair such as zone=a", ctx, param)
        if key in tags:
            raise click.BadParameter(f"{key!r} is given twice; it has one value", ctx, param)
        tags[key] = text
    return tags


def _registry_names(
    ctx: click.Context,  # noqa: ARG001 - what click passes
    param: click.Parameter,  # noqa: ARG001 - the same
    incomplete: str,
) -> list[str]:
    """Complete the names of the installed backends."""
    names = sorted({plugin.name for plugin in installed()})
    return [name for name in names if name.startswith(incomplete)]


def duration_option(
    name: str, default: str | None, help_text: str
) -> Callable[[_Function], _Function]:
    """Return an option that is a duration."""
    return click.option(
        name,
        default=default,
        show_default=True,
        metavar="DURATION",
        callback=_to_duration,
        help=help_text,
    )


def registry_argument(function: _Function) -> _Function:
    """Add REGISTRY, where a command is about one registry alone."""
    return click.argument("registry", required=False, shell_complete=_registry_names)(function)


timeout_option = duration_option(
    "--timeout",
    None,
    "How long one call to the registry may take.  [default: its option 'timeout', 3s]",
)


def registry_options(function: _Function) -> _Function:
    """Add --registry and --timeout."""
    for option in (
        timeout_option,
        click.option(
            "--registry",
            "registries",
            multiple=True,
            metavar="NAME|URL",
            shell_complete=_registry_names,
            help="Name or URL of the registry; again for several at once. "
            "[default: ENLIST_REGISTRY, else local]",
        ),
    ):
        function = option(function)
    return function


def place_options(function: _Function) -> _Function:
    """Add --service, --addr and --port."""
    for option in (
        click.option(
            "--port",
            type=click.IntRange(1, 65_535),
            help="The port, instead of --addr; the host to publish is found out.",
        ),
        click.option("--addr", help="HOST:PORT, [IPV6]:PORT, :PORT or unix:/PATH."),
        click.option("--service", required=True, help="The name that clients ask for."),
    ):
        function = option(function)
    return function


def record_options(function: _Function) -> _Function:
    """Add what else is published: --tag, --weight and --payload-codec."""
    for option in (
        click.option(
            "--payload-codec", default="", help='How payloads are encoded, such as "protobuf".'
        ),
        click.option(
            "--weight",
            type=click.IntRange(0, MAX_WEIGHT),
            default=DEFAULT_WEIGHT,
            show_default=True,
            help="The share of traffic relative to other instances; 0 for none.",
        ),
        click.option(
            "--tag",
            "tags",
            multiple=True,
            metavar="K=V",
            callback=_to_tags,
            help="A tag; again for more of them.",
        ),
    ):
        function = option(function)
    return function


on_unavailable_option = click.option(
    "--on-unavailable",
    type=click.Choice(["raise", "retry"]),
    default="raise",
    show_default=True,
    help="A registry that is away at the start fails it, or is tried again in the background.",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def registry_choice(registries: Sequence[str]) -> str | list[str] | None:
    """Return what ``open_registry`` is to be given for the values of --registry."""
    if len(registries) > 1:
        return list(registries)
    return registries[0] if registries else None


def opened(
    registries: Sequence[str],
    timeout: dt.timedelta | None,
    on_unavailable: Literal["raise", "retry"] = "raise",
) -> AnyRegistry:
    """Open what --registry names; close it after use."""
    return open_registry(
        registry_choice(registries), timeout=timeout, on_unavailable=on_unavailable
    )


def listen_text(addr: str | None, port: int | None) -> str:
    """Return the one of --addr and --port that was given, as an address.

    Raises:
        click.UsageError: none was given, or both.
    """
    if (addr is None) == (port is None):
        raise click.UsageError("Give one of --addr and --port", click.get_current_context())
    return f":{port}" if addr is None else addr
