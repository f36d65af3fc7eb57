"""Who is alive: a lock for the life of a process, a counter for its beat.

Each owner has one file. While its process lives it holds a POSIX record lock on it, which the
kernel drops when the process ends, however it ends, in any container; a forked child does not
inherit it. No lock, or no file: dead, at once and for certain.

A process that hangs keeps its lock. So the file also holds a counter, raised at every beat, and
the owner's ttl. A reader counts, on its own monotonic clock, from the last time that it saw the
counter change; when the ttl has passed the owner is no longer *alive*, though not dead: nothing
of it is removed, and its next beat brings it back. A reader that sees an owner for the first time
knows no history and takes it for alive: it shows a hung process for one ttl at most.

Closing any descriptor of a file drops all locks that the process has on it. So the process opens
its own files once each and knows them by heart (``_held``): that table belongs to the process
because the locks do. A lock lost all the same is taken again at the next beat.
"""

from __future__ import annotations

import fcntl
import os
import re
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from enlist.local.faults import os_errors_told
from enlist.local.place import Place

__all__ = ["Life", "Lives"]

_OWNER: Final = re.compile(r"[0-9a-f]{32}")
_CONTENT: Final = "{count:020d} {ttl_ms:010d}\n"
_CONTENT_BYTES: Final = 32
_REMEMBERED: Final = 4_096

_held: Final[dict[str, int]] = {}
"""Owner to the process that holds its file: a forked child finds itself in none of these."""


class Life:
    """The life of one owner of this process. Not safe for threads: used in the store's turn."""

    def __init__(self, place: Place, owner: str, ttl_s: float) -> None:
        """Take where the file is to lie; no I/O."""
        self._place = place
        self._owner = owner
        self._ttl_s = ttl_s
        self._descriptor: int | None = None
        self._count = 0

    @property
    def has_begun(self) -> bool:
        """Whether there is something to end."""
        return self._descriptor is not None

    def is_in_place(self) -> bool:
        """Return whether the file is there and is ours: somebody may have removed it."""
        if self._descriptor is None:
            return False
        try:
            found = self._path.lstat()
        except OSError:  # not there, or out of reach: begin() tells which
            return False
        return os.path.samestat(found, os.fstat(self._descriptor))

    def begin(self) -> None:
        """Make the file and lock it; to be called in a write transaction.

        Those who remove the files of the dead have that too, so none sees ours without its lock.
        """
        self._place.make_owners()  # also opening a database does, but somebody may remove it later
        _held[self._owner] = os.getpid()  # first, so that no reader of ours opens the new file
        self._close_file()
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        self.beat()

    def beat(self) -> None:
        """Raise the counter, and make sure of the lock."""
        assert self._descriptor is not None  # noqa: S101 - for the type checker: begin() comes first
        self._count += 1
        content = _CONTENT.format(count=self._count, ttl_ms=round(self._ttl_s * 1_000))
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.pwrite(self._descriptor, content.encode(), 0)

    def end(self) -> None:
        """Remove the file and let go of the lock; a second call does nothing."""
        try:
            if self.is_in_place():
                with os_errors_told(self._path):
                    self._path.unlink()
        finally:
            self._close_file()
            _held.pop(self._owner, None)

    @property
    def _path(self) -> Path:
        return self._place.owners / self._owner

    def _close_file(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None


class _Sign(NamedTuple):
    """What the file of a living process says."""

    beats: int
    ttl_s: float


class Lives:
    """What one reader knows of the lives of others. Safe for threads.

    It remembers the 4,096 owners that it looked at last.
    """

    def __init__(self, place: Place) -> None:
        """Take where the files lie; no I/O."""
        self._place = place
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def is_dead(self, owner: object) -> bool:
        """Return whether the owner's process has ended, or never was.

        Raises:
            UnavailableError: there is no telling.
        """
        name = _name(owner)
        return name is None or not (_is_ours(name) or self._sign(name) is not None)

    def remove_files_of_the_dead(self) -> None:
        """Remove the files of those whose process has ended; in a write transaction, as begin()."""
        # Somebody may have removed the folder, and all of them with it.
        with suppress(FileNotFoundError):
            for file in self._place.owners.iterdir():
                if _OWNER.fullmatch(file.name) and self.is_dead(file.name.encode()):
                    file.unlink(missing_ok=True)

    def is_alive(self, owner: object) -> bool:
        """Return whether the owner's process runs, and has not been silent for its ttl.

        Args:
            owner: as it stands in a row, which may be anything.

        Raises:
            UnavailableError: there is no telling.
        """
        name = _name(owner)
        if name is None:
            return False
        if _is_ours(name):
            return True
        with self._lock:
            before = self._seen.pop(name, None)
            sign = self._sign(name)
            if sign is None:
                return False
            now = time.monotonic()
            since = before[1] if before is not None and before[0] == sign.beats else now
            self._seen[name] = (sign.beats, since)
            if len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)
        return now - since < sign.ttl_s

    def _sign(self, name: str) -> _Sign | None:
        """Return what a living owner's file says; None for a dead one."""
        path = self._place.owners / name
        with os_errors_told(path):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            except FileNotFoundError:
                return None
            try:
                return _read(descriptor) if _is_locked(descriptor) else None
            finally:
                os.close(descriptor)


def _name(owner: object) -> str | None:
    """Return the owner of a row as text, if that is what it is: it becomes the name of a file."""
    text = owner.decode(errors="replace") if isinstance(owner, bytes) else ""
    return text if _OWNER.fullmatch(text) else None


def _is_ours(name: str) -> bool:
    return _held.get(name) == os.getpid()


def _is_locked(descriptor: int) -> bool:
    # Shared, so that two who ask at once do not take each other for the owner.
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # POSIX allows EAGAIN and EACCES
        return True
    return False


def _read(descriptor: int) -> _Sign:
    try:
        count, ttl_ms = os.pread(descriptor, _CONTENT_BYTES, 0).split()
        return _Sign(int(count), int(ttl_ms) / 1_000)
    except ValueError:
        return _Sign(-1, 0.0)  # cut short by hand: it says nothing until its next beat
