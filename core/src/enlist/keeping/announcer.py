"""Makes changes of registrations visible: as log lines, and to extensions."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence

from enlist.backend import Backend
from enlist.errors import PluginBugError, RejectedError, UnauthorisedError
from enlist.states import Change, State

__all__ = ["Announcer"]

_GRAVE = (RejectedError, UnauthorisedError, PluginBugError)
_TROUBLE = frozenset({State.UNCONFIRMED, State.LOST, State.SUPERSEDED})
_logger = logging.getLogger("enlist")


class Announcer:
    """Logs each change and tells the extensions, in order.

    Changes that came together with the same cause make one line, so that an outage under ten
    thousand registrations does not make ten thousand.
    """

    def __init__(self, backend: Backend) -> None:
        """Tell the extensions of ``backend``."""
        self._backend = backend

    def __call__(self, changes: Sequence[Change]) -> None:
        """Tell of the changes."""
        for cause, group in itertools.groupby(
            changes, key=lambda change: (change.state, _cause(change))
        ):
            self._log_line(cause[0], list(group))
        for change in changes:
            self._backend.registration_changed(change.info, change.state.value, change.error)

    def _log_line(self, state: State, changes: Sequence[Change]) -> None:
        first = changes[0]
        others = f" and {len(changes) - 1} more" if len(changes) > 1 else ""
        cause = _cause(first)
        _logger.log(
            _level(first),
            "%s: %s at %s%s: %s%s",
            self._backend.name,
            first.info.service_name,
            first.info.addr,
            others,
            state.value,
            f" ({cause})" if cause else "",
        )


def _cause(change: Change) -> str:
    return f"{type(change.error).__name__}: {change.error}" if change.error is not None else ""


def _level(change: Change) -> int:
    if isinstance(change.error, _GRAVE):
        return logging.ERROR
    if change.state in _TROUBLE or change.error is not None:
        return logging.WARNING
    return logging.INFO
