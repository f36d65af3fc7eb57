"""Records that may not be read are passed over, as long as there are others.

An access control list belongs to one node. One server with narrower ones than its fellows must
not hide them all; and where nothing can be read, an empty list would hide a wrong password.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping

from enlist.errors import UnauthorisedError

__all__ = ["Unreadable"]

_logger = logging.getLogger(__name__)


class Unreadable:
    """Those of one folder; a warning names each, once."""

    def __init__(self) -> None:
        """Know of none."""
        self._errors: dict[str, UnauthorisedError] = {}

    def without(
        self, records: Iterable[tuple[str, bytes | UnauthorisedError | None]]
    ) -> Iterator[tuple[str, bytes | None]]:
        """Yield the name and the data of those that could be read, and note the others.

        Args:
            records: what :meth:`~enlist_zookeeper.reading.Reader.records` gives.
        """
        for path, data in records:
            name = path.rpartition("/")[2]
            if isinstance(data, UnauthorisedError):
                if name not in self._errors:
                    _logger.warning("skipped a record that may not be read: %s", data)
                self._errors[name] = data
            else:
                self._errors.pop(name, None)
                yield name, data

    def keep(self, names: Collection[str]) -> None:
        """Forget those that are not in the folder any more."""
        for gone in self._errors.keys() - names:
            del self._errors[gone]

    def check(self, found: Mapping[str, bytes | None]) -> None:
        """Make sure that there is nothing unreadable, or a record that was read beside it.

        Args:
            found: what :meth:`without` gave; None stands for what is no record, as a folder.

        Raises:
            UnauthorisedError: no record that is there can be read.
        """
        if self._errors and all(data is None for data in found.values()):
            raise next(iter(self._errors.values()))
