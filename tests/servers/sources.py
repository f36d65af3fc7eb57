"""Read from the machine's own apt sources which mirror of Debian it uses."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

APT_FOLDER: Final = Path("/etc/apt")
MIRROR_VARIABLE: Final = "ENLIST_DEBIAN_MIRROR"
# Security, updates and backports live on hosts or in suites that lack the releases themselves.
_RELEASES: Final = frozenset(
    (
        *("bullseye", "bookworm", "trixie", "forky", "duke", "sid"),
        *("oldoldstable", "oldstable", "stable", "testing", "unstable"),
    )
)


@dataclass(frozen=True, slots=True)
class Source:
    """One entry of apt's sources, as far as the choice of a mirror needs it."""

    types: tuple[str, ...]
    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]

    @property
    def is_debian_archive(self) -> bool:
        """Whether this is a mirror of a Debian release's main packages."""
        return (
            "deb" in self.types
            and "main" in self.components
            and not _RELEASES.isdisjoint(self.suites)
        )


def debian_mirrors(
    environ: Mapping[str, str] = os.environ, folder: Path = APT_FOLDER
) -> tuple[str, ...]:
    """Return the mirrors of Debian's archive that this machine knows, the chosen one first.

    A `mirror+file:` URI is returned as it stands: apt reads such a list itself.

    Args:
        environ: `ENLIST_DEBIAN_MIRROR` names a mirror for machines that are no Debian.
        folder: apt's configuration folder.
    """
    named = environ.get(MIRROR_VARIABLE, "").strip()
    found = [named] if named else []
    for source in _sources(folder):
        if source.is_debian_archive:
            found += source.uris
    return tuple(dict.fromkeys(found))


def _sources(folder: Path) -> Iterator[Source]:
    parts = folder / "sources.list.d"
    for path in (folder / "sources.list", *sorted(parts.glob("*.list"))):
        if path.is_file():
            yield from _one_line_sources(path.read_text(encoding="utf-8", errors="replace"))
    for path in sorted(parts.glob("*.sources")):
        yield from _deb822_sources(path.read_text(encoding="utf-8", errors="replace"))


def _one_line_sources(text: str) -> Iterator[Source]:
    """Read lines such as `deb [signed-by=/k.gpg] URI SUITE COMPONENT ...`."""
    for line in text.splitlines():
        words = _without_options(line.partition("#")[0]).split()
        if len(words) >= 3:
            kind, uri, suite, *components = words
            yield Source((kind,), (uri,), (suite,), tuple(components))


def _without_options(line: str) -> str:
    before, bracket, rest = line.partition("[")
    return before + rest.partition("]")[2] if bracket else line


def _deb822_sources(text: str) -> Iterator[Source]:
    """Read stanzas of `Field: value`, continued on lines that begin with a space."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for stanza in "\n".join(lines).split("\n\n"):
        fields = _fields(stanza)
        if fields.get("enabled", ("yes",))[:1] != ("no",):
            yield Source(
                fields.get("types", ()),
                fields.get("uris", ()),
                fields.get("suites", ()),
                fields.get("components", ()),
            )


def _fields(stanza: str) -> dict[str, tuple[str, ...]]:
    fields: dict[str, tuple[str, ...]] = {}
    name = ""
    for line in stanza.splitlines():
        if line[:1].isspace():
            fields[name] = (*fields.get(name, ()), *line.split())
        else:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = tuple(value.split())
    return fields
