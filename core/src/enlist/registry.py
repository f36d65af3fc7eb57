"""The facade that a server or a client holds: :class:`Registry`, and how one is opened."""

from __future__ import annotations

import datetime as dt
import logging
import os
import threading
import warnings
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from enlist.clock import LONGEST_WAIT, Clock, Deadline
from enlist.errors import ClosedError, InvalidInfoError, InvalidOptionError
from enlist.finding.resolver import Resolver
from enlist.finding.watch import Watch
from enlist.info import Info
from enlist.session import Session, SessionPlan
from enlist.states import State, Status

__all__ = ["DEFAULT_TIMEOUT", "Readiness", "Registry", "check_timeout"]

DEFAULT_TIMEOUT = dt.timedelta(seconds=3)

_UNREADY = frozenset({State.PENDING, State.LOST, State.SUPERSEDED})
_logger = logging.getLogger("enlist")


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether everything that this process wants registered can be found; true or false by itself.

    A registration whose last sign of life went unanswered counts as ready: the record is most
    likely still there, and taking a server out because its registry is away makes it worse.

    Attributes:
        ready: whether it is.
        reasons: one line for each registration that is not.
    """

    ready: bool
    reasons: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Return ``ready``."""
        return self.ready

    @classmethod
    def of(cls, statuses: Iterable[Status]) -> Self:
        """Judge registrations by their states."""
        reasons = tuple(
            f"{status.info.service_name} at {status.info.addr} "
            f"is {status.state.value} in {status.registry}"
            + (f": {status.last_error}" if status.last_error is not None else "")
            for status in statuses
            if status.state in _UNREADY
        )
        return cls(not reasons, reasons)


class Registry:
    """One opened registry. Safe for any thread; a forked child may go on using it as its own.

    Open one with :func:`enlist.open_registry`, and close it, best with ``with``. Nothing is sent
    before the first call. Every call answers or raises within its timeout; what it raises is an
    error of :mod:`enlist.errors`. In a forked child the registrations stay the parent's: the
    child's first call opens its own connections under its own owner.
    """

    def __init__(self, plan: SessionPlan, timeout: dt.timedelta = DEFAULT_TIMEOUT) -> None:
        """Hold a registry that is opened on first use; applications call ``open_registry``."""
        self._plan = plan
        self._timeout = timeout
        self._closed = False
        # By process: a fork copies locks and sessions in whatever state they are in. The child
        # finds nothing under its own number, and keeps the parent's so that none is finalised.
        self._locks: dict[int, threading.Lock] = {}
        self._sessions: dict[int, Session] = {os.getpid(): Session(plan)}
        self._finalizer = weakref.finalize(self, _abandoned, plan, self._sessions, timeout)

    @property
    def name(self) -> str:
        """What the registry is called in messages and in :class:`Status`."""
        return self._plan.name

    @property
    def is_local(self) -> bool:
        """Whether the backend is on this machine, so that a loopback address can be of use."""
        return self._plan.is_local

    @property
    def timeout(self) -> dt.timedelta:
        """How long one call may take unless it says otherwise."""
        return self._timeout

    @property
    def clock(self) -> Clock:
        """The time by which this registry goes."""
        return self._plan.clock

    def __repr__(self) -> str:
        """Show the name and whether it is closed; never an option."""
        return f"<enlist.Registry {self.name!r}{' closed' if self._closed else ''}>"

    # --- registering -------------------------------------------------------------------------

    def register(self, info: Info, *, timeout: dt.timedelta | None = None) -> None:
        """Register a server, or say anew what it is; from then on it stays registered.

        Registering an identity again is an update in place, without a moment of absence; it
        takes over from another process that holds it.

        Args:
            info: complete: with a service name and an address that clients can reach.
            timeout: for this call; None for the registry's own.

        Raises:
            InvalidInfoError: the Info is incomplete, or the backend cannot carry it.
            UnavailableError: no backend answered, and ``on_unavailable`` is "raise".
            RejectedError, UnauthorisedError: the backend refused.
            ClosedError: the registry was closed.
        """
        session, deadline = self._call(timeout)
        info = self._prepared(session, info)
        session.supervisor.start()
        try:
            session.calls.register(info, deadline)
        finally:
            session.supervisor.ensure_running()

    def register_all(self, infos: Iterable[Info], *, timeout: dt.timedelta | None = None) -> None:
        """Register many at once, in batches where the backend has them: all, or none.

        Args:
            infos: each complete, no two of one identity.
            timeout: for the whole call; a backend that takes one record at a time needs more
                than the default for thousands.

        Raises:
            RegistryError: as :meth:`register`; what was new is taken back then.
        """
        session, deadline = self._call(timeout)
        prepared = [self._prepared(session, info) for info in infos]
        if len({info.identity for info in prepared}) < len(prepared):
            raise InvalidInfoError(
                "infos", len(prepared), "must not name one service at one address twice"
            )
        session.supervisor.start()
        try:
            session.calls.register_all(prepared, deadline)
        finally:
            session.supervisor.ensure_running()

    def _prepared(self, session: Session, info: Info) -> Info:
        session.backend.validate(info)
        enriched = session.backend.enrich(info)
        if enriched is not info:
            session.backend.validate(enriched)
        return enriched

    def update(
        self,
        info: Info,
        *,
        weight: int | None = None,
        tags: Mapping[str, str] | None = None,
        timeout: dt.timedelta | None = None,
    ) -> Info:
        """Change the weight or the tags of what is registered, in place.

        Args:
            info: any Info of the registered service name and address.
            weight: the new weight; None leaves it.
            tags: the new tags, all of them; None leaves them.
            timeout: for this call; None for the registry's own.

        Returns:
            What is registered now.

        Raises:
            InvalidInfoError: it is not registered here, or a value breaks its rule.
            RegistryError: as :meth:`register`; what was registered stays.
        """
        session, deadline = self._call(timeout)
        identity = _checked_info(info).identity
        try:
            while current := session.table.get(identity):
                changed = replace(
                    current,
                    weight=current.weight if weight is None else weight,
                    tags=current.tags if tags is None else tags,
                )
                changed = self._prepared(session, changed)
                if session.calls.update(changed, current, deadline):
                    return changed
                # Another thread has changed it meanwhile: begin from what it has become.
        finally:
            session.supervisor.ensure_running()
        raise InvalidInfoError("info", info, "is not registered here; register it first")

    def deregister(self, info: Info, *, timeout: dt.timedelta | None = None) -> None:
        """Remove a registration; when this returns, no client finds it.

        Deregistering what is not there is no error. A record of another owner stays.

        Args:
            info: any Info of the registered service name and address.
            timeout: for this call; None for the registry's own.

        Raises:
            RegistryError: it could not be confirmed; the message says that the removal goes on
                in the background, which it does until the registry is closed.
        """
        session, deadline = self._call(timeout)
        _checked_info(info)
        try:
            session.calls.deregister(info, deadline)
        finally:
            if len(session.table):
                session.supervisor.ensure_running()

    def status(self) -> tuple[Status, ...]:
        """Return every registration of this process as it stands. Sends nothing."""
        return self._session().table.statuses(self.name)

    def readiness(self) -> Readiness:
        """Return whether all is registered, for a readiness endpoint. Sends nothing."""
        return Readiness.of(status for status in self.status() if status.state is not State.LEAVING)

    # --- finding -----------------------------------------------------------------------------

    def resolve(
        self, service_name: str, *, timeout: dt.timedelta | None = None
    ) -> tuple[Info, ...]:
        """Ask the backend once who is there; a name that nobody registered gives nothing.

        For anything that asks more than once, :meth:`resolver` is live and costs no call.
        """
        session, deadline = self._call(timeout)
        return session.backend.resolve(_checked_name(service_name), deadline.remaining_s())

    def resolver(self, service_name: str, *, tags: Mapping[str, str] | None = None) -> Resolver:
        """Follow a service: a live, cached view that survives outages. Close it when done.

        Resolvers of one name share one watch. This does not wait for the first list.

        Args:
            service_name: whom to follow.
            tags: only instances that have all of these.

        Raises:
            UnsupportedError: the backend only publishes.
        """
        return Resolver(
            lambda: self.watch(service_name),
            clock=self._plan.clock,
            timeout_s=self._timeout.total_seconds(),
            tags=tags,
        )

    def watch(self, service_name: str) -> Watch:
        """Return a share of the watch on which resolvers of a service stand; close it after use."""
        session = self._session()
        session.supervisor.start()
        watch = session.watches.open(_checked_name(service_name))
        session.supervisor.ensure_running()
        return watch

    def services(self, *, timeout: dt.timedelta | None = None) -> tuple[str, ...]:
        """Return the names of all services that have an instance, sorted.

        Raises:
            UnsupportedError: the backend cannot list them.
        """
        session, deadline = self._call(timeout)
        return tuple(sorted(session.backend.services(deadline.remaining_s())))

    def probe(self, *, timeout: dt.timedelta | None = None) -> None:
        """Make the cheapest call that proves that the backend answers; raise if it does not."""
        session, deadline = self._call(timeout)
        session.backend.probe("enlist-probe", deadline.remaining_s())

    # --- the end -----------------------------------------------------------------------------

    def close(self) -> None:
        """Deregister all that is held, end every watch, and let go of every connection.

        Takes one timeout at most; what could not be removed in that time ends with its time to
        live. What another call is writing is removed once that call has ended. A second call does
        nothing, and neither does one in a child of the process that used the registry.
        """
        self._closed = True
        self._finalizer.detach()
        with self._lock():
            session = self._sessions.pop(os.getpid(), None)
        if session is not None:
            _close(session, self._plan, self._timeout)

    def __enter__(self) -> Self:
        """Return the registry."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    # --- the process -------------------------------------------------------------------------

    def _call(self, timeout: dt.timedelta | None) -> tuple[Session, Deadline]:
        limit = self._timeout if timeout is None else check_timeout(timeout)
        return self._session(), Deadline(self._plan.clock, limit.total_seconds())

    def _session(self) -> Session:
        pid = os.getpid()
        session = self._sessions.get(pid)
        if session is None:
            with self._lock():
                if self._closed:
                    raise ClosedError(
                        f"registry {self.name!r} was closed; open another with open_registry()"
                    )
                session = self._sessions.get(pid)
                if session is None:
                    session = self._sessions[pid] = Session(self._plan)
        session.supervisor.revive()  # whatever is asked of it, a registry keeps what it holds
        return session

    def _lock(self) -> threading.Lock:
        return self._locks.setdefault(os.getpid(), threading.Lock())


def _close(session: Session, plan: SessionPlan, timeout: dt.timedelta) -> None:
    remaining = session.close(Deadline(plan.clock, timeout.total_seconds()))
    if remaining:
        _logger.warning(
            "%s: %d registrations could not be removed; they end with their time to live",
            plan.name,
            remaining,
        )


def _abandoned(plan: SessionPlan, sessions: dict[int, Session], timeout: dt.timedelta) -> None:
    """Close what nobody closed: at the end of the process, or when the registry is collected."""
    session = sessions.pop(os.getpid(), None)
    if session is None:
        return
    try:
        message = f"registry {plan.name!r} was never closed; use 'with' or close()"
        warnings.warn(message, ResourceWarning, stacklevel=2)
    finally:  # a warning may be an error
        _close(session, plan, timeout)


def check_timeout(timeout: object) -> dt.timedelta:
    """Return the time that a call may take, or refuse what is no time.

    Raises:
        InvalidOptionError: it is no timedelta longer than 0, or longer than a day.
    """
    if not isinstance(timeout, dt.timedelta) or not dt.timedelta(0) < timeout <= LONGEST_WAIT:
        raise InvalidOptionError(
            "timeout",
            timeout,
            "must be a timedelta longer than 0 and at most a day, such as timedelta(seconds=3)",
        )
    return timeout


def _checked_info(info: Info) -> Info:
    if not isinstance(info, Info):
        raise InvalidInfoError("info", info, "must be an enlist.Info")
    return info


def _checked_name(service_name: str) -> str:
    checked = Info(service_name=service_name).service_name
    if not checked:
        raise InvalidInfoError("service_name", service_name, "must not be empty")
    return checked
