"""Several registries used as one: to be found in each, and to move a fleet between them."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from enlist.errors import RegistryError
from enlist.finding.merged_view import MergedView
from enlist.finding.resolver import Resolver
from enlist.info import Info
from enlist.registry import Readiness, Registry
from enlist.states import State, Status

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["RegistryGroup"]

_T = TypeVar("_T")


class RegistryGroup:
    """Registers in all of its registries, and finds what any of them has.

    Made by :func:`enlist.open_registry` from a list. It has the methods of a
    :class:`~enlist.Registry`; the members are called side by side. A member that raises has the
    others taken back, so that a server is in all of them or fails; with
    ``on_unavailable="retry"`` a member that is away does not raise, and catches up later.
    """

    def __init__(self, members: Sequence[Registry], *, owned: Sequence[Registry]) -> None:
        """Use ``members`` as one.

        Args:
            members: the opened registries; in a clash the first one is believed.
            owned: those of them that :meth:`close` closes.
        """
        self._members = tuple(members)
        self._owned = tuple(owned)

    @property
    def name(self) -> str:
        """The names of the members."""
        return ", ".join(member.name for member in self._members)

    @property
    def is_local(self) -> bool:
        """Whether every member is on this machine."""
        return all(member.is_local for member in self._members)

    @property
    def timeout(self) -> dt.timedelta:
        """How long one call may take unless it says otherwise; the longest of the members'."""
        return max(member.timeout for member in self._members)

    def __repr__(self) -> str:
        """Show the names."""
        return f"<enlist.RegistryGroup {self.name}>"

    # --- registering -------------------------------------------------------------------------

    def register(self, info: Info, *, timeout: dt.timedelta | None = None) -> None:
        """Register in every member; if one raises, what was there before is put back in all."""
        self.register_all([info], timeout=timeout)

    def register_all(self, infos: Iterable[Info], *, timeout: dt.timedelta | None = None) -> None:
        """Register many in every member; if one raises, all is put back as it was before."""
        wanted = list(infos)
        self._all_or_none(lambda member: _register(member, wanted, timeout), wanted, timeout)

    def update(
        self,
        info: Info,
        *,
        weight: int | None = None,
        tags: Mapping[str, str] | None = None,
        timeout: dt.timedelta | None = None,
    ) -> Info:
        """Change weight or tags in every member; if one raises, all is put back as it was."""
        return self._all_or_none(
            lambda member: member.update(info, weight=weight, tags=tags, timeout=timeout),
            [info],
            timeout,
        )[0]

    def deregister(self, info: Info, *, timeout: dt.timedelta | None = None) -> None:
        """Remove from every member; when all were asked, raise what the first to fail raised."""
        for outcome in self._everywhere(lambda member: member.deregister(info, timeout=timeout)):
            outcome.result()

    def status(self) -> tuple[Status, ...]:
        """Return every registration in every member; ``Status.registry`` tells them apart."""
        return tuple(status for member in self._members for status in member.status())

    def readiness(self) -> Readiness:
        """Return whether all is registered in all members."""
        return Readiness.of(status for status in self.status() if status.state is not State.LEAVING)

    # --- finding -----------------------------------------------------------------------------

    def resolve(
        self, service_name: str, *, timeout: dt.timedelta | None = None
    ) -> tuple[Info, ...]:
        """Return the union by identity of what the members have; raises only if all fail."""
        lists = self._answers(lambda member: member.resolve(service_name, timeout=timeout))
        union = {info.identity: info for found in reversed(lists) for info in found}
        return tuple(union.values())

    def resolver(self, service_name: str, *, tags: Mapping[str, str] | None = None) -> Resolver:
        """Follow a service in all members at once; stale only while all of them are."""
        first = self._members[0]
        return Resolver(
            lambda: MergedView(
                [member.watch(service_name) for member in self._members], first.clock
            ),
            clock=first.clock,
            timeout_s=first.timeout.total_seconds(),
            tags=tags,
        )

    def services(self, *, timeout: dt.timedelta | None = None) -> tuple[str, ...]:
        """Return the names that any member has, sorted; raises only if all fail."""
        lists = self._answers(lambda member: member.services(timeout=timeout))
        return tuple(sorted({name for found in lists for name in found}))

    def probe(self, *, timeout: dt.timedelta | None = None) -> None:
        """Prove that every member answers; raise what the first silent one raises."""
        for outcome in self._everywhere(lambda member: member.probe(timeout=timeout)):
            outcome.result()

    # --- the end -----------------------------------------------------------------------------

    def close(self) -> None:
        """Close the members that were opened for this group; a second call does nothing."""
        for outcome in self._everywhere(lambda member: member.close(), self._owned):
            outcome.result()

    def __enter__(self) -> Self:
        """Return the group."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    # --- side by side ------------------------------------------------------------------------

    def _everywhere(
        self, call: Callable[[Registry], _T], members: Sequence[Registry] | None = None
    ) -> list[Future[_T]]:
        """Call every member at the same time; return the finished futures in their order."""
        from concurrent.futures import Future  # noqa: PLC0415 - few have a group

        chosen = self._members if members is None else members
        outcomes: list[Future[_T]] = [Future() for _ in chosen]
        threads = [
            _begin(partial(_settle, outcome, call, member))
            for outcome, member in zip(outcomes, chosen, strict=True)
        ]
        for thread in threads:
            if thread is not None:
                thread.join()
        return outcomes

    def _all_or_none(
        self, call: Callable[[Registry], _T], infos: Sequence[Info], timeout: dt.timedelta | None
    ) -> list[_T]:
        """Change these registrations in every member; where one raises, put back the others'."""
        before = [_registered(member) for member in self._members]
        outcomes = self._everywhere(call)
        failed = [error for outcome in outcomes if (error := outcome.exception()) is not None]
        if failed:
            for member, outcome, known in zip(self._members, outcomes, before, strict=True):
                if outcome.exception() is None:
                    _put_back(member, infos, known, timeout)
            raise failed[0]
        return [outcome.result() for outcome in outcomes]

    def _answers(self, call: Callable[[Registry], _T]) -> list[_T]:
        outcomes = self._everywhere(call)
        answers = [outcome.result() for outcome in outcomes if outcome.exception() is None]
        return answers or [outcomes[0].result()]


def _begin(call: Callable[[], None]) -> threading.Thread | None:
    """Make a call in a thread of its own; where there is none to be had, here and now.

    Once the main thread has ended an executor takes no more work, and some CPythons 3.12 start no
    thread either, but other threads may serve for long after that.
    """
    thread = threading.Thread(target=call, name="enlist-group", daemon=True)
    try:
        thread.start()
    except RuntimeError:
        call()
        return None
    return thread


def _settle(outcome: Future[_T], call: Callable[[Registry], _T], member: Registry) -> None:
    try:
        outcome.set_result(call(member))
    except BaseException as exc:  # noqa: BLE001 - whoever asks for the outcome raises it
        outcome.set_exception(exc)


def _registered(member: Registry) -> dict[object, Info]:
    return {
        status.info.identity: status.info
        for status in member.status()
        if status.state is not State.LEAVING
    }


def _register(member: Registry, infos: Sequence[Info], timeout: dt.timedelta | None) -> None:
    if len(infos) == 1:
        member.register(infos[0], timeout=timeout)
    else:
        member.register_all(infos, timeout=timeout)


def _put_back(
    member: Registry,
    infos: Sequence[Info],
    known: Mapping[object, Info],
    timeout: dt.timedelta | None,
) -> None:
    for info in infos:
        try:
            if info.identity in known:
                member.register(known[info.identity], timeout=timeout)
            else:
                member.deregister(info, timeout=timeout)
        except RegistryError as exc:
            # The member goes on by itself; the error that started this is the one to raise.
            exc.add_note(f"while taking back {info.service_name} at {info.addr}")
