"""Whether a class fits the Registry spec: looked at without making an object of it.

pluggy alone would find some of these mistakes late (when the object exists), some never (an
argument with a default is never passed, a coroutine function is never awaited), and names no
distribution. Here each has a sentence that says who is to do what.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Iterator
from typing import Any, Final

import pluggy

from enlist.choosing.option_fields import options_of
from enlist.errors import BackendSpecError
from enlist.hookspecs import PROJECT_NAME, SPEC_VERSION, RegistrySpec, hookimpl
from enlist.suggestions import did_you_mean

__all__ = ["check_class"]

_SPEC_MARK: Final = f"{hookimpl.project_name}_spec"
_IMPL_MARK: Final = f"{hookimpl.project_name}_impl"
_REQUIRED: Final = ("register", "deregister")
_ITERATES: Final = "watch"
_PASSED: Final = {
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
}


def check_class(cls: object, source: str, distribution: str = "") -> type[Any]:
    """Return the class, or refuse one that the core cannot use as a backend.

    Makes no object and does no I/O.

    Args:
        cls: what the entry point names, or what a caller passed.
        source: how messages begin, such as "Backend 'etcd' (enlist-etcd 1.4.0)".
        distribution: what to upgrade where the plugin is too old; its own name if known.

    Raises:
        BackendSpecError: the first rule that is broken, and who is to do what.
    """
    if not isinstance(cls, type):
        raise BackendSpecError(
            f"{source} names {type(cls).__name__} {cls!r}, not a class. "
            "Its entry point must have the form 'package.module:Class'."
        )
    _check_version(cls, source, distribution)
    _check_options(cls, source)
    _check_constructor(cls, source)
    _check_no_properties(cls, source)
    _check_implementations(cls, source)
    return cls


def _check_version(cls: type[Any], source: str, distribution: str) -> None:
    version = getattr(cls, "spec_version", None)
    if type(version) is not int:
        raise BackendSpecError(
            f"{source} does not say which Registry spec it is made for: spec_version is "
            f"{version!r}. Its class needs spec_version = {SPEC_VERSION}."
        )
    if version == SPEC_VERSION:
        return
    step = "Upgrade enlist: pip install --upgrade enlist"
    if version < SPEC_VERSION:
        step = f"Upgrade {distribution or 'the plugin'} to a release that is made for it."
    raise BackendSpecError(
        f"{source} is made for version {version} of the Registry spec; "
        f"this enlist has version {SPEC_VERSION}. {step}"
    )


def _check_options(cls: type[Any], source: str) -> None:
    if not hasattr(cls, "Options"):
        raise BackendSpecError(
            f"{source} has no Options. Its class needs a dataclass of that name."
        )
    try:
        options_of(cls.Options)
    except BackendSpecError as exc:
        raise BackendSpecError(f"{source} has unusable options. {exc}") from exc


def _check_constructor(cls: type[Any], source: str) -> None:
    try:
        inspect.signature(cls).bind(options=None, owner="")
    except TypeError as exc:
        raise BackendSpecError(
            f"{source} cannot be made: {exc}. Its constructor is __init__(self, options, owner)."
        ) from exc


def _check_no_properties(cls: type[Any], source: str) -> None:
    for name in dir(cls):
        value = inspect.getattr_static(cls, name)
        if isinstance(value, property | functools.cached_property):
            raise BackendSpecError(
                f"{source} has the property {name!r}. pluggy reads every attribute of a plugin "
                "before it is used, which would run it. Make it a method."
            )


def _check_implementations(cls: type[Any], source: str) -> None:
    probe = types.SimpleNamespace()
    implemented = set()
    for attribute, method, marks in _implementations(cls):
        hook = marks.get("specname") or attribute
        _check_implementation(hook, method, marks, source)
        setattr(probe, attribute, method)
        implemented.add(hook)
    for hook in _REQUIRED:
        if hook not in implemented:
            raise BackendSpecError(
                f"{source} does not implement the hook {hook!r}. Every backend needs 'register' "
                "and 'deregister', each marked with @hookimpl from enlist."
            )
    _check_with_pluggy(probe, source)


def _implementations(cls: type[Any]) -> Iterator[tuple[str, Callable[..., Any], dict[str, Any]]]:
    """Give name, method as if bound, and marks of each method that ``hookimpl`` marked."""
    for name in dir(cls):
        value = inspect.getattr_static(cls, name)
        function = value.__func__ if isinstance(value, staticmethod | classmethod) else value
        marks = getattr(function, _IMPL_MARK, None) if inspect.isroutine(function) else None
        if not isinstance(marks, dict):
            continue
        if isinstance(value, staticmethod):
            yield name, function, marks
        else:  # bound to anything: only the arguments after the first are looked at
            yield name, types.MethodType(function, cls), marks


def _check_implementation(
    hook: str, method: Callable[..., Any], marks: dict[str, Any], source: str
) -> None:
    specified = getattr(RegistrySpec, hook, None)
    if specified is None or not hasattr(specified, _SPEC_MARK):
        if not marks.get("optionalhook"):
            raise BackendSpecError(
                f"{source} implements the hook {hook!r}, which version {SPEC_VERSION} of the "
                f"Registry spec does not have.{did_you_mean(hook, _hooks())}"
            )
        return
    if marks.get("wrapper") or marks.get("hookwrapper"):
        raise BackendSpecError(
            f"{source} implements the hook {hook!r} as a wrapper. Only extensions wrap; "
            "a backend uses @hookimpl alone."
        )
    _check_kind_of_function(hook, method, source)
    known = [name for name in inspect.signature(specified).parameters if name != "self"]
    for parameter in inspect.signature(method).parameters.values():
        _check_parameter(parameter, known, f"{source} implements the hook {hook!r} with")


def _check_kind_of_function(hook: str, method: Callable[..., Any], source: str) -> None:
    if inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method):
        raise BackendSpecError(
            f"{source} implements the hook {hook!r} as 'async def'. Hooks are called in threads "
            "and never awaited. Write a plain function."
        )
    if inspect.isgeneratorfunction(method) and hook != _ITERATES:
        raise BackendSpecError(
            f"{source} implements the hook {hook!r} with 'yield', so calling it runs nothing. "
            f"Only {_ITERATES!r} returns an iterator; return a list."
        )


def _check_parameter(parameter: inspect.Parameter, known: list[str], what: str) -> None:
    name = parameter.name
    if parameter.kind not in _PASSED:
        raise BackendSpecError(
            f"{what} {str(parameter)!r}, which pluggy never passes. "
            f"Name plain arguments, of these: {', '.join(known)}."
        )
    if name not in known:
        raise BackendSpecError(
            f"{what} the argument {name!r}, which the hook does not have."
            f"{did_you_mean(name, known)} Its arguments: {', '.join(known)}."
        )
    if parameter.default is not inspect.Parameter.empty:
        raise BackendSpecError(
            f"{what} a default for {name!r}. pluggy never passes an argument with a default, "
            "so the default would always hold. Remove it."
        )


def _hooks() -> list[str]:
    return [name for name in dir(RegistrySpec) if hasattr(getattr(RegistrySpec, name), _SPEC_MARK)]


def _check_with_pluggy(probe: object, source: str) -> None:
    """Have the real thing look too: a newer pluggy may know more rules than this module."""
    manager = pluggy.PluginManager(PROJECT_NAME)
    manager.add_hookspecs(RegistrySpec)
    try:
        manager.register(probe)
        manager.check_pending()
    except pluggy.PluginValidationError as exc:
        raise BackendSpecError(f"{source} was refused by pluggy: {exc}") from exc
