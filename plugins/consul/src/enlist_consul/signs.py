"""When each of our records last gave a sign of life, as far as this process knows."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, NamedTuple

from enlist.info import Info
from enlist_consul.records import check_id, service_id

__all__ = ["Sign", "Signs"]

_NEVER: Final = float("-inf")
# An agent counts from when it heard of it; the rest is for clocks and for the way there.
_SHARE_OF_TTL: Final = 1 / 2


class Sign(NamedTuple):
    """One sign of life.

    Attributes:
        check: the ID of the check that had it.
        at_s: the monotonic time before it was sent; minus infinity where nobody knows whether
            the agent has that check.
        breaks: how often the agent had been away until then.
    """

    check: str
    at_s: float
    breaks: int


class Signs:
    """The newest sign of life of each record of one owner. Safe for any thread.

    An agent that is told of a check which it has keeps the state of it. So a register revives no
    check that has turned critical, be it that its time was over or that its agent was started
    anew; it has to be beaten. Whoever knows that it lives can save that request.
    """

    def __init__(self, owner: str, ttl_s: float, breaks: Callable[[], int]) -> None:
        """Know of no record yet.

        Args:
            owner: what our records carry.
            ttl_s: after how many seconds without a sign a check turns critical.
            breaks: tells how often the agent has been away so far.
        """
        self._owner = owner
        self._fresh_s = ttl_s * _SHARE_OF_TTL
        self._breaks = breaks
        self._newest: dict[str, Sign] = {}
        self._writes: dict[str, object] = {}

    def now(self, info: Info) -> Sign:
        """Return the sign of life that a request which is sent now will be, once answered."""
        return Sign(check_id(info, self._owner), time.monotonic(), self._breaks())

    def note(self, info: Info, sign: Sign) -> None:
        """Hear that the agent has answered that request."""
        self._newest[service_id(info)] = sign

    def doubt(self, info: Info) -> Sign | None:
        """Hear that a register begins, of which nobody may ever know whether it was carried out.

        Returns:
            The newest sign until now; None if there was none.
        """
        key = service_id(info)
        before = self._newest.get(key)
        self._newest[key] = Sign(check_id(info, self._owner), _NEVER, 0)
        self._writes[key] = object()
        return before

    def last_write(self, info: Info) -> object:
        """Return what no other register has than that which began last; None without any."""
        return self._writes.get(service_id(info))

    def may_be_critical(self, info: Info, before: Sign | None) -> bool:
        """Return whether the agent may have had the check of ``info``, in the state critical.

        Args:
            info: what was registered just now.
            before: what :meth:`doubt` returned when that began.
        """
        if before is None:
            return False
        if before.at_s == _NEVER:
            return True
        if before.check != check_id(info, self._owner):
            return False  # the register has put a new one in its place
        is_fresh = time.monotonic() - before.at_s < self._fresh_s
        return not is_fresh or before.breaks != self._breaks()

    def forget(self, info: Info) -> None:
        """Hear that the agent has no such record of ours."""
        self._newest.pop(service_id(info), None)
        self._writes.pop(service_id(info), None)

    def knows(self, info: Info) -> bool:
        """Return whether the agent may have a record of ours, as far as is known."""
        return service_id(info) in self._newest

    def at_s(self, info: Info) -> float:
        """Return when a record gave its newest sign; minus infinity where that is not known."""
        sign = self._newest.get(service_id(info))
        return _NEVER if sign is None else sign.at_s
