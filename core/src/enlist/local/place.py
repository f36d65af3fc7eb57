"""Where the files of a registry lie, and which places are refused."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Final

from enlist.errors import RejectedError, UnavailableError
from enlist.local.faults import CHOOSE, refuse_strangers

__all__ = ["Place", "default_folder", "network_file_system"]

_FILE_NAME: Final = "registry.db"
_OWNERS_SUFFIX: Final = "-owners"
_MOUNTS: Final = Path("/proc/self/mountinfo")
_NETWORK_TYPES: Final = frozenset(
    {"afs", "beegfs", "ceph", "cifs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4"}
    | {"ocfs2", "orangefs", "smb3", "smbfs", "fuse.ceph", "fuse.curlftpfs", "fuse.davfs"}
    | {"fuse.gcsfuse", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs"}
)


class Place:
    """The paths of one registry."""

    def __init__(self, path: Path | None) -> None:
        """Take the option ``path``; no I/O.

        Args:
            path: the registry's file, or None for the one in the user's own folder.
        """
        self._path = path

    @cached_property
    def file(self) -> Path:
        """The database. The user's own folder is looked for once, at the first use."""
        return self._path or default_folder(os.environ) / _FILE_NAME

    @property
    def owners(self) -> Path:
        """The folder with one file for each owner."""
        return self.file.with_name(self.file.name + _OWNERS_SUFFIX)

    def prepare(self) -> None:
        """Make sure of the folder that the file is to lie in.

        Raises:
            RejectedError: somebody else could change it, or it lies on a network.
            UnavailableError: it is not there, and not ours to make.
            OSError: it cannot be made or looked at.
        """
        folder = self.file.parent
        if self._path is None:
            _make_private(folder)
        if not folder.is_dir():
            raise UnavailableError(f"{folder} is no folder; make it, or {CHOOSE}")
        _refuse_network(folder)

    def make_owners(self) -> None:
        """Make the folder of the owners if it is missing; raises as ``prepare``."""
        _make_private(self.owners)


def default_folder(environ: Mapping[str, str]) -> Path:
    """Return the user's own folder: in XDG_RUNTIME_DIR if that is usable, else in the temp folder.

    Processes of one user that differ in these variables (a cron job, ``sudo``) get different
    folders; name the file for them: ``ENLIST_REGISTRY=local:/path/of/the.registry``.
    """
    runtime = Path(environ.get("XDG_RUNTIME_DIR", ""))
    if runtime.is_absolute() and _is_own(runtime):
        return runtime / "enlist"
    return Path(tempfile.gettempdir()) / f"enlist-{os.geteuid()}"


def _is_own(folder: Path) -> bool:
    try:
        found = folder.stat()
    except OSError:  # not there, or not ours to look into: then it is not usable
        return False
    own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    return own and os.access(folder, os.W_OK | os.X_OK, effective_ids=True)


def _make_private(folder: Path) -> None:
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    refuse_strangers(folder, folder.lstat(), stat.S_ISDIR)


def _refuse_network(folder: Path) -> None:
    try:
        mounts = _MOUNTS.read_text(errors="surrogateescape")
    except FileNotFoundError:  # no Linux: then only the documentation can tell
        return
    if kind := network_file_system(folder.stat().st_dev, mounts):
        raise RejectedError(
            f"{folder} is on a network file system ({kind}), where locks do not tell that "
            f"a process has ended; {CHOOSE} on a disk of this machine"
        )


def network_file_system(device: int, mounts: str) -> str | None:
    """Return the type of the file system of a device if it is reached over a network.

    Args:
        device: ``st_dev`` of a file on it.
        mounts: the text of /proc/self/mountinfo.
    """
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in mounts.splitlines():
        # id, parent, device, root, mount point, options, optional fields, "-", type, source, ...
        before, _, after = line.partition(" - ")
        if wanted in before.split()[2:3] and after.partition(" ")[0] in _NETWORK_TYPES:
            return after.partition(" ")[0]
    return None
