"""What can be chosen about a local registry."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from enlist.backend_options import option
from enlist.errors import InvalidOptionError

__all__ = ["LocalOptions"]

_SHORTEST_TTL: Final = dt.timedelta(milliseconds=100)
_LONGEST_TTL: Final = dt.timedelta(days=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalOptions:
    """The options of ``local``.

    Attributes:
        path: the registry's file, absolute. None: ``registry.db`` in the user's own folder.
        ttl: how long the records of a process that hangs are still shown, 100 ms to a day.
        timeout: how long one call may take, unless the caller says; kept by the core.

    Raises:
        InvalidOptionError: an option breaks its rule.
    """

    path: Path | None = option(
        None,
        url="path",
        help="the registry's file, such as /tmp/demo.registry; left out, one in your own folder",
    )
    ttl: dt.timedelta = option(
        dt.timedelta(seconds=15),
        help="how long a process that hangs stays listed; one that ended is gone at once",
    )
    timeout: dt.timedelta = option(
        dt.timedelta(seconds=3), help="how long one call may take, unless the caller says"
    )

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        if self.path is not None and not self.path.is_absolute():
            rule = (
                "must be absolute, as in 'local:/tmp/demo.registry': "
                "the other processes have working directories of their own"
            )
            raise InvalidOptionError("path", str(self.path), rule)
        if not _SHORTEST_TTL <= self.ttl <= _LONGEST_TTL:
            raise InvalidOptionError("ttl", str(self.ttl), "must be from 100 ms to one day")
