"""The signs of life: one short request for each record, over a few kept connections.

One check for all, with alias checks that follow it, would be one request; docs/decisions says
why it is not so.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

from enlist.errors import RegistryError, TimedOutError
from enlist.hookspecs import Lost, Why
from enlist.info import Info
from enlist_consul.catalog import Catalog
from enlist_consul.deadline import Deadline
from enlist_consul.spreading import spread
from enlist_consul.store import Holder, Store

__all__ = ["Beats"]

# Of the time that is left of a round: for a look, should the answer be slow, and for all beats.
_SHARE_OF_LOOK: Final = 1 / 4
_SHARE_OF_BEATS: Final = 0.9

_ROUNDS_PER_LOOK: Final = 2
"""How often the catalogue is compared: beats go to the agent, and do not notice what it lost.

In the rounds between, the agent is asked whose the records are: whoever overwrites one without
asking for the older checks to go leaves ours to be beaten.
"""


class Beats:
    """Proves that this process lives."""

    def __init__(self, store: Store, catalog: Catalog) -> None:
        """Take what beats and looks for the owner whose records are kept."""
        self._store = store
        self._catalog = catalog
        self._lock = threading.Lock()
        self._rounds = 0

    def round(self, infos: Sequence[Info], deadline: Deadline) -> list[Lost]:
        """Beat for each; return those that are not alive.

        Where time does not suffice for all, those that have waited longest come first.

        Raises:
            RegistryError: nothing was learnt of any.
        """
        missing, taken = self._looked(infos, deadline)
        signs = self._store.signs
        # A check that the agent did not know, and that was not written since, need not be tried.
        by_need = sorted(filter(signs.knows, infos), key=signs.at_s)
        known = set(by_need)
        strays = [info for info in infos if info not in known]
        lost = self._why(strays, _part(deadline, _SHARE_OF_LOOK))
        # What is begun has until the end to be answered.
        begun_by = _part(deadline, _SHARE_OF_BEATS)
        outcomes = spread(by_need, lambda info: self._store.beat(info, deadline), begun_by)
        alive = {info for info, is_there in outcomes.done if is_there}
        lost += self._why([info for info, is_there in outcomes.done if not is_there], deadline)
        lost += [Lost(info, Why.GONE) for info in missing if info in alive]
        lost += self._overwritten([info for info in taken if info in alive], deadline)
        lost += [Lost(info, Why.FAILED, error) for info, error in outcomes.failed]
        no_time = TimedOutError("Consul: no time was left for this one's beat.")
        lost += [Lost(info, Why.FAILED, no_time) for info in outcomes.unreached]
        if not alive and all(one.why is Why.FAILED for one in lost):
            raise next((one.error for one in lost if one.error is not None), no_time)
        return lost

    def _looked(
        self, infos: Sequence[Info], deadline: Deadline
    ) -> tuple[Sequence[Info], Sequence[Info]]:
        """Look before the beats, which may take all the time that there is.

        Returns:
            What the catalogue lacks, and what the agent has as another's; one of them is empty.
        """
        brief = _part(deadline, _SHARE_OF_LOOK)
        if self._is_time_to_compare():
            # The node is found by the first of them, so that has to be one that we have.
            known = [info for info in infos if self._store.signs.knows(info)]
            return (self._catalog.missing(known, brief) if known else ()), ()
        return (), self._store.not_ours(infos, brief)

    def _overwritten(self, beaten: Sequence[Info], deadline: Deadline) -> list[Lost]:
        """Tell who has what was beaten and is not ours any more."""
        lost = self._why(beaten, deadline)
        for one in lost:
            if one.why is Why.SUPERSEDED:
                self._store.signs.forget(one.info)
        return lost

    def _why(self, unknown: Sequence[Info], deadline: Deadline) -> list[Lost]:
        """Tell who has what was taken from us."""
        if not unknown:
            return []
        try:
            looked = self._store.look(unknown, deadline)
        except RegistryError as exc:
            return [Lost(info, Why.FAILED, exc) for info in unknown]
        lost = [
            Lost(info, Why.SUPERSEDED if who is Holder.ANOTHER else Why.GONE)
            for info, who in looked.done
        ]
        lost += [Lost(info, Why.FAILED, error) for info, error in looked.failed]
        return lost + [
            Lost(info, Why.FAILED, looked.first_error(deadline)) for info in looked.unreached
        ]

    def _is_time_to_compare(self) -> bool:
        with self._lock:
            self._rounds += 1
            return self._rounds % _ROUNDS_PER_LOOK == 0


def _part(deadline: Deadline, share: float) -> Deadline:
    return deadline.within(deadline.left_s() * share)
