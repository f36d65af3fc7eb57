"""One registration in the table, and the right to write it."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from typing import NamedTuple

from enlist.errors import RegistryError
from enlist.info import Info
from enlist.states import State

__all__ = ["Claim", "Entry"]


@dataclass(slots=True)
class Entry:
    """One row of the table; read and written under the table's lock only."""

    info: Info
    since: dt.datetime
    wanted: bool = True
    generation: int = 0
    state: State = State.PENDING
    last_success: dt.datetime | None = None
    last_error: RegistryError | None = None
    to_write: bool = True
    """The next restore has to write it, whatever a beat says."""
    takes_over: bool = True
    """It was asked for explicitly and not yet written, so it may replace another owner's record."""
    agreed: Info | None = None
    """What the newest call that succeeded has asked for, to which one that fails goes back."""
    agreed_generation: int = 0
    """The generation of that call; a deregister counts too, and leaves nothing to go back to."""
    fell_back: bool = False
    """A call failed, and nothing was asked for since: an older one may still turn out well."""
    tried_at: float = -math.inf
    """When a beat wrote it last (monotonic); only where that is what a beat does."""
    callers: int = 0
    """Explicit calls under way; the keeper leaves the entry to them."""
    claimed_by: int = 0
    """The generation of the claim under which a write is under way; 0 for none."""
    unsettled: bool = False
    """A write was not answered; the server may carry it out yet, also after later ones."""
    settles_at: float | None = None
    """When that is over (monotonic): one time to live after the next answer."""


class Claim(NamedTuple):
    """The right to write one entry, for the generation that it had.

    An entry that is forgotten gets the generation 0, so a claim on it is never current again,
    whatever is wanted under the same identity later.
    """

    info: Info
    generation: int
    takes_over: bool
    entry: Entry

    @property
    def is_current(self) -> bool:
        """Whether no newer call has taken over; asked under the table's lock."""
        return self.entry.generation == self.generation
