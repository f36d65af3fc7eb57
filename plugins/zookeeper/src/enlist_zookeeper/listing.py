"""Which services there are: folders that hold a record which can be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from enlist.errors import UnauthorisedError
from enlist.records import MalformedRecordError
from enlist_zookeeper.records import Paths, decode, is_address

if TYPE_CHECKING:
    from enlist_zookeeper.reading import Reader

__all__ = ["services_below"]


def services_below(paths: Paths, reader: Reader) -> list[str]:
    """Return the names of the folders that have at least one readable record.

    At the top of a tree that is shared with other programs most folders are no services, and
    some may not be read; these are passed over.

    Args:
        paths: where the services lie.
        reader: reads them.

    Raises:
        UnauthorisedError: the folder of the services itself may not be read.
    """
    reader.sync(paths.root or "/")
    names = sorted(reader.children(paths.root or "/"))
    return [name for name in names if _has_record(name, paths.folder(name), reader)]


def _has_record(name: str, folder: str, reader: Reader) -> bool:
    try:
        segments = filter(is_address, reader.children(folder))
        founds = reader.records([f"{folder}/{segment}" for segment in segments])
        return any(_is_readable(name, path, data) for path, data in founds if data is not None)
    except UnauthorisedError:
        return False


def _is_readable(name: str, path: str, data: bytes) -> bool:
    try:
        decode(name, path.rpartition("/")[2], data)
    except MalformedRecordError:
        return False
    return True
