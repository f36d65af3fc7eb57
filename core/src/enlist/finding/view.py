"""What is known of one watched service: a pure object, without threads, clocks or I/O.

An instance is *present* when the newest list has it. After a watch that failed was opened anew,
an instance that its first list lacks is *held* for a while: a backend that came back empty would
otherwise empty every client while the servers are still enlisting again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from enlist.info import Identity, Info

__all__ = ["Snapshot", "View", "identity_of"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was known of a service at one moment; it never changes.

    Attributes:
        instances: every instance that may be called: those in the newest list, then those held.
        stale: whether this may be out of date: no list has come yet, or the backend is away.
        held: those of ``instances`` that the backend lacks since it came back, and that are
            kept until their servers have had the time to enlist again.
        listed: whether a list has ever come; without one, nothing is known.
    """

    instances: tuple[Info, ...] = ()
    stale: bool = True
    held: tuple[Info, ...] = ()
    listed: bool = False


def identity_of(info: Info) -> Identity:
    """Return the identity of an Info that a backend gave, without checking it a second time."""
    assert info.addr is not None  # noqa: S101 - a record has an address; for the type checker
    return info.service_name, info.addr


class View:
    """One service, list after list. Its caller sees to it that one thread at a time is in it.

    The methods that change something return whether :attr:`snapshot` is a new one.
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self.snapshot = Snapshot()
        self._present: dict[Identity, Info] = {}
        self._held: dict[Identity, Info] = {}
        self._held_until = math.inf
        self._doubted = True

    def update(self, infos: Iterable[Info], *, now: float, hold_s: float, trusted: bool) -> bool:
        """Take in a full list.

        Args:
            infos: the instances; the last one counts of several with one identity.
            now: monotonic seconds.
            hold_s: how long to hold what is missing, if this is the first list after a failure.
            trusted: False while the backend is known to be away: such a list adds what it has,
                and nothing is removed or fresh on its word.
        """
        present = {identity_of(info): info for info in infos}
        if self._doubted:
            self._held |= self._present
            self._held_until = now + hold_s
        for identity in present.keys() & self._held.keys():
            del self._held[identity]
        # An equal list in another order, or of newly decoded Infos, is no change.
        if present != self._present:
            self._present = present
        self._doubted = not trusted
        return self._renew(listed=True) | self.expire(now)

    def doubt(self) -> bool:
        """Mark everything stale: the watch failed, or the backend does not answer."""
        self._doubted = True
        return self._renew(listed=self.snapshot.listed)

    def expire(self, now: float) -> bool:
        """Drop what was held for long enough; nothing while the backend is away."""
        if self.expires_at > now:
            return False
        self._held = {}
        return self._renew(listed=True)

    @property
    def expires_at(self) -> float:
        """When the held instances are to be dropped, in monotonic seconds; infinity for never."""
        return self._held_until if self._held and not self._doubted else math.inf

    def _renew(self, *, listed: bool) -> bool:
        held = tuple(self._held.values())
        instances = (*self._present.values(), *held)
        renewed = Snapshot(instances, self._doubted, held, listed)
        if renewed == self.snapshot:
            return False
        self.snapshot = renewed
        return True
