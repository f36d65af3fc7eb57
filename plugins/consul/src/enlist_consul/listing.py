"""Who is there, made of the answers that list the instances of one service."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from enlist.info import Info
from enlist.records import Decoded
from enlist_consul.connection import Answer
from enlist_consul.records import Entry, changed_at, decode, entry_of, is_shown, unjudged

__all__ = ["Listing"]


class Listing:
    """The instances of one service; keeps what was decoded from one list to the next."""

    def __init__(self, service_name: str, hold_s: float = 0.0) -> None:
        """Know nobody yet.

        Args:
            service_name: whose instances count.
            hold_s: how long an instance stays that was there, and of which an agent that was
                restarted knows nothing yet.
        """
        self._service_name = service_name
        self._hold_s = hold_s
        self._decoded: Decoded[Entry] = Decoded(lambda _, entry: decode(entry))
        self._there: set[str] = set()
        self._held_until: dict[str, float] = {}

    def fill(self, answer: Answer) -> list[Info]:
        """Return the instances that are alive, one for each address.

        Where agents on two nodes hold the same address, the record that changed last counts.
        """
        found = dict(self._shown(sorted(answer.json(), key=changed_at)))
        self._there = set(found)
        self._held_until = {key: until for key, until in self._held_until.items() if key in found}
        records = self._decoded.update(found.items())
        return [*{record.info.addr: record.info for record in records}.values()]

    def held_s(self) -> float | None:
        """Return the seconds until an instance is held no more; None if none is held."""
        if not self._held_until:
            return None
        return max(0.0, min(self._held_until.values()) - time.monotonic())

    def _shown(self, found: Sequence[dict[str, Any]]) -> Iterator[tuple[str, Entry]]:
        for one in found:
            service, node = one["Service"], one["Node"]
            # Consul takes names that differ in case alone for one.
            if service["Service"] != self._service_name:
                continue
            key = f"{node['Node']}/{service['ID']}"
            checks = self._judged(key, one["Checks"] or ())  # a node may have none
            if checks is not None:
                yield key, entry_of(service, checks, node["Address"])

    def _judged(
        self, key: str, checks: Sequence[Mapping[str, Any]]
    ) -> Sequence[Mapping[str, Any]] | None:
        """Return the checks that count for an instance; None if it is not shown."""
        if is_shown(checks):
            self._held_until.pop(key, None)
            return checks
        before = unjudged(checks) if key in self._there else None
        now = time.monotonic()
        if before is None or now >= self._held_until.setdefault(key, now + self._hold_s):
            return None
        return before
