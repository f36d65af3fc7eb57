"""Build the Go programs of these tests: `python -m tests.interop.building [--missing] [NAME ...]`.

Sources are copied to `.cache/interop`, where Kitex's own tool adds what it generates from the
IDL: nothing generated is kept in this repository. Go's cache makes a second build quick. With
`--missing` it only says what a build lacks, and nothing where nothing is lacking. Without a
name it builds both, `peer` and `consul`.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

SOURCES: Final = Path(__file__).with_name("go")
CONSUL: Final = Path(__file__).with_name("consul")
CACHE: Final = Path(__file__).resolve().parents[2] / ".cache" / "interop"
MODULE: Final = "enlist.example/interop"
OLDEST_GO: Final = (1, 24)  # from there on go.mod names tools
IDLS: Final = (("echo.thrift", "thrift"), ("greet.proto", "protobuf"))
_TAIL: Final = 2_000


class GoMissingError(Exception):
    """There is no Go toolchain, or the modules cannot be had; the message says which."""


def go() -> str:
    """Return the path of a Go toolchain that is new enough.

    Raises:
        GoMissingError: If there is none.
    """
    wanted = ".".join(map(str, OLDEST_GO))
    found = shutil.which("go")
    if found is None:
        raise GoMissingError(f"there is no `go` on PATH: put Go {wanted} or newer there")
    version = _run([found, "env", "GOVERSION"], cwd=Path("/")).strip()
    match = re.match(r"go(\d+)\.(\d+)", version)
    if match is None or (int(match[1]), int(match[2])) < OLDEST_GO:
        raise GoMissingError(f"{found} is {version}: put Go {wanted} or newer on PATH")
    return found


def download(sources: Path) -> str:
    """Have every module of a folder's go.mod in Go's cache, and return the path of Go.

    Raises:
        GoMissingError: If Go is missing, or a module cannot be had.
    """
    program = go()
    try:
        _run([program, "mod", "download"], cwd=sources)
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip()[-_TAIL:]
        raise GoMissingError(
            f"the module proxy does not give what {sources} needs: {said}"
        ) from error
    return program


def build_peer() -> Path:
    """Build the program `peer`, which is Kitex, and return its path.

    Raises:
        GoMissingError: If Go is missing, or a module cannot be had.
    """
    program = download(SOURCES)
    folder = CACHE / "peer"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(SOURCES, folder)
    for name, kind in IDLS:
        generate = ("tool", "kitex", "-module", MODULE, "-type", kind, "-I", ".", name)
        _run([program, *generate], cwd=folder)
    _run([program, "build", "-o", "peer", "."], cwd=folder)
    return folder / "peer"


def build_consul() -> Path:
    """Build the Consul that go.mod names, in some minutes at first, and return its path.

    Raises:
        GoMissingError: If Go is missing, or a module cannot be had.
    """
    program = download(CONSUL)
    CACHE.mkdir(parents=True, exist_ok=True)
    target = CACHE / "consul"
    _run([program, "build", "-o", str(target), "github.com/hashicorp/consul"], cwd=CONSUL)
    return target


def module_versions(sources: Path = SOURCES) -> dict[str, str]:
    """Read from a go.mod which version of each module is taken."""
    text = (sources / "go.mod").read_text(encoding="utf-8")
    return dict(re.findall(r"^(?:require |\t)(\S+) v(\S+)", text, re.MULTILINE))


def _run(command: list[str], *, cwd: Path) -> str:
    """Run a command of Go and return what it printed; what it complained of is shown."""
    # go.sum is the only word on what is taken; a toolchain line must not fetch another Go.
    environ = {**os.environ, "GOFLAGS": "-mod=readonly -buildvcs=false", "GOTOOLCHAIN": "local"}
    done = subprocess.run(
        command, cwd=cwd, env=environ, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.stderr.write(done.stderr[-_TAIL:])
    done.check_returncode()
    return done.stdout


PROGRAMS: Final = {"peer": (SOURCES, build_peer), "consul": (CONSUL, build_consul)}


def main(arguments: list[str]) -> int:
    """Build what is named and say where it is, or say what is missing for it."""
    only_missing = "--missing" in arguments
    names = [name for name in arguments if name != "--missing"] or list(PROGRAMS)
    try:
        for name in names:
            sources, build = PROGRAMS[name]
            if only_missing:
                download(sources)
            else:
                sys.stdout.write(f"{build()}\n")
    except GoMissingError as error:
        sys.stdout.write(f"{error}\n")
        return 0 if only_missing else 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
