"""Which services there are: folders that hold a record which can be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from enlist.errors import RegistryError, UnauthorisedError
from enlist.records import MalformedRecordError
from enlist_zookeeper.records import Paths, decode, is_address

if TYPE_CHECKING:
    from enlist_zookeeper.reading import Reader

__all__ = ["services_below"]


def services_below(paths: Paths, reader: Reader) -> list[str]:
    """Return the names of the folders that have at least one readable record.

    At the top of a tree that is shared with other programs most folders are no services, and
    some may not be read; these are passed over. Of each folder one record is read, and the others
    only where that one cannot be.

    Args:
        paths: where the services lie.
        reader: reads them.

    Raises:
        UnauthorisedError: the folder of the services itself may not be read.
    """
    root = paths.root or "/"
    reader.sync(root)
    names = {paths.folder(name): name for name in sorted(reader.children(root))}
    segments = {
        folder: list(filter(is_address, listed)) for folder, listed in reader.listings(list(names))
    }
    found = _having_a_record({folder: some[:1] for folder, some in segments.items()}, reader)
    others = {folder: some[1:] for folder, some in segments.items() if folder not in found}
    found |= _having_a_record(others, reader)
    return [name for folder, name in names.items() if folder in found]


def _having_a_record(segments: Mapping[str, Sequence[str]], reader: Reader) -> set[str]:
    """Return the folders of which at least one of these nodes is a readable record."""
    paths = [f"{folder}/{segment}" for folder, some in segments.items() for segment in some]
    found = set()
    for path, outcome in reader.outcomes(paths):
        if isinstance(outcome, RegistryError) and not isinstance(outcome, UnauthorisedError):
            raise outcome
        if isinstance(outcome, tuple) and _is_readable(path, outcome.data):
            found.add(path.rpartition("/")[0])
    return found


def _is_readable(path: str, data: bytes) -> bool:
    folder, _, segment = path.rpartition("/")
    try:
        decode(folder.rpartition("/")[2], segment, data)
    except MalformedRecordError:
        return False
    return True
