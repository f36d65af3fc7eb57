"""What is known of a registration, as users, logs and extensions see it."""

from __future__ import annotations

import datetime as dt
import enum
from dataclasses import dataclass

from enlist.errors import RegistryError
from enlist.info import Info

__all__ = ["Change", "State", "Status"]


class State(enum.Enum):
    """What is known of a registration."""

    PENDING = "pending"
    """Wanted; not yet written."""
    ENLISTED = "enlisted"
    """The backend has confirmed it."""
    UNCONFIRMED = "unconfirmed"
    """The last sign of life was not answered; the record may still be there."""
    LOST = "lost"
    """The backend no longer has it; it is being written again."""
    SUPERSEDED = "superseded"
    """Another process holds this identity; it is written again when that one has left."""
    LEAVING = "leaving"
    """Not wanted; its removal is not confirmed yet."""
    LEFT = "left"
    """Removed; told to logs and extensions, and then forgotten."""


@dataclass(frozen=True, slots=True)
class Status:
    """One registration as it stands.

    Attributes:
        info: what is registered.
        state: what is known of it.
        since: when it came into that state, in UTC.
        last_success: when the backend last confirmed it, in UTC; None if it never did.
        last_error: the error of the latest attempt; None if that succeeded.
        registry: the name of the registry that holds it.
    """

    info: Info
    state: State
    since: dt.datetime
    last_success: dt.datetime | None
    last_error: RegistryError | None
    registry: str


@dataclass(frozen=True, slots=True)
class Change:
    """A registration came into a new state."""

    info: Info
    state: State
    error: RegistryError | None
