"""Following one service by requests that the agent answers when something changes."""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from typing import Final

from enlist.errors import RegistryError
from enlist.hookspecs import Stop
from enlist.info import Info
from enlist_consul.blocking import Allowance, next_index
from enlist_consul.client import Client, Line
from enlist_consul.deadline import Deadline
from enlist_consul.listing import Listing
from enlist_consul.operations import instances
from enlist_consul.shutter import Shutter

__all__ = ["Watches"]

LIST_TIMEOUT_S: Final = 10.0
"""How long an answer may take that does not wait for a change."""

WAITS_S: Final = (40.0, 50.0)
"""How long to wait for a change; at random, so that watches begun together do not stay so."""

POLL_S: Final = 2.0
"""How often to ask where no connection is left to wait with."""

# Consul itself waits up to a sixteenth longer.
_LATER: Final = 1 + 1 / 16
_LEAST_WAIT_S: Final = 0.01
_POLL_TIMEOUT_S: Final = 2.0  # meanwhile it takes one of the turns of calls
_logger = logging.getLogger(__name__)


class Watches:
    """Follows services, each over a connection of its own while there are enough."""

    def __init__(self, client: Client, most: int, hold_s: float) -> None:
        """Follow nothing yet.

        Args:
            client: makes the requests.
            most: how many connections may wait for changes.
            hold_s: how long an instance stays of which a restarted agent knows nothing yet.
        """
        self._hold_s = hold_s
        self._client = client
        self._free = threading.Semaphore(most)
        self._most = most

    def follow(self, service_name: str, stop: Stop) -> Iterator[Sequence[Info]]:
        """Yield the present list, then the newest after each change, until stopped.

        Raises:
            RegistryError: the agent did not answer, or refused.
        """
        lists = self._lists(service_name, stop)
        try:
            before: Sequence[Info] | None = None
            for now in lists:
                if now != before:
                    yield now
                before = now
        except RegistryError:
            if not stop.is_set():
                raise
        finally:
            lists.close()

    def _lists(self, service_name: str, stop: Stop) -> Generator[Sequence[Info], None, None]:
        if not self._free.acquire(blocking=False):
            _logger.info(
                "consul: %d services are watched already; %r is asked for every %g s",
                self._most,
                service_name,
                POLL_S,
            )
            yield from self._polled(service_name, stop)
            return
        try:
            with contextlib.closing(self._client.line(stop.on_stop)) as line:
                yield from self._pushed(service_name, stop, line)
        finally:
            self._free.release()

    def _pushed(self, service_name: str, stop: Stop, line: Line) -> Iterator[Sequence[Info]]:
        listing, request = Listing(service_name, self._hold_s), instances(service_name)
        allowance = Allowance(time.monotonic())
        answer = line.call(request, Deadline(LIST_TIMEOUT_S))
        body, index = answer.body, next_index(0, answer)
        yield listing.fill(answer)
        while not stop.wait(allowance.take(time.monotonic())):
            wait_s = random.uniform(*WAITS_S)  # noqa: S311 - spreads load, guards nothing
            held_s = listing.held_s()
            if held_s is not None:
                wait_s = min(wait_s, held_s + _LEAST_WAIT_S)
            asked = request.waiting(index, wait_s) if index else request
            answer = line.call(asked, Deadline(wait_s * _LATER + LIST_TIMEOUT_S))
            index = next_index(index, answer)
            if answer.body != body or held_s is not None:
                body = answer.body
                yield listing.fill(answer)

    def _polled(self, service_name: str, stop: Stop) -> Iterator[Sequence[Info]]:
        listing, request = Listing(service_name, self._hold_s), instances(service_name)
        shutter = Shutter()
        stop.on_stop(shutter.shut)
        while not stop.is_set():
            yield listing.fill(self._client.call(request, Deadline(_POLL_TIMEOUT_S), shutter))
            stop.wait(POLL_S)
