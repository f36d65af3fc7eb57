"""The hooks of the Consul backend. urllib3 is loaded with the first call, not with this module."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from enlist.errors import InvalidInfoError, UnavailableError
from enlist.hookspecs import Beat, Lost, Stop, hookimpl
from enlist.info import Info
from enlist_consul.beats import Beats
from enlist_consul.catalog import Catalog
from enlist_consul.client import Client
from enlist_consul.deadline import Deadline
from enlist_consul.listing import Listing
from enlist_consul.operations import LEADER, SERVICE_NAMES, instances
from enlist_consul.options import ConsulOptions
from enlist_consul.rights import EmptyLists
from enlist_consul.store import Store
from enlist_consul.watches import Watches

__all__ = ["ConsulRegistry"]

_LONG_S: Final = 3_600.0
_NO_UNIX: Final = (
    "is a unix socket, which Consul's services cannot be reached by; publish a TCP address"
)
_PRINTABLE: Final = (
    "has a character that is not printable, such as a no-break space, which Consul refuses in "
    "the paths of its API; use letters, digits, punctuation, symbols and plain spaces"
)


@dataclass(frozen=True, slots=True)
class _Opened:
    """What works for a plugin object once it is in use."""

    client: Client
    store: Store
    beats: Beats
    watches: Watches
    empty_lists: EmptyLists


class ConsulRegistry:
    """The Consul backend: one check with a ttl for each record, at one agent.

    The core makes it and calls its hooks, which :class:`enlist.hookspecs.RegistrySpec`
    describes. Nothing is connected before the first call.
    """

    spec_version = 1
    Options = ConsulOptions

    def __init__(self, options: ConsulOptions, owner: str) -> None:
        """Take the options, and what our records carry; no I/O.

        Args:
            options: what was chosen.
            owner: 32 hexadecimal digits.
        """
        self._options = options
        self._owner = owner
        self._lock = threading.Lock()
        self._parts: _Opened | None = None
        self._closed = False

    # --- writing -----------------------------------------------------------------------------

    @hookimpl
    def register(self, info: Info, timeout_s: float) -> None:
        """Write the record, whatever stands there, and beat; return when readers see it."""
        self._open().store.put(info, Deadline(timeout_s))

    @hookimpl
    def deregister(self, info: Info, timeout_s: float) -> None:
        """Remove the record if it carries our owner; between look and removal is a round trip."""
        self._open().store.remove(info, Deadline(timeout_s))

    @hookimpl
    def keep_alive(self, infos: Sequence[Info], timeout_s: float) -> Beat:
        """Beat the check of each, and compare with the catalogue every other time."""
        lost = self._open().beats.round(infos, Deadline(timeout_s))
        return Beat(lost, self._options.ttl_s)

    @hookimpl
    def restore(self, infos: Sequence[Info], timeout_s: float) -> Sequence[Lost]:
        """Write those that nobody, the dead or we have, a few at a time."""
        return self._open().store.restore(infos, Deadline(timeout_s))

    @hookimpl
    def withdraw(self, infos: Sequence[Info], timeout_s: float) -> Sequence[Info]:
        """Remove those that are ours, a few at a time."""
        return self._open().store.withdraw(infos, Deadline(timeout_s))

    # --- reading -----------------------------------------------------------------------------

    @hookimpl
    def resolve(self, service_name: str, timeout_s: float) -> Sequence[Info]:
        """Return the instances without a critical check, by a read that the leader stands for."""
        if not service_name.isprintable():
            return []  # validate lets nobody be registered so
        parts = self._open()
        answer = parts.client.call(instances(service_name), Deadline(timeout_s))
        found = Listing(service_name).fill(answer)
        parts.empty_lists.heed(service_name, found)
        return found

    @hookimpl
    def watch(self, service_name: str, stop: Stop) -> Iterator[Sequence[Info]]:
        """Yield the list, then what requests that wait for a change make of it."""
        if not service_name.isprintable():
            yield []
            while not stop.wait(_LONG_S):
                pass
            return
        parts = self._open()
        for found in parts.watches.follow(service_name, stop):
            parts.empty_lists.heed(service_name, found)
            yield found

    @hookimpl
    def services(self, timeout_s: float) -> Sequence[str]:
        """Return the names in the catalogue, also of services that are all critical now."""
        names = self._open().client.call(SERVICE_NAMES, Deadline(timeout_s)).json()
        return [name for name in names if _is_name(name)]

    @hookimpl
    def probe(self, timeout_s: float) -> None:
        """Ask for the leader, without whom nothing can be read."""
        if not self._open().client.call(LEADER, Deadline(timeout_s)).json():
            raise UnavailableError(f"Consul at {self._options.agent}: its servers have no leader.")

    @hookimpl
    def validate(self, info: Info) -> None:
        """Refuse unix sockets, and names that no path of Consul's API can carry."""
        if not info.service_name.isprintable():
            raise InvalidInfoError("service_name", info.service_name, _PRINTABLE)
        if info.addr is not None and info.addr.network != "tcp":
            raise InvalidInfoError("addr", str(info.addr), _NO_UNIX)

    # --- the end -----------------------------------------------------------------------------

    @hookimpl
    def close(self) -> None:
        """Disconnect. What is left of ours turns critical after its ttl."""
        with self._lock:
            parts, self._parts = self._parts, None
            self._closed = True
        if parts is not None:
            parts.client.close()

    def _open(self) -> _Opened:
        """Return the working parts; they are made once, and connect by themselves."""
        with self._lock:
            if self._closed:
                raise UnavailableError("Consul: the registry was closed.")
            if self._parts is None:
                client = Client(self._options)
                catalog = Catalog(client, self._owner, self._options.ttl_s)
                store = Store(client, catalog, self._owner, self._options)
                beats = Beats(store, catalog)
                watches = Watches(client, self._options.max_watches, self._options.ttl_s)
                self._parts = _Opened(client, store, beats, watches, EmptyLists(client))
            return self._parts


def _is_name(name: str) -> bool:
    try:
        Info(service_name=name)
    except InvalidInfoError:
        return False
    return bool(name)
