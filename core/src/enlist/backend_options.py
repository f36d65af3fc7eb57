"""Registry URL, keywords and environment become the typed options of one plugin.

A plugin describes its options as a dataclass, and never parses anything itself::

    @dataclass(frozen=True, kw_only=True, slots=True)
    class EtcdOptions:
        hosts: Hosts = option("127.0.0.1:2379", help="the servers", url="hosts", default_port=2379)
        prefix: str = option("kitex", help="before every key", url="path")
        ttl: timedelta = option(timedelta(seconds=15), help="how long a record outlives us")
        password: Secret = option(Secret(), help="the password of the user")
        password_file: Path | None = option(None, help="a file that holds the password")

A field is a str, int, float, bool, timedelta, Path, Secret, Hosts, tuple[str, ...], Enum, a
Literal of texts, or one of these or None. Its ``__post_init__`` may check more, and raises
:class:`~enlist.errors.InvalidOptionError` alone.

One value wins for each option: the keyword, else the URL, else ``ENLIST_OPT_<BACKEND>_<OPTION>``,
else the first of the option's other variables that is set, else the default. An empty variable
counts as not set. A Secret named ``x`` and a path named ``x_file`` belong together: the file is
what a URL's password is pointed to, the stronger of the two wins as if they were one option, and
two that are equally strong are refused. Secrets do not stand in a URL.

Everything that a plugin needs for its options is imported from here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from enlist.choosing.option_fields import Option, option, options_of, variable_prefix
from enlist.choosing.option_kinds import MisfitError
from enlist.choosing.target import DEFAULT_REGISTRY, REGISTRY_VARIABLE, Target, target_from
from enlist.durations import duration_text, parse_duration
from enlist.errors import BackendSpecError, EnlistError, InvalidOptionError
from enlist.hosts import HostPort, Hosts, hosts_text, parse_hosts
from enlist.secret import HIDDEN, Secret, read_secret
from enlist.suggestions import did_you_mean

__all__ = [
    "DEFAULT_REGISTRY",
    "REGISTRY_VARIABLE",
    "HostPort",
    "Hosts",
    "Option",
    "Secret",
    "Target",
    "duration_text",
    "hosts_text",
    "option",
    "options_of",
    "parse_duration",
    "parse_hosts",
    "read_options",
    "read_secret",
    "target_from",
]

_USERNAME: Final = "username"
_FILE_SUFFIX: Final = "_file"
_Options = TypeVar("_Options")
_log = logging.getLogger(__name__)


def read_options(
    options_class: type[_Options],
    target: Target,
    keywords: Mapping[str, object],
    environ: Mapping[str, str],
) -> _Options:
    """Return the options of one plugin, each checked against its type.

    An unknown ``ENLIST_OPT_*`` variable of this backend is logged as a warning and no error: an
    operator may set it for a newer version of the plugin, and a log is where operators look.

    Args:
        options_class: the plugin's ``Options``.
        target: the registry that was asked for.
        keywords: the caller's options, as native values or text.
        environ: the environment, read now and not kept.

    Raises:
        InvalidOptionError: an option is unknown, missing, given twice in the URL, a secret in
            the URL, or does not fit its type; no message shows a secret.
        BackendSpecError: the plugin's options class is not usable.
    """
    return _Reader(target.name, {one.name: one for one in options_of(options_class)}).read(
        options_class, target, keywords, environ
    )


@dataclass(frozen=True, slots=True)
class _Given:
    """A value and where it came from, as the end of a message."""

    value: object
    where: str = ""


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads the options of one backend."""

    backend: str
    options: Mapping[str, Option]

    def read(
        self,
        options_class: type[_Options],
        target: Target,
        keywords: Mapping[str, object],
        environ: Mapping[str, str],
    ) -> _Options:
        """Collect what was given, the weakest first, convert what is left and build."""
        self._warn_of_unknown(environ)
        given: dict[str, _Given] = {}
        for stronger in (
            dict(self._from_variables(environ, lambda one: one.aliases_env)),
            dict(self._from_variables(environ, lambda one: (one.variable(self.backend),))),
            self._from_url(target),
            dict(self._from_keywords(keywords)),
        ):
            for name in stronger:
                # A secret and the file that holds it are two ways to say one thing.
                given.pop(_other_way(name), None)
            given.update(stronger)
        values = {name: self._converted(name, one) for name, one in given.items()}
        self._check_required(values)
        self._check_secret_files(values)
        return self._built(options_class, values)

    def _from_variables(
        self, environ: Mapping[str, str], variables_of: Callable[[Option], tuple[str, ...]]
    ) -> Iterator[tuple[str, _Given]]:
        for one in self.options.values():
            for variable in variables_of(one):
                if value := environ.get(variable):
                    yield one.name, _Given(value, f" (from {variable})")
                    break

    def _warn_of_unknown(self, environ: Mapping[str, str]) -> None:
        prefix = variable_prefix(self.backend)
        known = {one.variable(self.backend) for one in self.options.values()}
        for variable in sorted(environ):
            if variable.startswith(prefix) and variable not in known:
                self._warn_of(variable, prefix)

    def _warn_of(self, variable: str, prefix: str) -> None:
        name = variable.removeprefix(prefix).lower()
        suggestion = did_you_mean(name, self.options)
        _log.warning(
            "%s is ignored: backend %r has no option %r.%s",
            variable,
            self.backend,
            name,
            suggestion,
        )

    def _from_url(self, target: Target) -> dict[str, _Given]:
        self._check_form(target)
        pairs = [*self._url_parts(target), *target.query]
        given: dict[str, _Given] = {}
        for name, value in pairs:
            option_ = self._known(name)
            if option_.secret:
                raise InvalidOptionError(name, HIDDEN, self._no_password_rule())
            if name in given:
                raise InvalidOptionError(name, value, "is given twice in the registry URL")
            given[name] = _Given(value, " (from the registry URL)")
        return given

    def _check_form(self, target: Target) -> None:
        hidden = f"{target.name}:{HIDDEN}"
        if target.has_password:
            raise InvalidOptionError(target.source, hidden, self._no_password_rule())
        if target.username and _USERNAME not in self.options:
            rule = f"names a user before '@', and backend {self.backend!r} has no option 'username'"
            raise InvalidOptionError(target.source, hidden, rule)
        takes_hosts = self._part("hosts") is not None
        if target.hosts and not takes_hosts:
            rule = f"names hosts, and backend {self.backend!r} has none; write {self._form()}"
            raise InvalidOptionError(target.source, hidden, rule)
        if target.path and (self._part("path") is None or (takes_hosts and not target.is_url)):
            raise InvalidOptionError(target.source, hidden, f"must be written {self._form()}")

    def _url_parts(self, target: Target) -> Iterator[tuple[str, str]]:
        hosts, path = self._part("hosts"), self._part("path")
        if hosts is not None and target.hosts:
            yield hosts, target.hosts
        if path is not None and target.path:
            # Without hosts "//" only announces the path, and the slash after it is the root.
            yield path, f"/{target.path}" if target.is_url and hosts is None else target.path
        if target.username:
            yield _USERNAME, target.username

    def _part(self, part: str) -> str | None:
        return next((one.name for one in self.options.values() if one.url == part), None)

    def _form(self) -> str:
        path = self._part("path")
        if self._part("hosts") is not None:
            return f"'{self.backend}://HOST:PORT{'/' if path else ''}{(path or '').upper()}'"
        return f"'{self.backend}:{path.upper()}'" if path else f"'{self.backend}'"

    def _no_password_rule(self) -> str:
        secrets = [one for one in self.options.values() if one.secret]
        if not secrets:
            return f"must not hold a password; backend {self.backend!r} has none"
        files = [
            one.name + _FILE_SUFFIX for one in secrets if one.name + _FILE_SUFFIX in self.options
        ]
        variables = [one.variable(self.backend) for one in secrets]
        ways = " or ".join([*files, *variables])
        return f"a password must not stand in a URL, which ends up in logs; use {ways}"

    def _from_keywords(self, keywords: Mapping[str, object]) -> Iterator[tuple[str, _Given]]:
        for name, value in keywords.items():
            yield self._known(name).name, _Given(value)

    def _known(self, name: str) -> Option:
        known = self.options.get(name)
        if known is None:
            listed = "; ".join(
                f"{one.name} ({one.help})" if one.help else one.name
                for one in self.options.values()
            )
            rule = f"backend {self.backend!r} has no such option.{did_you_mean(name, self.options)}"
            # The value may be a secret under a misspelt name.
            raise InvalidOptionError(name, HIDDEN, f"{rule} Its options: {listed or 'none'}")
        return known

    def _converted(self, name: str, given: _Given) -> object:
        try:
            return self.options[name].kind.convert(given.value)
        except MisfitError as exc:
            misfit = exc
        # Outside of the handler, so that no inner exception is chained to the message.
        raise InvalidOptionError(name, misfit.value, f"{misfit.rule}{given.where}")

    def _check_required(self, values: Mapping[str, object]) -> None:
        for one in self.options.values():
            if one.required and one.name not in values:
                rule = (
                    f"is required: {one.form}. Set it as a keyword or {one.variable(self.backend)}"
                )
                raise InvalidOptionError(one.name, None, rule)

    def _check_secret_files(self, values: Mapping[str, object]) -> None:
        for one in self.options.values():
            file = one.name + _FILE_SUFFIX
            if one.secret and values.get(one.name) and values.get(file) is not None:
                rule = f"{one.name} is given too; give one of the two"
                raise InvalidOptionError(file, str(values[file]), rule)

    def _built(self, options_class: type[_Options], values: Mapping[str, object]) -> _Options:
        try:
            return options_class(**values)
        except EnlistError:
            raise
        except Exception as exc:
            raise BackendSpecError(
                f"{options_class.__qualname__} of backend {self.backend!r} raised "
                f"{type(exc).__name__}: {exc}. It may raise InvalidOptionError only; "
                "report this to the plugin's author."
            ) from exc


def _other_way(name: str) -> str:
    """Return the name of a secret's file for the secret, and the other way round."""
    if name.endswith(_FILE_SUFFIX):
        return name.removesuffix(_FILE_SUFFIX)
    return name + _FILE_SUFFIX
