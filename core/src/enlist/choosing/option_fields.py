"""How a plugin declares an option, and what is known about each one that it declared."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, TypeVar, overload

from enlist.choosing.option_kinds import Kind, kind_of, shown_default
from enlist.errors import BackendSpecError
from enlist.hosts import Hosts, parse_hosts

__all__ = ["Option", "UrlPart", "option", "options_of", "variable_prefix"]

UrlPart: TypeAlias = Literal["hosts", "path"]

_METADATA: Final = "enlist"
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Declared:
    """What ``option`` keeps in the metadata of a dataclass field."""

    help: str = ""
    url: UrlPart | None = None
    default_port: int | None = None
    aliases_env: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a plugin, for reading it and for telling people about it.

    Attributes:
        name: as a keyword, in a URL and, in upper case, in the environment.
        help: what it is for.
        form: what a value looks like, as the end of "must be ...".
        default: as a user would write it; empty for nothing and for secrets.
        required: whether there is no default.
        secret: whether it is never shown and never stands in a URL.
        url: the part of a URL that it is read from, beside ``?name=value``.
        aliases_env: other environment variables that are understood.
        kind: how a value is read.
    """

    name: str
    help: str
    form: str
    default: str
    required: bool
    secret: bool
    url: UrlPart | None
    aliases_env: tuple[str, ...]
    kind: Kind = dataclasses.field(repr=False)

    def variable(self, backend: str) -> str:
        """Return the environment variable of this option for the backend of that name."""
        return f"{variable_prefix(backend)}{self.name.upper()}"


def variable_prefix(backend: str) -> str:
    """Return what the environment variables of a backend's options begin with."""
    return f"ENLIST_OPT_{backend.upper()}_"


@overload
def option(
    default: str,
    *,
    help: str,
    url: UrlPart | None = None,
    default_port: int,
    aliases_env: tuple[str, ...] = (),
) -> Hosts: ...
@overload
def option(
    default: _T,
    *,
    help: str,
    url: UrlPart | None = None,
    aliases_env: tuple[str, ...] = (),
) -> _T: ...
@overload
def option(
    *,
    help: str,
    url: UrlPart | None = None,
    default_port: int | None = None,
    aliases_env: tuple[str, ...] = (),
) -> Any: ...  # noqa: ANN401 - the field's annotation says the type; there is no default to take it from
def option(
    default: object = dataclasses.MISSING,
    *,
    help: str,  # noqa: A002 - argparse and click call it so, and the builtin is not for programs
    url: UrlPart | None = None,
    default_port: int | None = None,
    aliases_env: tuple[str, ...] = (),
) -> object:
    """Declare one field of an options dataclass.

    Args:
        default: a value of the field's type; for servers (where ``default_port`` is given) their
            text. Without one the option is required.
        help: a few words for error messages and the command line: what is it for?
        url: "hosts" or "path" if that part of a registry URL means this option.
        default_port: for servers, the port of one that names none.
        aliases_env: other environment variables to understand, the strongest first; all are
            weaker than ``ENLIST_OPT_<BACKEND>_<OPTION>``.

    Raises:
        InvalidOptionError: the default is text that lists no servers.
    """
    if default_port is not None and isinstance(default, str):
        default = parse_hosts(default, default_port=default_port)
    declared = _Declared(help, url, default_port, aliases_env)
    metadata = {_METADATA: declared}
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def options_of(options_class: type[Any]) -> tuple[Option, ...]:
    """Return the options that a dataclass declares, in its order.

    Raises:
        BackendSpecError: it is no dataclass, a field has a type that no option can have, or an
            annotation names what does not exist.
    """
    if not (isinstance(options_class, type) and dataclasses.is_dataclass(options_class)):
        raise BackendSpecError("Options must be a dataclass.")
    try:
        hints = typing.get_type_hints(options_class)
    except (NameError, TypeError) as exc:
        raise BackendSpecError(
            f"The types of {options_class.__qualname__} cannot be found out: {exc}. "
            "Import them at module level, not under TYPE_CHECKING."
        ) from exc
    fields = [field for field in dataclasses.fields(options_class) if field.init]
    return tuple(_described(field, hints) for field in fields)


def _described(field: dataclasses.Field[Any], hints: Mapping[str, object]) -> Option:
    declared = field.metadata.get(_METADATA, _Declared())
    hint = hints[field.name]
    kind = kind_of(hint, declared.default_port)
    if kind is None:
        raise BackendSpecError(
            f"Option {field.name!r} has the type {hint}, which no option can have. Use str, int, "
            "float, bool, timedelta, Path, Secret, Hosts, tuple[str, ...], an Enum, a Literal, "
            "or one of these or None."
        )
    required = field.default is field.default_factory is dataclasses.MISSING
    return Option(
        name=field.name,
        help=declared.help,
        form=kind.form,
        default="" if required else shown_default(field.default),
        required=required,
        secret=kind.secret,
        url=declared.url,
        aliases_env=declared.aliases_env,
        kind=kind,
    )
