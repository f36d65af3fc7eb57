"""What ``registry="etcd://10.0.0.1:2379/prefix?ttl=30"`` says, taken apart and not yet judged.

Three forms: ``NAME``; ``NAME:PATH`` for a backend without servers, such as ``local:/srv/run``;
and ``NAME://HOSTS/PATH``. Each may end in ``?option=value&option=value``. Percent-encoding is
undone in every part, and a plus sign is a plus sign.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from enlist.errors import InvalidOptionError
from enlist.secret import HIDDEN

__all__ = ["DEFAULT_REGISTRY", "REGISTRY_VARIABLE", "Target", "target_from"]

REGISTRY_VARIABLE: Final = "ENLIST_REGISTRY"
DEFAULT_REGISTRY: Final = "local"

_FORM: Final = (
    "must be a name such as 'etcd', a path such as 'local:/srv/run', "
    "or a URL such as 'etcd://10.0.0.1:2379/prefix?ttl=30'"
)
_NAME: Final = re.compile(r"[^:/?#@\s]+")
_OPTION_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Target:
    """A registry that was asked for: which backend, where, and the options in its URL.

    ``str`` is fit for logs: it leaves the options out. A password is dropped where it is read;
    that there was one is remembered, for the error of ``read_options``.

    Attributes:
        name: the name of the backend, as it was written.
        hosts: the text of the list of servers; empty when there is none.
        path: the path; empty when there is none. In a URL without the slash that begins it.
        username: what stands before the "@" of a URL.
        has_password: whether a password stood there.
        is_url: whether it was written with "//".
        query: the options, in order.
        source: what an error calls it: "registry" or the environment variable.
    """

    name: str
    hosts: str = ""
    path: str = ""
    username: str = ""
    has_password: bool = False
    is_url: bool = False
    query: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    source: str = "registry"

    @classmethod
    def parse(cls, text: str, *, source: str = "registry") -> Target:
        """Take a text apart.

        Args:
            text: one of the three forms.
            source: what to call it in an error.

        Raises:
            InvalidOptionError: it has none of the forms. The text is not repeated in the
                message, since there is no telling what in it is a password.
        """
        if not isinstance(text, str):
            raise InvalidOptionError(source, type(text).__name__, _FORM)
        head, question_mark, query_text = text.partition("?")
        name, colon, rest = head.partition(":")
        if not _NAME.fullmatch(name):
            raise InvalidOptionError(source, HIDDEN, _FORM)
        if colon and rest.startswith("//"):
            return _from_url(name, rest[2:], query_text, source)
        path = _decoded(rest, source, name)
        query = _parse_query(query_text, source, name) if question_mark else ()
        return cls(name=name, path=path, query=query, source=source)

    def __str__(self) -> str:
        """Return what may be logged: everything but the options and the user."""
        if self.is_url:
            return f"{self.name}://{self.hosts}/{self.path}".removesuffix("/")
        return f"{self.name}:{self.path}" if self.path else self.name


def target_from(registry: str | None, environ: Mapping[str, str]) -> Target:
    """Return what ``registry`` asks for, else ``ENLIST_REGISTRY``, else ``local``.

    Args:
        registry: a name or URL, or None to leave it to the environment.
        environ: the environment; an empty variable counts as not set.

    Raises:
        InvalidOptionError: the text has no known form.
    """
    if registry is not None:
        return Target.parse(registry)
    if from_environment := environ.get(REGISTRY_VARIABLE):
        return Target.parse(from_environment, source=REGISTRY_VARIABLE)
    return Target.parse(DEFAULT_REGISTRY)


def _from_url(name: str, rest: str, query_text: str, source: str) -> Target:
    hidden = f"{name}://{HIDDEN}"
    authority, _, path = rest.partition("/")
    # A password with "/", "?" or "#" in it ends the hosts too early: refuse rather than guess.
    if "#" in rest or "#" in query_text:
        raise InvalidOptionError(source, hidden, "must not contain '#'; write %23 if you mean it")
    if "@" in path or "@" in query_text:
        rule = "must not contain '@' after the hosts; write %40 if you mean it, and no password"
        raise InvalidOptionError(source, hidden, rule)
    userinfo, _, hosts = authority.rpartition("@")
    username, colon, _ = userinfo.partition(":")
    return Target(
        name=name,
        hosts=_decoded(hosts, source, name),
        path=_decoded(path, source, name),
        username=_decoded(username, source, name),
        has_password=bool(colon),
        is_url=True,
        query=_parse_query(query_text, source, name),
        source=source,
    )


def _parse_query(text: str, source: str, name: str) -> tuple[tuple[str, str], ...]:
    pairs = []
    for piece in filter(None, text.split("&")):
        option, equals, value = piece.partition("=")
        if not equals or not _OPTION_NAME.fullmatch(option):
            rule = "must write each option after '?' as option=value, with '&' between them"
            raise InvalidOptionError(source, f"{name}:{HIDDEN}", rule)
        pairs.append((option, _decoded(value, source, name)))
    return tuple(pairs)


def _decoded(text: str, source: str, name: str) -> str:
    decoded = _unquoted(text)
    if decoded is None:  # outside of the handler: a UnicodeDecodeError carries the text
        rule = "must percent-encode UTF-8; write %25 for a percent sign"
        raise InvalidOptionError(source, f"{name}:{HIDDEN}", rule)
    return decoded


def _unquoted(text: str) -> str | None:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        return None
