"""Which instance to call: in proportion to the weights, less while an instance warms up.

A :class:`Table` is made when the list changes, and once a second while something warms up.
A pick from it costs one random number and one look at a column, so it takes about as long for
10,000 instances as for 10, and it needs no lock.
"""

from __future__ import annotations

import datetime as dt
import math
from array import array
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final, TypeAlias

from enlist.address import Address
from enlist.clock import Clock
from enlist.info import Info

__all__ = ["Balancer", "FirstSeen", "Table", "share"]

RAMP_STEP_S: Final = 1.0
"""How often the shares of instances that warm up are computed anew."""

_FLOOR_WEIGHT: Final = 1.0
_FLOOR_PART: Final = 0.1
_BLIND_DRAWS: Final = 4

_Key: TypeAlias = tuple[str, Address | None]
_Start: TypeAlias = tuple[_Key, dt.datetime]


def _key(info: Info) -> _Key:
    return info.service_name, info.addr


def share(info: Info, age_s: float) -> float:
    """Return the weight that an instance has at its age: a straight ramp up to its own.

    Never less than 1, or than a tenth of a weight below 10: an instance that gets no traffic
    cannot warm up. Weight 0 stays 0.

    Args:
        info: the instance.
        age_s: the seconds since it started.
    """
    warm_up_s = info.warm_up.total_seconds()
    if age_s >= warm_up_s:
        return info.weight
    floor = min(_FLOOR_WEIGHT, info.weight * _FLOOR_PART)
    return max(floor, info.weight * age_s / warm_up_s)


class FirstSeen:
    """When this process first saw each start of each instance, by its own monotonic clock.

    The clock of a server may be wrong. One that is ahead puts its start into the future; counted
    from when it was first seen, even such an instance warms up in its own time.
    """

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._times: dict[_Start, float] = {}

    def keep(self, infos: Iterable[Info], now: float) -> None:
        """Note those that are new at ``now`` (monotonic seconds), and forget all others."""
        before = self._times
        starts = [
            (_key(info), info.start_time) for info in infos if info.warm_up and info.start_time
        ]
        self._times = {start: before.get(start, now) for start in starts}

    def age_s(
        self, info: Info, start_time: dt.datetime, *, monotonic: float, now: dt.datetime
    ) -> float:
        """Return the seconds since the start, by its word or by our own sight: the longer."""
        first = self._times.setdefault((_key(info), start_time), monotonic)
        return max((now - start_time).total_seconds(), monotonic - first)


class Table:
    """The shares of some instances, ready to draw from. Immutable.

    An alias table: there are as many columns as instances, all of one height. A column belongs
    to one instance up to its limit, and above that to one other. So a draw looks at one column,
    however many there are; a binary search at 10,000 took three times as long as at 10, since
    each of its steps waits for memory.

    Attributes:
        infos: the instances that have a share.
        expires_at: when the shares are to be computed anew, in monotonic seconds; infinity
            while nothing warms up.
    """

    __slots__ = ("_columns", "_limits", "_others", "_shares", "expires_at", "infos")

    def __init__(self, infos: Sequence[Info], shares: Sequence[float], expires_at: float) -> None:
        """Fill the columns.

        Args:
            infos: the instances.
            shares: the share of each; greater than 0.
            expires_at: monotonic seconds.
        """
        self.infos = infos
        self.expires_at = expires_at
        self._shares = shares
        self._columns = len(infos)
        limits, others = _columns_of(shares)
        # Side by side in memory, which a list of floats is not.
        self._limits = array("d", limits)
        self._others = [infos[other] for other in others]

    def draw(self, random: Callable[[], float]) -> Info | None:
        """Return an instance by chance, in proportion to its share; None if there is none."""
        if not self._columns:
            return None
        # No product of a number below 1 with a whole number is rounded up to that number.
        point = random() * self._columns
        column = int(point)
        return self.infos[column] if point < self._limits[column] else self._others[column]

    def draw_except(self, exclude: Collection[Info], random: Callable[[], float]) -> Info | None:
        """Return an instance as :meth:`draw` does, as if those excluded were not there."""
        excluded = {_key(info) for info in exclude}
        # Drawing again until one fits is exact, and nearly always done at once.
        for _ in range(_BLIND_DRAWS):
            info = self.draw(random)
            if info is None or _key(info) not in excluded:
                return info
        rest = [
            pair
            for pair in zip(self.infos, self._shares, strict=True)
            if _key(pair[0]) not in excluded
        ]
        return Table([info for info, _ in rest], [part for _, part in rest], self.expires_at).draw(
            random
        )


def _columns_of(shares: Sequence[float]) -> tuple[list[float], list[int]]:
    """Return for each column the point up to which it is its own instance's, and the other one."""
    mean = sum(shares) / len(shares) if shares else 1.0
    heights = [part / mean for part in shares]
    limits = [column + 1.0 for column in range(len(shares))]
    others = list(range(len(shares)))
    low = [column for column, height in enumerate(heights) if height < 1.0]
    high = [column for column, height in enumerate(heights) if height > 1.0]
    while low and high:
        column, giver = low.pop(), high[-1]
        limits[column], others[column] = column + heights[column], giver
        heights[giver] -= 1.0 - heights[column]
        if heights[giver] <= 1.0:
            low.append(high.pop())
    # Rounding may leave a column over; its height is 1 but for that, and it is its own.
    return limits, others


class Balancer:
    """Makes tables of the instances as they are now."""

    def __init__(self, clock: Clock, first_seen: FirstSeen) -> None:
        """Judge ages by ``clock`` and by when each instance was first seen."""
        self._clock = clock
        self._first_seen = first_seen

    def table(self, infos: Iterable[Info]) -> Table:
        """Return the table of these instances; those of weight 0 are left out."""
        monotonic, now = self._clock.monotonic(), self._clock.now()
        warming = False
        chosen: list[Info] = []
        shares: list[float] = []
        for info in infos:
            if not info.weight:
                continue
            part: float = info.weight
            # Without a start there is no telling where on its ramp it is.
            if info.warm_up and info.start_time is not None:
                age_s = self._first_seen.age_s(info, info.start_time, monotonic=monotonic, now=now)
                part = share(info, age_s)
                warming = warming or age_s < info.warm_up.total_seconds()
            chosen.append(info)
            shares.append(part)
        return Table(chosen, shares, monotonic + RAMP_STEP_S if warming else math.inf)
