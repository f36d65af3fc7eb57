"""A private environment for nox, so that a bare Python with pip is all a machine needs.

Debian and Ubuntu forbid pip to touch their own Python (PEP 668) and ship `venv` without
the part that puts pip into a new environment. So the environment is made without pip, and
the pip that is there installs into it from outside. Standard library only.
"""

import fcntl
import importlib.util
import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent

_NO_PIP = (
    "{python} has neither pip nor ensurepip, so nox cannot be installed. On Debian or Ubuntu run "
    "'apt install python3-pip'; elsewhere install pip for this Python. Then run this again."
)
_FAILED = (
    "Installing {requirements} failed; pip says why above. Without a network, set up pip's own "
    "configuration for a package index that can be reached. Then run this again."
)


def run_nox(arguments: Sequence[str]) -> NoReturn:
    """Become nox with the same arguments, in a private environment that is made when missing.

    A second call finds the environment ready and takes no more time than starting Python
    twice. A call that was interrupted is made good by the next one. Two calls at once are
    safe: the second waits for the first.

    Args:
        arguments: what nox is to be given, without the program's name.

    Raises:
        SystemExit: pip is missing or failed; the message says what to do.
    """
    python = prepare(ROOT / ".bootstrap", _requirements())
    # virtualenv would start a process of its own now and then to look for newer wheels.
    os.environ.setdefault("VIRTUALENV_NO_PERIODIC_UPDATE", "1")
    noxfile = str(ROOT / "noxfile.py")
    os.execv(python, [str(python), "-m", "nox", "--noxfile", noxfile, *arguments])  # noqa: S606  # no shell wanted


def prepare(folder: Path, requirements: Sequence[str]) -> Path:
    """Return the Python of an environment that has the requirements; make it when needed.

    Args:
        folder: holds one environment for each Python that was used, and a lock.
        requirements: what to install, as pip understands it; other ones than last time
            make the environment anew.

    Returns:
        The path of the environment's Python.

    Raises:
        SystemExit: pip is missing or failed; the message says what to do.
    """
    folder.mkdir(exist_ok=True)
    environment = folder / f"{sys.implementation.cache_tag}-{sysconfig.get_platform()}"
    python = environment / "bin" / "python"
    with _locked(folder / "lock"):
        # Written last: without it the environment was left half made, or is for other needs.
        stamp = environment / "ready"
        wanted = "\n".join([sys.base_prefix, *requirements])
        if not (python.exists() and stamp.exists() and stamp.read_text() == wanted):
            _say(f"Making a private environment for nox in {environment} (only the first time).")
            _make(environment, requirements)
            stamp.write_text(wanted)
            _say("The environment is ready.")
    return python


def _make(environment: Path, requirements: Sequence[str]) -> None:
    """Make the environment anew and install into it with whatever pip there is."""
    pip_outside = importlib.util.find_spec("pip") is not None
    if not pip_outside and importlib.util.find_spec("ensurepip") is None:
        raise SystemExit(_NO_PIP.format(python=sys.executable))
    venv.EnvBuilder(clear=True, symlinks=True, with_pip=not pip_outside).create(environment)
    python = str(environment / "bin" / "python")
    pip = (
        [sys.executable, "-m", "pip", "--python", python] if pip_outside else [python, "-m", "pip"]
    )
    _say(f"Installing {', '.join(requirements)} into it.")
    command = [*pip, "--disable-pip-version-check", "install", "--quiet", *requirements]
    if subprocess.run(command, check=False).returncode != 0:
        raise SystemExit(_FAILED.format(requirements=", ".join(requirements)))


def _requirements() -> list[str]:
    """Read what the project says that running nox needs."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        groups = tomllib.load(file)["dependency-groups"]
    return [str(requirement) for requirement in groups["nox"]]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock that the kernel drops when the holder dies."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("Another run is making the environment; waiting for it.")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _say(text: str) -> None:
    """Show progress at once, also through a pipe."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
