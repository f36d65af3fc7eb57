"""Plugins that keep registrations in ways that break the rules of K.

Each is broken in one way that real ones are; all else is as in memory_plugin.
"""

import atexit
import contextlib
import os
import socket
import threading
from collections.abc import Sequence

from core.tests.kit.memory_plugin import Json, MemoryOptions, MemoryRegistry
from enlist.errors import RejectedError, UnavailableError
from enlist.hookspecs import Beat, Lost, Why, hookimpl
from enlist.info import Info


class LeavesOnTheFirstError(MemoryRegistry):
    """After any error begins with a new lease, and ends the old one."""

    @hookimpl
    def keep_alive(self, infos: Sequence[Info], timeout_s: float) -> Beat:
        try:
            return super().keep_alive(infos, timeout_s)
        except UnavailableError:
            threading.Thread(target=self._begin_anew, daemon=True).start()
            raise

    def _begin_anew(self) -> None:
        old, self.lease = self.lease, f"{self.lease}+"
        for _ in range(200):
            with contextlib.suppress(UnavailableError):
                self.call("revoke", 1.0, lease=old)
                return
            threading.Event().wait(0.02)


class GivesUp(MemoryRegistry):
    """After five failures keeps silent, and says that all is well."""

    failures = 0

    @hookimpl
    def keep_alive(self, infos: Sequence[Info], timeout_s: float) -> Beat:
        if self.failures >= 5:
            return Beat((), self.ttl_s)
        try:
            return super().keep_alive(infos, timeout_s)
        except UnavailableError:
            self.failures += 1
            raise


class BacksOffForLong(MemoryRegistry):
    """Has a back-off of its own, as client libraries have: after an error it rests for long."""

    def __init__(self, options: MemoryOptions, owner: str) -> None:
        super().__init__(options, owner)
        self.resting = False

    def connect(self, timeout_s: float) -> socket.socket:
        if self.resting:
            raise UnavailableError("waiting before the next attempt to connect")
        try:
            return super().connect(timeout_s)
        except UnavailableError:
            self.resting = True
            raise


class LooksAtTheLeaseAlone(MemoryRegistry):
    """Prolongs its lease, and takes its records to be there."""

    @hookimpl
    def keep_alive(self, infos: Sequence[Info], timeout_s: float) -> Beat:
        alive = self.call("prolong", timeout_s, lease=self.lease)
        return Beat(() if alive else self.lost(infos, timeout_s), self.ttl_s)


class LooksAtTheFirst(MemoryRegistry):
    """Asks after the first ten alone: as many as one page of answers has."""

    def lost(self, infos: Sequence[Info], timeout_s: float) -> list[Lost]:
        return super().lost(infos[:10], timeout_s)


class RepairsWhileBeating(MemoryRegistry):
    """Writes what is gone by itself, and tells the core that nothing was."""

    @hookimpl
    def keep_alive(self, infos: Sequence[Info], timeout_s: float) -> Beat:
        beat = super().keep_alive(infos, timeout_s)
        gone = [one.info for one in beat.lost if one.why is Why.GONE]
        self.restore(gone, timeout_s)
        return Beat([one for one in beat.lost if one.info not in gone], beat.valid_for_s)


class ForgetsALostLease(MemoryRegistry):
    """Takes a new lease when the old one is lost, and puts nothing under it: tooz's etcd driver."""

    @hookimpl
    def keep_alive(self, infos: Sequence[Info], timeout_s: float) -> Beat:
        if self.call("prolong", timeout_s, lease=self.lease) is None:
            self.grant(timeout_s)
            return Beat((), self.ttl_s)
        return Beat((), self.ttl_s)


class DiesOfALostLease(MemoryRegistry):
    """Calls a lost lease an error, at every beat."""

    @hookimpl
    def keep_alive(self, infos: Sequence[Info], timeout_s: float) -> Beat:
        if self.call("prolong", timeout_s, lease=self.lease) is None:
            raise RejectedError("the session has expired")
        return Beat(self.lost(infos, timeout_s), self.ttl_s)


class Resurrects(MemoryRegistry):
    """Has a list of its own of what to keep, and repairs from that."""

    def __init__(self, options: MemoryOptions, owner: str) -> None:
        super().__init__(options, owner)
        self.known: dict[str, Json] = {}

    def record(self, info: Info) -> Json:
        return self.known.setdefault(self.key(info), super().record(info))

    @hookimpl
    def keep_alive(self, infos: Sequence[Info], timeout_s: float) -> Beat:
        beat = super().keep_alive(infos, timeout_s)
        self.call("put", timeout_s, records=list(self.known.values()), only_vacant=True)
        return beat


class RetriesByItself(MemoryRegistry):
    """Tries a failed write again in a thread of its own, whatever was decided meanwhile."""

    @hookimpl
    def register(self, info: Info, timeout_s: float) -> None:
        try:
            super().register(info, timeout_s)
        except UnavailableError:
            threading.Thread(target=self._again, args=(info,), daemon=True).start()
            raise

    def _again(self, info: Info) -> None:
        wait = threading.Event().wait
        for _ in range(40):
            wait(0.5)
            with contextlib.suppress(UnavailableError):
                self.grant(1.0)
                self.put(info, 1.0)


class BeatsFromAChild(MemoryRegistry):
    """Starts its own beating thread again in a forked child."""

    def __init__(self, options: MemoryOptions, owner: str) -> None:
        super().__init__(options, owner)
        os.register_at_fork(after_in_child=self._beat_for_ever)

    def _beat_for_ever(self) -> None:
        def run() -> None:
            while True:
                with contextlib.suppress(UnavailableError):
                    self.call("prolong", 1.0, lease=self.lease)
                threading.Event().wait(self.ttl_s / 3)

        threading.Thread(target=run, daemon=True).start()


class RevokesAtExit(MemoryRegistry):
    """Tidies up at the end of the process: of each process that has a copy of it."""

    def __init__(self, options: MemoryOptions, owner: str) -> None:
        super().__init__(options, owner)
        atexit.register(self._leave)

    def _leave(self) -> None:
        with contextlib.suppress(UnavailableError):
            self.call("revoke", 1.0, lease=self.lease)


class SwallowsFailedBeats(MemoryRegistry):
    """Calls everything alive when nobody answers."""

    @hookimpl
    def keep_alive(self, infos: Sequence[Info], timeout_s: float) -> Beat:
        try:
            return super().keep_alive(infos, timeout_s)
        except UnavailableError:
            return Beat((), self.ttl_s)


BREAKS: dict[type[MemoryRegistry], str] = {
    LeavesOnTheFirstError: "K1",
    GivesUp: "K2",
    BacksOffForLong: "K2",
    LooksAtTheLeaseAlone: "K3",
    LooksAtTheFirst: "K3",
    RepairsWhileBeating: "K3",
    ForgetsALostLease: "K4",
    DiesOfALostLease: "K5",
    Resurrects: "K6",
    RetriesByItself: "K6",
    BeatsFromAChild: "K7",
    RevokesAtExit: "K7",
    SwallowsFailedBeats: "K8",
}
"""The rule that each of them breaks."""
