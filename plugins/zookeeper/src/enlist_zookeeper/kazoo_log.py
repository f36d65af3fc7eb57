"""What of kazoo's log is let through."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any, Final

__all__ = ["KazooLog"]

_logger: Final = logging.getLogger(__name__)


class KazooLog(logging.LoggerAdapter[logging.Logger]):
    """Lowers kazoo's messages, and withholds those that may hold a secret.

    kazoo warns at each attempt to connect, every second of an outage; the core says once that an
    outage has begun and once that it is over. So all that is below an error comes out as DEBUG,
    of the logger ``enlist_zookeeper.kazoo_log``. What kazoo itself calls DEBUG are the requests,
    credentials among them, and below that the password of the session: none of it comes out, and
    of errors only what happened.
    """

    def __init__(self) -> None:
        """Write to this module's own logger."""
        super().__init__(_logger, None)

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:  # noqa: ANN401 - logging's own
        """Write at DEBUG, at ERROR and above as it is, and from DEBUG downwards not at all."""
        if level <= logging.DEBUG:
            return
        if level < logging.ERROR:
            super().log(logging.DEBUG, msg, *args, **kwargs)
        else:
            # What its errors are about may be the request that holds the session's password.
            super().log(level, msg, **kwargs)

    def process(
        self, msg: object, kwargs: MutableMapping[str, Any]
    ) -> tuple[object, MutableMapping[str, Any]]:
        """Say where it comes from."""
        return f"kazoo: {msg}", kwargs
