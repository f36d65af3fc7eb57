"""What a resolver stands on: one watch, or something that makes several look like one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from enlist.finding.balance import FirstSeen
from enlist.finding.listeners import Ended, Listener
from enlist.finding.view import Snapshot

__all__ = ["LiveView"]


class LiveView(Protocol):
    """A view of one service that changes as its servers come and go."""

    @property
    def backend_name(self) -> str:
        """What the backend is called, for messages."""

    @property
    def service_name(self) -> str:
        """What is watched."""

    @property
    def current(self) -> Snapshot | None:
        """The newest snapshot; the same object until something changes. None after the end."""

    @property
    def last_error(self) -> BaseException | None:
        """Why the view is stale, if it is known."""

    @property
    def abandoned(self) -> bool:
        """Whether it belongs to the process that this one was forked from."""

    @property
    def first_seen(self) -> FirstSeen:
        """When each instance was first seen."""

    def subscribe(self, listener: Listener, ended: Ended | None = None) -> Callable[[], None]:
        """Have the listener called with each new snapshot; return what ends that.

        ``ended`` is called when the view has ended; if it is made of several, when one of them has.
        """

    def wait_until(self, wanted: Callable[[Snapshot], bool], timeout_s: float) -> None:
        """Wait until a snapshot is as wanted, the view has ended, or the seconds have passed."""

    def close(self) -> None:
        """Give this share of the view back."""
