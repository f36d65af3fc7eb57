"""What can be wrong with the files of a registry, told as errors of enlist that say what to do."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from enlist.errors import RegistryError, RejectedError, UnauthorisedError, UnavailableError

__all__ = [
    "APPLICATION_ID",
    "CHOOSE",
    "FORMAT",
    "HEADER_BYTES",
    "meaning",
    "os_errors_told",
    "primary",
    "refuse_foreign",
    "refuse_strangers",
]

APPLICATION_ID: Final = 0x656E6C73  # "enls"
FORMAT: Final = 1
CHOOSE: Final = "choose another file with registry='local:/path/of/your.registry'"
_WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH

# --- whose it is ---------------------------------------------------------------------------------


def refuse_strangers(path: Path, found: os.stat_result, is_kind: Callable[[int], bool]) -> None:
    """Refuse a file or folder that another user made or may write to.

    Args:
        path: for the message.
        found: what ``stat`` says about it.
        is_kind: tells from the mode whether it is what it should be; a link, say, is not.

    Raises:
        RejectedError: whoever controls it could make up servers or take them away.
    """
    if not is_kind(found.st_mode):
        raise RejectedError(
            f"{path} is something else than the registry needs there; remove it, or {CHOOSE}"
        )
    if found.st_uid != os.geteuid():
        raise RejectedError(
            f"{path} belongs to user {found.st_uid}, not to you ({os.geteuid()}); {CHOOSE}"
        )
    if found.st_mode & _WRITABLE_BY_OTHERS:
        raise RejectedError(
            f"{path} can be written by other users; run `chmod go-w {path}`, or {CHOOSE}"
        )


# --- what is not ours ----------------------------------------------------------------------------

HEADER_BYTES: Final = 100
_MAGIC: Final = b"SQLite format 3\0"
# https://www.sqlite.org/fileformat2.html#the_database_header
_USER_VERSION_AT: Final = slice(60, 64)
_APPLICATION_ID_AT: Final = slice(68, 72)


def refuse_foreign(file: Path, header: bytes) -> None:
    """Refuse a file that is no registry of a format that we know, before anything touches it."""
    if not header:
        return
    if len(header) < HEADER_BYTES or not header.startswith(_MAGIC):
        raise RejectedError(
            f"{file} is no registry but some other file, and was left as it is; {CHOOSE}"
        )
    if int.from_bytes(header[_APPLICATION_ID_AT]) != APPLICATION_ID:
        raise RejectedError(
            f"{file} is a database of another program, and was left as it is; {CHOOSE}"
        )
    if (found := int.from_bytes(header[_USER_VERSION_AT])) != FORMAT:
        raise RejectedError(
            f"{file} has format {found}, and this version of enlist knows format {FORMAT} alone; "
            f"it was left as it is: update enlist, or {CHOOSE}"
        )


# --- what went wrong -----------------------------------------------------------------------------


@contextmanager
def os_errors_told(file: Path) -> Iterator[None]:
    """Turn what the operating system says into errors of enlist that name the file."""
    try:
        yield
    except RegistryError:  # some of these are OSErrors too
        raise
    except PermissionError as exc:
        raise UnauthorisedError(
            f"{exc.filename or file}: {exc.strerror}; run as its owner or name another file"
        ) from exc
    except OSError as exc:
        raise UnavailableError(
            f"{exc.filename or file}: {exc.strerror}; mend that, or {CHOOSE}"
        ) from exc


def primary(code: int) -> int:
    """Return SQLite's result code without the detail that an extended one adds."""
    return code & 0xFF


def meaning(code: int, exc: sqlite3.Error, file: Path) -> RegistryError:
    """Return the error of enlist for one of SQLite's that does not pass by itself."""
    if primary(code) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}:
        return RejectedError(
            f"{file} is damaged ({exc}) and was left as it is; remove it: "
            "every running server writes its records again at its next beat"
        )
    if primary(code) in {sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY}:
        return UnauthorisedError(f"{file}: {exc}; run as its owner or name another file")
    return UnavailableError(f"{file}: {exc}")
