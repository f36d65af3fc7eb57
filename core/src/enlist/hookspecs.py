"""The Registry spec: what a backend plugin implements, and what it promises by doing so.

A plugin is a class with three things and the hooks that it can offer::

    class FolderRegistry:
        spec_version = 1
        Options = FolderOptions                      # a dataclass: see enlist.backend_options

        def __init__(self, options: FolderOptions, owner: str) -> None: ...   # no I/O here

        @hookimpl
        def register(self, info: Info) -> None: ...

        @hookimpl
        def deregister(self, info: Info) -> None: ...

``register`` and ``deregister`` are enough; for every other hook the core has a fallback, which
each hook below names. An implementation may leave out any argument that it does not need, so
arguments can be added to this spec without breaking plugins. A backend that never leaves the
machine says so with ``one_machine = True``, and nobody is warned of loopback addresses in it.

The division of work: a plugin translates and talks to its server, at once, in the calling
thread. It never retries, schedules or caches what its server said; the core does that once for
every plugin.

**Time.** Every hook that talks to a server is given ``timeout_s``, a positive number of seconds,
and answers or raises within it.

**Threads.** For one identity (service name and address) the core never runs two of ``register``,
``deregister``, ``restore`` and ``withdraw`` at the same time; everything else may run
concurrently and in any thread. The core holds no lock while it calls a hook. ``close`` comes
once, after the other calls have returned or had their time.

**Fork.** The core never calls a hook in a forked child: a child's first use makes a new plugin
object.

**Errors.** A hook raises only :class:`~enlist.errors.UnavailableError`,
:class:`~enlist.errors.TimedOutError`, :class:`~enlist.errors.RejectedError`,
:class:`~enlist.errors.UnauthorisedError` or :class:`~enlist.errors.UnsupportedError`, and
``validate`` only :class:`~enlist.errors.InvalidInfoError`; the server's own error is chained.
No secret is in any message.

**Owner.** ``owner`` is 32 hexadecimal digits drawn for each opened registry and process; a
record carries it, and only its owner removes or repairs it.

The names in brackets (R1, K3, V6, ...) are the rules that the conformance kit tests.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

import pluggy

from enlist.errors import RegistryError
from enlist.info import Info

__all__ = [
    "PROJECT_NAME",
    "SPEC_VERSION",
    "Beat",
    "ExtensionSpec",
    "Lost",
    "RegistrySpec",
    "Stop",
    "Why",
    "hookimpl",
]

PROJECT_NAME: Final = "enlist"
SPEC_VERSION: Final = 1

_Hook = TypeVar("_Hook", bound=Callable[..., Any])

hookimpl = pluggy.HookimplMarker(PROJECT_NAME)
"""Marks a method of a plugin or an extension as the implementation of the hook of its name."""

_marker = pluggy.HookspecMarker(PROJECT_NAME)


def _one(function: _Hook) -> _Hook:
    """Mark a hook of the backend: there is exactly one implementation, and wrappers around it."""
    return _marker(firstresult=True)(function)


class Why(enum.Enum):
    """Why a registration is not alive."""

    GONE = "gone"
    """No record is there, or a dead one (its lease, session or check has ended)."""
    SUPERSEDED = "superseded"
    """A live record of another owner is there."""
    FAILED = "failed"
    """The server gave an error for this one alone; its record may be there or not."""


@dataclass(frozen=True, slots=True)
class Lost:
    """One registration that is not alive.

    Attributes:
        info: the Info as it was handed to the hook.
        why: what was found in its place.
        error: the error, for ``Why.FAILED``.
    """

    info: Info
    why: Why
    error: RegistryError | None = None


@dataclass(frozen=True, slots=True)
class Beat:
    """What one ``keep_alive`` learnt.

    Attributes:
        lost: the registrations that are not alive; all others are.
        valid_for_s: the time to live that the server granted, in seconds: how long the records
            outlive this sign of life. The core beats three times in that time.
    """

    lost: Sequence[Lost]
    valid_for_s: float


class Stop(Protocol):
    """Tells a ``watch`` that it is no longer wanted. The core makes it; a plugin only reads it."""

    def is_set(self) -> bool:
        """Return whether the watch is to end."""

    def wait(self, seconds: float) -> bool:
        """Wait until the watch is to end or the seconds have passed; return ``is_set()``."""

    def on_stop(self, callback: Callable[[], object]) -> None:
        """Have the callback run once, in the thread that stops, or at once if stopped already.

        It must make the blocked iterator return soon: cancel the stream, shut the socket, put
        something into the queue. It must not block.
        """


class RegistrySpec:
    """The hooks of a backend."""

    @_one
    def register(self, info: Info, timeout_s: float) -> None:
        """Write the record of ``info``, whatever stands there: the user's own, explicit call.

        Called: in the user's thread, once for each explicit ``register`` or ``update``.

        Must: bind the record to this process's liveness (lease, session, check) and put our
        owner into it [R3, R5]; take the identity over from whoever holds it, in one atomic step
        where the server has one, so that no reader sees a moment of absence [R4]; return only
        when another client's ``resolve`` finds it [R1]; leave one record [R4].
        Must not: lose or change anything of ``info`` [R2]; wait for longer than ``timeout_s`` [R7].

        Args:
            info: complete, and accepted by ``validate``.
            timeout_s: seconds within which to answer.
        """

    @_one
    def deregister(self, info: Info, timeout_s: float) -> None:
        """Remove the record of ``info`` if its owner is ours.

        Called: in the user's thread, and by the keeper while a removal is owed.

        Must: return only when no client's ``resolve`` finds our record [R6]; leave a record of
        another owner as it is [R5]. That nothing is there, or another's, is no error [R6].

        Args:
            info: what was registered; only its identity counts.
            timeout_s: seconds within which to answer.
        """

    @_one
    def keep_alive(self, infos: Sequence[Info], timeout_s: float) -> Beat:
        """Prove that this process lives, for all of ``infos`` at the smallest cost; look at them.

        Called: by the keeper, once an interval (a third of ``valid_for_s``). Never with nothing.

        Must: report each of ``infos`` whose record is absent, dead or another owner's [K2 to
        K5, R5]; not write any record. Raise only when nothing was learnt of any.
        Without this hook: the core calls ``register`` again for each, every interval.

        Args:
            infos: all that the core believes to be registered.
            timeout_s: seconds within which to answer.

        Returns:
            What is not alive, and the time to live that the server granted.
        """
        raise NotImplementedError  # a specification has no body; pluggy never calls it

    @_one
    def restore(self, infos: Sequence[Info], timeout_s: float) -> Sequence[Lost]:
        """Write the record of each that has none, a dead one, or one of ours: repair and bulk.

        Called: by the keeper for what a beat reported gone, and for ``register_all``.

        Must: never replace a live record of another owner, not even in a race where the server
        can compare and write in one step [R5]; write in batches where the server can; when
        time runs out, return what was not reached as ``Why.GONE`` rather than raise, if
        anything was written. Raise only when nothing is known to have been written.
        Without this hook: ``register`` for each.

        Args:
            infos: complete, and accepted by ``validate``.
            timeout_s: seconds within which to answer.

        Returns:
            Those that are still not alive.
        """
        raise NotImplementedError  # a specification has no body; pluggy never calls it

    @_one
    def withdraw(self, infos: Sequence[Info], timeout_s: float) -> Sequence[Info]:
        """Remove the records of all of these whose owner is ours: the bulk path at closing.

        Must: leave a record of another owner as it is [R5]; return those that may still be
        there when time has run out. Raise only when nothing is known to have been removed.
        Without this hook: ``deregister`` for each.

        Args:
            infos: what is still registered.
            timeout_s: seconds within which to answer.
        """
        raise NotImplementedError  # a specification has no body; pluggy never calls it

    @_one
    def resolve(self, service_name: str, timeout_s: float) -> Sequence[Info]:
        """Return the instances that are registered and alive now.

        Must: compare names exactly [V6]; skip a malformed record with one warning that names
        it [V5]; return an empty list for a name that nobody registered [V1]; leave out records
        whose liveness has ended [R3].
        Without this hook: the first list of ``watch``. Without both: publishing only.

        Args:
            service_name: a valid service name.
            timeout_s: seconds within which to answer.
        """
        raise NotImplementedError  # a specification has no body; pluggy never calls it

    @_one
    def watch(self, service_name: str, stop: Stop) -> Iterator[Sequence[Info]]:
        """Return an iterator of full lists: the present one, then the newest after every change.

        Called: in a thread of the core's own for each watched name, which may block in it.

        Must: yield the present list first, also an empty one [V1]; yield nothing when nothing
        changed, and never a list older than the last [V3]; keep decoded records between lists;
        raise when the connection is lost, rather than reconnect and go on [V4]; list anew each
        time that it is called [V7]; return within 200 ms of ``stop``, from a blocked state too,
        leaving no thread, stream or socket behind [V9]. It may skip lists in between [V2].
        Without this hook: ``resolve`` every two seconds.

        Args:
            service_name: a valid service name.
            stop: ends the iteration; its ``on_stop`` callback unblocks the iterator.
        """
        raise NotImplementedError  # a specification has no body; pluggy never calls it

    @_one
    def services(self, timeout_s: float) -> Sequence[str]:
        """Return the names of which somebody is there, in any order [R6].

        Must: not fail over a malformed record [V5]; a name that has no other may be among them.
        Without this hook: ``enlist ls`` without a name is unsupported.
        """
        raise NotImplementedError  # a specification has no body; pluggy never calls it

    @_one
    def probe(self, timeout_s: float) -> None:
        """Make the cheapest call that proves that the server answers; raise if it does not.

        Called: by the keeper each interval while something is watched and nothing registered [V4].
        Without this hook: ``resolve`` of a watched name.
        """

    @_one
    def validate(self, info: Info) -> None:
        """Refuse what this backend cannot carry, naming the field and the limit [R2]. No I/O.

        Called: before ``register``, with a complete Info.
        Without this hook: nothing is refused.

        Raises:
            InvalidInfoError: the limit that ``info`` passes.
        """

    @_one
    def close(self, timeout_s: float) -> None:
        """Let go of liveness and connections. Nothing of this plugin is called afterwards.

        May remove this owner's records at once; must not touch another's [R5]. Must leave no
        thread, socket or file open [V9], also when the server does not answer.
        """


class ExtensionSpec:
    """The hooks of an extension: it looks on, enriches or wraps, and never stores anything.

    An extension may also implement ``register``, ``deregister``, ``keep_alive``, ``restore`` and
    ``resolve`` of :class:`RegistrySpec` with ``@hookimpl(wrapper=True)``, for timing and tracing.
    A wrapper around ``watch`` would see only how the iterator is made; use ``instances_changed``.
    """

    @_marker
    def enrich(self, info: Info) -> Info | None:
        """Return ``info`` with more said, or None to leave it as it is.

        Called: in the user's thread, once for each explicit register, before it is validated.
        Each extension sees what the one before it returned. The identity must stay as it is.
        """

    @_marker
    def registration_changed(
        self, info: Info, state: str, error: RegistryError | None, registry: str
    ) -> None:
        """Hear that the state of a registration changed.

        Called: in the thread in which it changed, in order for one registration. What it raises
        is logged and goes no further.

        Args:
            info: the registration.
            state: a value of :class:`enlist.State`, such as "enlisted".
            error: what led to this state, if an error did.
            registry: the name of the registry that holds it, as ``Registry.name``: one object may
                be an extension of several.
        """

    @_marker
    def instances_changed(
        self,
        service_name: str,
        instances: Sequence[Info],
        stale: bool,  # noqa: FBT001 - hooks are called by keyword only
        registry: str,
    ) -> None:
        """Hear that the view of a watched service changed.

        Called: in a thread of the registry, in order; a slow one misses views in between. What it
        raises is logged and goes no further.

        Args:
            service_name: the service.
            instances: who is there.
            stale: whether that may be out of date.
            registry: the name of the registry that watches it, as ``Registry.name``.
        """
