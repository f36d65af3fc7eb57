"""Download packages of Debian and unpack them into a folder; nothing is installed.

apt does the work with a private configuration: its own lists, cache and status, the
suite that is asked for on the mirror that the machine uses anyway, signatures checked
against Debian's archive keys. Of the machine's configuration only what concerns the way
to the network (proxies, time limits, ...) is taken over. No root, no dpkg database.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.servers.sources import MIRROR_VARIABLE, debian_mirrors

KEYRING_VARIABLE: Final = "ENLIST_DEBIAN_KEYRING"
_KEYRINGS: Final = (
    Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
    Path("/usr/share/keyrings/debian-archive-keyring.pgp"),
)
_TOOLS: Final = ("apt-get", "apt-cache", "apt-config", "dpkg")
_NETWORK_SETTING: Final = re.compile(r"Acquire::(https?|ftp|Retries|ForceIPv[46])\b")
_MAJOR_MINOR: Final = re.compile(r"(?:\d+:)?(\d+\.\d+)")

Say = Callable[[str], None]


class DownloadError(Exception):
    """Debian's packages could not be had; the message says why."""


@dataclass(frozen=True, slots=True)
class Package:
    """A package by name, and the version that the tests were made with."""

    name: str
    version: str

    def __str__(self) -> str:
        """Spell it as apt does."""
        return f"{self.name}={self.version}"


class Suite:
    """One suite of Debian, asked through a private apt.

    Args:
        name: Such as "trixie".
        folder: For apt's lists and what it downloads; the caller removes it.
        say: Told about progress, one line at a time.

    Raises:
        DownloadError: If apt, its keys or a mirror are missing, or the lists cannot be had.
    """

    def __init__(self, name: str, folder: Path, say: Say) -> None:
        self._name = name
        self._folder = folder
        self._say = say
        missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
        if missing:
            msg = f"this machine has no {', '.join(missing)}"
            raise DownloadError(msg)
        self._keyring = _keyring()
        self._mirrors = debian_mirrors()
        if not self._mirrors:
            msg = (
                "no mirror of Debian's archive is named in this machine's apt sources; "
                f"name one in {MIRROR_VARIABLE}"
            )
            raise DownloadError(msg)
        self._configure()
        self._update()

    def unpack(self, packages: tuple[Package, ...], target: Path) -> list[Package]:
        """Download packages and unpack them below `target`, all or nothing.

        Args:
            packages: In the versions that are wanted; see `choose` for the second choice.
            target: Must not exist, and be on the file system of this suite's folder.

        Returns:
            The packages in the versions that were taken.

        Raises:
            DownloadError: If one of them cannot be had.
        """
        chosen = [self.choose(package) for package in packages]
        root = self._folder / "root"
        self._say(f"downloading {', '.join(map(str, chosen))}")
        self._run("apt-get", "download", *map(str, chosen))
        for archive in sorted(self._folder.glob("*.deb")):
            self._run("dpkg", "-x", str(archive), str(root))
        versions = "".join(f"{package}\n" for package in chosen)
        (root / "VERSIONS").write_text(versions, encoding="utf-8")
        root.rename(target)
        return chosen

    def choose(self, package: Package) -> Package:
        """Return the package in a version that the suite has; see `second_choice`.

        Raises:
            DownloadError: If the suite has none that will do.
        """
        listing = self._run("apt-cache", "madison", package.name)
        versions = [line.split("|")[1].strip() for line in listing.splitlines() if "|" in line]
        if package.version in versions:
            return package
        found = second_choice(package, versions)
        if found is None:
            has = ", ".join(versions) or "none"
            msg = f"{self._name} on {self._mirrors[0]} has no {package} (it has {has})"
            raise DownloadError(msg)
        self._say(f"{self._name} does not have {package} (any more), taking {found} instead")
        return found

    def _configure(self) -> None:
        folder = self._folder
        for part in ("lists/partial", "cache/archives/partial", "state"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / "status").touch()
        (folder / "sources.list").write_text(self._source_lines(), encoding="utf-8")
        settings = {
            "Dir::State": folder / "state",
            "Dir::State::Lists": folder / "lists",
            "Dir::State::status": folder / "status",
            "Dir::Cache": folder / "cache",
            "Dir::Etc::SourceList": folder / "sources.list",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::Etc::Main": "/dev/null",  # whoever has hooks of their own there
            "Dir::Etc::Parts": "/dev/null",
            "Dir::Etc::PreferencesParts": "/dev/null",
            "Dir::Etc::Preferences": "/dev/null",
            "Acquire::Languages": "none",
            # As root apt would download as the user _apt, who may not enter this folder.
            "APT::Sandbox::User": "root",
        }
        lines = [f'{name} "{value}";' for name, value in settings.items()]
        text = "\n".join([*_network_settings(), *lines, ""])
        (folder / "apt.conf").write_text(text, encoding="utf-8")

    def _source_lines(self) -> str:
        """Name one mirror only: apt would ask all of them for the lists."""
        options = f"[signed-by={self._keyring}]"
        return f"deb {options} {self._mirrors[0]} {self._name} main\n"

    def _update(self) -> None:
        self._say(f"reading the package lists of {self._name} from {self._mirrors[0]}")
        self._run("apt-get", "update", "-q", "-o", "APT::Update::Error-Mode=any")

    def _run(self, *command: str) -> str:
        environ = os.environ | {"APT_CONFIG": str(self._folder / "apt.conf"), "LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            command, cwd=self._folder, env=environ, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            reason = (done.stderr.strip() or done.stdout.strip()).rstrip(".")
            msg = f"{' '.join(command)} failed: {reason}"
            raise DownloadError(msg)
        return done.stdout


def second_choice(package: Package, versions: Sequence[str]) -> Package | None:
    """Return the package in the first of these versions that has the same major.minor."""
    for version in versions:
        if _major_minor(version) == _major_minor(package.version):
            return Package(package.name, version)
    return None


def _keyring() -> Path:
    named = os.environ.get(KEYRING_VARIABLE, "").strip()
    for path in (Path(named),) if named else _KEYRINGS:
        if path.is_file():
            return path
    msg = (
        f"Debian's archive keys are in none of {named or ', '.join(map(str, _KEYRINGS))}; "
        f"install debian-archive-keyring or name the file in {KEYRING_VARIABLE}"
    )
    raise DownloadError(msg)


def _network_settings() -> list[str]:
    """Return the machine's own apt settings for reaching the network."""
    done = subprocess.run(
        ["apt-config", "dump"],  # noqa: S607 - found on PATH by the caller
        capture_output=True,
        text=True,
        check=False,
    )
    return [line for line in done.stdout.splitlines() if _NETWORK_SETTING.match(line)]


def _major_minor(version: str) -> str:
    match = _MAJOR_MINOR.match(version)
    return match[1] if match else version
