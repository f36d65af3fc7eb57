"""The types that an option may have, and how a value of each is read from text."""

from __future__ import annotations

import datetime as dt
import enum
import math
import re
import types
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Union, get_args, get_origin

from enlist.durations import DURATION_FORM, duration_text, parse_duration
from enlist.errors import InvalidOptionError
from enlist.hosts import HostPort, Hosts, parse_hosts
from enlist.secret import HIDDEN, Secret

__all__ = ["Kind", "MisfitError", "kind_of", "shown_default"]

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}")
_BOOLEANS: Final = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}


class MisfitError(Exception):
    """A value does not fit the type of its option.

    Attributes:
        value: what may be shown of it.
    """

    def __init__(self, rule: str, value: object) -> None:
        """Give the rule it breaks, and what may be shown of the value."""
        super().__init__(rule)
        self.rule = rule
        self.value = value


@dataclass(frozen=True, slots=True)
class Kind:
    """One type of option.

    Attributes:
        form: what a value looks like, as the end of "must be ...".
        convert: text or a native value -> a native value; raises :class:`MisfitError`.
        secret: whether a value must never be shown.
    """

    form: str
    convert: Callable[[object], object]
    secret: bool = False


def kind_of(hint: object, default_port: int | None) -> Kind | None:
    """Return the kind that a resolved annotation stands for; None if there is no such kind."""
    if isinstance(hint, Hashable) and hint in _SIMPLE:
        return _SIMPLE[hint]
    if hint == Hosts:
        return _hosts_kind(default_port)
    if get_origin(hint) is Literal:
        return _choice_kind({str(choice): choice for choice in get_args(hint)})
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _choice_kind({str(member.value): member for member in hint})
    if get_origin(hint) in {types.UnionType, Union}:
        return _optional_kind(get_args(hint), default_port)
    return None


def shown_default(default: object) -> str:
    """Return a default as a user would write it; empty for None, nothing and secrets."""
    if default is None or isinstance(default, Secret):
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, dt.timedelta):
        return duration_text(default)
    if isinstance(default, enum.Enum):
        return str(default.value)
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return str(default)


def _converter(
    form: str, native: type | tuple[type, ...], from_text: Callable[[str], object | None]
) -> Callable[[object], object]:
    """Return a function that takes native values as they are and reads text."""

    def convert(given: object) -> object:
        # bool is a subclass of int, and a flag is no number.
        if isinstance(given, native) and (native is bool or not isinstance(given, bool)):
            return given
        value = from_text(given) if isinstance(given, str) else None
        if value is None:
            raise MisfitError(f"must be {form}", given)
        return value

    return convert


def _integer(text: str) -> int | None:
    return int(text) if _INTEGER.fullmatch(text.strip()) else None


def _number(given: object) -> float:
    rule = "must be a number such as '0.5'"
    if isinstance(given, bool) or not isinstance(given, int | float | str):
        raise MisfitError(rule, given)
    try:
        number = float(given)
    except (ValueError, OverflowError):
        raise MisfitError(rule, given) from None
    if not math.isfinite(number):
        raise MisfitError(rule, given)
    return number


def _duration(given: object) -> dt.timedelta:
    if isinstance(given, dt.timedelta):
        if given < dt.timedelta(0):
            raise MisfitError("must not be negative", given)
        return given
    duration = parse_duration(given) if isinstance(given, str) else None
    if duration is None:
        native = "a timedelta such as timedelta(seconds=15), or text such as '15s'"
        form = DURATION_FORM if isinstance(given, str) else native
        raise MisfitError(f"must be {form}", given)
    return duration


def _path(given: object) -> Path:
    if not isinstance(given, str | Path) or given == "" or "\0" in str(given):
        raise MisfitError("must be a path such as '/etc/enlist/ca.pem'", given)
    try:
        return Path(given).expanduser()
    except RuntimeError:
        raise MisfitError("begins with '~' and that user has no home folder", given) from None


def _secret(given: object) -> Secret:
    if isinstance(given, Secret):
        return given
    if not isinstance(given, str):
        raise MisfitError("must be text or a Secret", HIDDEN)
    return Secret(given)


def _texts(given: object) -> tuple[str, ...]:
    pieces = given.split(",") if isinstance(given, str) else given
    if not isinstance(pieces, list | tuple) or not all(isinstance(one, str) for one in pieces):
        raise MisfitError("must be text with commas, as in 'a,b', or a list of text", given)
    return tuple(stripped for piece in pieces if (stripped := piece.strip()))


def _hosts_kind(default_port: int | None) -> Kind:
    example = "host:port" if default_port is None else f"host:{default_port}"
    form = f"one or more servers such as '{example}', with commas between them"

    def convert(given: object) -> Hosts:
        if not isinstance(given, str | HostPort | list | tuple):
            raise MisfitError(f"must be {form}", given)
        try:
            return parse_hosts(given, default_port=default_port)
        except InvalidOptionError as exc:
            raise MisfitError(exc.rule, exc.value) from None

    return Kind(form, convert)


def _choice_kind(choices: Mapping[str, object]) -> Kind:
    form = f"one of {', '.join(map(repr, choices))}"

    def convert(given: object) -> object:
        for text, choice in choices.items():
            if given is choice or (isinstance(given, str) and given == text):
                return choice
        raise MisfitError(f"must be {form}", given)

    return Kind(form, convert)


def _optional_kind(members: tuple[Any, ...], default_port: int | None) -> Kind | None:
    others = [member for member in members if member is not types.NoneType]
    inner = kind_of(others[0], default_port) if len(others) == 1 else None
    if inner is None:
        return None
    convert = inner.convert
    return Kind(inner.form, lambda given: None if given is None else convert(given), inner.secret)


_TEXT_FORM: Final = "text"
_INTEGER_FORM: Final = "a whole number such as '3'"
_BOOLEAN_FORM: Final = "'true' or 'false'"
_SIMPLE: Final[Mapping[Hashable, Kind]] = {
    str: Kind(_TEXT_FORM, _converter(_TEXT_FORM, str, str)),
    int: Kind(_INTEGER_FORM, _converter(_INTEGER_FORM, int, _integer)),
    float: Kind("a number such as '0.5'", _number),
    bool: Kind(
        _BOOLEAN_FORM,
        _converter(_BOOLEAN_FORM, bool, lambda text: _BOOLEANS.get(text.strip().lower())),
    ),
    dt.timedelta: Kind(DURATION_FORM, _duration),
    Path: Kind("a path such as '/etc/enlist/ca.pem'", _path),
    tuple[str, ...]: Kind("a list with commas, such as 'a,b'", _texts),
    Secret: Kind("text that is kept secret", _secret, secret=True),
}
