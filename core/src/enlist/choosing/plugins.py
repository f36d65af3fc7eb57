"""From a name to a backend or extension: what is installed, and the one that is loaded.

A backend is an entry point in the group ``enlist.registries``, also ``local``; an extension is
one in ``enlist.extensions``. Its name is what users type. Only this module reads the metadata of
installed distributions, at each call and never at import, and only what is chosen is imported.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from enlist.choosing.plugin_checks import check_class
from enlist.errors import (
    BackendConflictError,
    BackendLoadError,
    BackendSpecError,
    UnknownBackendError,
    shown,
)
from enlist.suggestions import nearest

if TYPE_CHECKING:
    import importlib.metadata

__all__ = [
    "EXTENSIONS",
    "GROUP",
    "InstalledPlugin",
    "LoadedPlugin",
    "installed",
    "load",
    "load_extension",
]

GROUP: Final = "enlist.registries"
"""The entry-point group of backends."""

EXTENSIONS: Final = "enlist.extensions"
"""The entry-point group of extensions."""

_KINDS: Final = {GROUP: "backend", EXTENSIONS: "extension"}

# Plain data, for our own plugins only: a guessed distribution name invites a squatter.
_INSTALL_HINTS: Final = {
    "consul": "enlist-consul",
    "etcd": "enlist-etcd",
    "zookeeper": "enlist-zookeeper",
}
_UNKNOWN: Final = "unknown"
_NAME: Final = re.compile(r"[a-z][a-z0-9]*")
_NAME_RULE: Final = "a name is a lower-case letter, then lower-case letters and digits"


@dataclass(frozen=True, slots=True)
class InstalledPlugin:
    """What an installed distribution declares; nothing of it was imported.

    Attributes:
        name: what users type.
        distribution: the name of the distribution, as its author spells it.
        version: the version of the distribution.
    """

    name: str
    distribution: str
    version: str

    @property
    def source(self) -> str:
        """The distribution and its version, for people: "enlist-etcd 1.4.0"."""
        return f"{self.distribution} {self.version}"


@dataclass(frozen=True, slots=True)
class LoadedPlugin:
    """A backend whose class was imported and fits the Registry spec.

    Attributes:
        name: what users type.
        distribution: the name of the distribution.
        version: the version of the distribution.
        cls: the class; it has ``Options`` and the hooks ``register`` and ``deregister``.
    """

    name: str
    distribution: str
    version: str
    cls: type[Any]


@dataclass(frozen=True, slots=True)
class _Declaration:
    """One line of a distribution's entry points."""

    group: str
    plugin: InstalledPlugin
    entry_point: importlib.metadata.EntryPoint

    def __str__(self) -> str:
        """Say who declares what, for an error."""
        return f"{self.plugin.source} ({self.entry_point.value})"

    @property
    def title(self) -> str:
        """How an error about it begins: "Backend 'etcd' (enlist-etcd 1.4.0)"."""
        kind = _KINDS[self.group].capitalize()
        return f"{kind} {shown(self.plugin.name)} ({self.plugin.source})"


def installed() -> tuple[InstalledPlugin, ...]:
    """Return every backend that is installed, by name. Imports none of them.

    A name that two distributions claim is there twice; :func:`load` refuses it.

    Raises:
        BackendLoadError: the metadata of some installed distribution cannot be read.
    """
    return tuple(declaration.plugin for declaration in _declarations(GROUP))


def load(name: str) -> LoadedPlugin:
    """Import the backend of that name and check it against the Registry spec.

    A second call returns the same class, which Python imports once.

    Args:
        name: the exact name; nothing is made lower case or stripped.

    Raises:
        UnknownBackendError: no installed distribution provides it.
        BackendConflictError: two do.
        BackendLoadError: its import failed; the cause is chained.
        BackendSpecError: its name or its class breaks the Registry spec.
    """
    declaration = _chosen(GROUP, name)
    plugin = declaration.plugin
    cls = check_class(_imported(declaration), declaration.title, plugin.distribution)
    return LoadedPlugin(name, plugin.distribution, plugin.version, cls)


def load_extension(name: str) -> object:
    """Return the extension of that name: an object with hooks of ExtensionSpec.

    Its entry point names a class, which is called without arguments at each load, or an object
    or module, which is returned as it is. Its hooks are checked where it is used.

    Args:
        name: the exact name.

    Raises:
        UnknownBackendError: no installed distribution provides it.
        BackendConflictError: two do.
        BackendLoadError: its import or its class failed; the cause is chained.
        BackendSpecError: its name is not allowed.
    """
    declaration = _chosen(EXTENSIONS, name)
    extension = _imported(declaration)
    if not isinstance(extension, type):
        return extension
    try:
        return extension()
    except Exception as exc:  # whatever its constructor raises
        raise BackendLoadError(
            f"{declaration.title} cannot be made: {type(exc).__name__}: {exc}. Its class is "
            "called without arguments; where it needs some, pass an object of it."
        ) from exc


def _chosen(group: str, name: str) -> _Declaration:
    declarations = _declarations(group)
    found = [one for one in declarations if one.plugin.name == name]
    if not found:
        raise UnknownBackendError(_unknown(group, name, [one.plugin for one in declarations]))
    if len(found) > 1:
        raise BackendConflictError(
            f"{_KINDS[group].capitalize()} {shown(name)} is claimed by "
            f"{' and by '.join(map(str, found))}. "
            "Neither is used. Uninstall the one that you do not want."
        )
    if not _NAME.fullmatch(name):
        raise BackendSpecError(
            f"{found[0].title} has a name that is not allowed: {_NAME_RULE}. "
            f"Ask the author of {found[0].plugin.distribution} to rename its entry point."
        )
    return found[0]


def _declarations(group: str) -> list[_Declaration]:
    """Return what is declared, each distribution once although it may be found twice.

    The standard library gives the first of equally named distributions on the path. What is
    left is one with a folder name that is not its name: equal name and value are one plugin.
    """
    unique: dict[tuple[str, str, str], _Declaration] = {}
    for entry_point in _entry_points(group):
        distribution, version = _origin(entry_point.dist)
        key = (entry_point.name, _normalised(distribution), entry_point.value)
        plugin = InstalledPlugin(entry_point.name, distribution, version)
        unique.setdefault(key, _Declaration(group, plugin, entry_point))
    return sorted(unique.values(), key=lambda one: (one.plugin.name, one.plugin.source))


def _entry_points(group: str) -> importlib.metadata.EntryPoints:
    import importlib.metadata  # noqa: PLC0415 - a third of the time that importing enlist took

    try:
        return importlib.metadata.entry_points(group=group)
    except Exception as exc:  # a foreign file decides what is raised here
        raise BackendLoadError(
            f"The entry points of the installed distributions cannot be read: {exc}. "
            f"Reinstall or remove {' and '.join(_unreadable()) or 'the one that is damaged'}."
        ) from exc


def _unreadable() -> list[str]:
    """Return the distributions, with versions, whose entry points cannot be read."""
    import importlib.metadata  # noqa: PLC0415 - as above

    found = []
    for distribution in importlib.metadata.distributions():
        try:
            tuple(distribution.entry_points)
        except Exception:  # noqa: BLE001 - the failure is being reported; this names its place
            found.append(" ".join(_origin(distribution)))
    return found


def _origin(distribution: importlib.metadata.Distribution | None) -> tuple[str, str]:
    """Return name and version, which an interrupted uninstall may have taken away."""
    metadata = dict(distribution.metadata.json if distribution else {})
    return str(metadata.get("name") or _UNKNOWN), str(metadata.get("version") or _UNKNOWN)


def _normalised(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _imported(declaration: _Declaration) -> object:
    try:
        return declaration.entry_point.load()
    except (Exception, SystemExit) as exc:  # whatever a plugin's modules raise at import
        raise BackendLoadError(
            f"{declaration.title} failed to import: {type(exc).__name__}: {exc}. "
            f"Reinstall {declaration.plugin.distribution} with all that it depends on "
            "('pip check' names what is missing), or tell its author."
        ) from exc


def _unknown(group: str, name: str, plugins: list[InstalledPlugin]) -> str:
    names = {plugin.name for plugin in plugins}
    listed = ", ".join(f"{plugin.name} ({plugin.source})" for plugin in plugins)
    rule = "" if _NAME.fullmatch(name) else f": {_NAME_RULE}"
    hints = _INSTALL_HINTS if group == GROUP else {}
    meant = name if name in hints else nearest(name, names | hints.keys())
    if meant is None:
        step = "Install the distribution that provides it, or pass it as an object."
        if group == GROUP:
            step = "Install the distribution that provides it."
    elif meant in names:
        step = f"Did you mean {meant!r}?"
    else:
        question = "" if meant == name else f"Did you mean {meant!r}? "
        step = f"{question}Install it: pip install {hints[meant]}"
    return f"No {_KINDS[group]} {shown(name)}{rule}. Installed: {listed or 'none'}. {step}"
