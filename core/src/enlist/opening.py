"""From what a user names to an opened registry."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Final, Literal, TypeAlias, cast, overload

from enlist.backend import DEFAULT_TTL_S
from enlist.backend_options import HostPort, Target, options_of, read_options, target_from
from enlist.choosing.plugin_checks import check_class
from enlist.choosing.plugins import load, load_extension
from enlist.clock import SystemClock
from enlist.errors import InvalidOptionError
from enlist.group import RegistryGroup
from enlist.registry import DEFAULT_TIMEOUT, Registry, check_timeout
from enlist.session import SessionPlan

__all__ = ["AnyRegistry", "open_registry"]

AnyRegistry: TypeAlias = Registry | RegistryGroup
"""One opened registry, or several that are used as one."""

_ON_UNAVAILABLE: Final = ("raise", "retry")


@overload
def open_registry(
    registry: str | type | Registry | None = None,
    /,
    *,
    timeout: dt.timedelta | None = ...,
    on_unavailable: Literal["raise", "retry"] = ...,
    extensions: Sequence[object] = ...,
    **options: object,
) -> Registry: ...
@overload
def open_registry(
    registry: list[Any] | tuple[Any, ...] | RegistryGroup,
    /,
    *,
    timeout: dt.timedelta | None = ...,
    on_unavailable: Literal["raise", "retry"] = ...,
    extensions: Sequence[object] = ...,
    **options: object,
) -> RegistryGroup: ...
@overload
def open_registry(
    registry: object,
    /,
    *,
    timeout: dt.timedelta | None = ...,
    on_unavailable: Literal["raise", "retry"] = ...,
    extensions: Sequence[object] = ...,
    **options: object,
) -> AnyRegistry: ...
def open_registry(
    registry: object = None,
    /,
    *,
    timeout: dt.timedelta | None = None,
    on_unavailable: Literal["raise", "retry"] = "raise",
    extensions: Sequence[object] = (),
    **options: object,
) -> AnyRegistry:
    """Open a registry by name. Nothing is sent before its first call.

    Args:
        registry: a name such as "etcd"; a URL such as "etcd://10.0.0.1:2379?ttl=30";
            "local:PATH"; the class of a plugin; an opened Registry, which is returned as it is;
            or a list of these, to be enlisted in several at once. None: what the environment's
            ENLIST_REGISTRY says, else "local".
        timeout: how long one call may take, all its work included. None: what the option of
            that name says, in the URL or the environment, else 3 s.
        on_unavailable: "raise" has a ``register`` that finds no backend fail; "retry" keeps
            trying in the background.
        extensions: names of installed extensions, or objects with hooks of ExtensionSpec.
        **options: the plugin's own options; they win over the URL and the environment. For a
            list they go to every registry in it.

    Returns:
        A :class:`~enlist.Registry`; for a list a :class:`~enlist.RegistryGroup`.

    Raises:
        InvalidOptionError: an option is unknown or has an impossible value.
        UnknownBackendError: no installed distribution provides that name.
        BackendLoadError, BackendConflictError, BackendSpecError: the plugin cannot be used.
    """
    _check_common(timeout, on_unavailable, extensions)
    if isinstance(registry, (Registry, RegistryGroup)):
        return registry
    if isinstance(registry, (list, tuple)):
        return _open_group(registry, timeout, on_unavailable, extensions, options)
    name, plugin_class, plugin_options = _chosen(registry, options)
    ttl = getattr(plugin_options, "ttl", None)
    plan = SessionPlan(
        name=name,
        make_plugin=lambda owner: plugin_class(plugin_options, owner),
        extensions=[_extension(extension) for extension in extensions],
        on_unavailable=on_unavailable,
        clock=SystemClock(),
        ttl_s=ttl.total_seconds() if isinstance(ttl, dt.timedelta) else DEFAULT_TTL_S,
        is_local=_is_local(plugin_class, plugin_options),
    )
    return Registry(plan, timeout or _timeout_in(plugin_options))


def _timeout_in(options: object) -> dt.timedelta:
    """Return the option of that name, which is for the core, or the default."""
    return check_timeout(getattr(options, "timeout", DEFAULT_TIMEOUT))


def _chosen(registry: object, options: dict[str, object]) -> tuple[str, type[Any], object]:
    """Return the name for messages, the plugin's class, and its options."""
    if isinstance(registry, type):
        name = registry.__name__
        plugin_class = check_class(registry, f"Backend {name}")
        target = Target(name=name.lower())
        return name, plugin_class, read_options(plugin_class.Options, target, options, os.environ)
    if registry is not None and not isinstance(registry, str):
        rule = "must be a name, a URL, a plugin's class, an opened Registry, or a list of these"
        # Its type alone, since there is no telling what in it is a password; so below.
        raise InvalidOptionError("registry", type(registry).__name__, rule)
    target = target_from(registry, os.environ)
    plugin = load(target.name)
    return str(target), plugin.cls, read_options(plugin.cls.Options, target, options, os.environ)


def _is_local(plugin_class: type[Any], options: object) -> bool:
    """Whether the plugin needs no server, or its options name loopback hosts alone."""
    named = [
        host.host
        for option in options_of(type(options))
        for host in _hosts_in(getattr(options, option.name))
    ]
    return (
        all(map(_is_loopback, named))
        if named
        else bool(getattr(plugin_class, "one_machine", False))
    )


def _hosts_in(value: object) -> list[HostPort]:
    values = value if isinstance(value, tuple) else ()
    return [one for one in values if isinstance(one, HostPort)]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _open_group(
    registries: Sequence[object],
    timeout: dt.timedelta | None,
    on_unavailable: Literal["raise", "retry"],
    extensions: Sequence[object],
    options: dict[str, object],
) -> RegistryGroup:
    if not registries:
        raise InvalidOptionError("registry", registries, "must name at least one registry")
    for one in registries:
        if isinstance(one, (list, tuple, RegistryGroup)):
            rule = "must not be a list within a list"
            raise InvalidOptionError("registry", type(one).__name__, rule)
    with ExitStack() as undo:
        members = []
        for position, one in enumerate(registries):
            member = open_registry(
                one,
                timeout=timeout,
                on_unavailable=on_unavailable,
                extensions=extensions,
                **options,
            )
            if member is not one:
                undo.callback(member.close)
            if one in registries[:position]:
                rule = "is named twice; the two would take each registration from each other"
                raise InvalidOptionError("registry", member.name, rule)
            members.append(cast("Registry", member))
        undo.pop_all()
    return RegistryGroup(members, owned=[member for member in members if member not in registries])


def _extension(extension: object) -> object:
    return load_extension(extension) if isinstance(extension, str) else extension


def _check_common(timeout: object, on_unavailable: object, extensions: object) -> None:
    if timeout is not None:
        check_timeout(timeout)
    if on_unavailable not in _ON_UNAVAILABLE:
        raise InvalidOptionError("on_unavailable", on_unavailable, "must be 'raise' or 'retry'")
    if isinstance(extensions, str) or not isinstance(extensions, Sequence):
        raise InvalidOptionError("extensions", extensions, "must be a list of names or objects")
