"""Several servers of one kind that belong together, started at the same time."""

import abc
import contextlib
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Generic, Self, TypeVar

from tests.servers.process import Server
from tests.waiting import eventually


class Member(Server):
    """A server that can be one of a cluster."""

    @abc.abstractmethod
    def leads(self) -> bool:
        """Tell whether this member is the leader now; OSError counts as no."""


M = TypeVar("M", bound=Member)


class Cluster(Generic[M]):
    """Members of one cluster; index it, iterate over it, or move it as a whole.

    Entering it as a context manager starts all members and waits until each answers,
    leaving closes them.

    Args:
        members: At least one, each configured to find the others.
    """

    def __init__(self, members: Sequence[M]) -> None:
        self.members = tuple(members)

    def __enter__(self) -> Self:
        """Start all members."""
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close all members."""
        self.close()

    def __getitem__(self, index: int) -> M:
        """Return one member."""
        return self.members[index]

    def __iter__(self) -> Iterator[M]:
        """Go through the members in their order."""
        return iter(self.members)

    def __len__(self) -> int:
        """Count the members."""
        return len(self.members)

    def start(self) -> None:
        """Start every member that does not run, then wait until each answers."""
        for member in self:
            member.spawn()
        for member in self:
            member.start()

    def stop(self) -> None:
        """End every member with SIGTERM."""
        for member in self:
            member.stop()

    def kill(self) -> None:
        """End every member with SIGKILL."""
        for member in self:
            member.kill()

    def restart(self, *, wipe: bool = False) -> None:
        """Stop all members, then start all, with their data or with none.

        Emptying a lone member is left out on purpose: etcd refuses to take such a one back.
        """
        self.stop()
        if wipe:
            for member in self:
                member.wipe()
        self.start()

    def recover(self) -> None:
        """Bring every member back to answering after whatever a test did to it."""
        for member in self:
            if member.frozen:
                member.thaw()
        if not all(member.running for member in self):
            self.start()

    def close(self) -> None:
        """Close every member. A second call does nothing."""
        for member in self:
            member.close()

    def leader(self, timeout_s: float = 30.0) -> M:
        """Wait until a running, unfrozen member leads, and return it.

        Raises:
            AssertionError: If none does within `timeout_s` seconds.
        """

        def leading() -> M | None:
            for member in self:
                with contextlib.suppress(OSError):  # one that is down leads nobody
                    if member.running and not member.frozen and member.leads():
                        return member
            return None

        found = eventually(leading, within_s=timeout_s, why="a member leads")
        assert found is not None
        return found

    def followers(self) -> list[M]:
        """Return the members that do not lead."""
        leader = self.leader()
        return [member for member in self if member is not leader]
