"""The one lease that every record of this process hangs on."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import Final

from enlist.errors import UnauthorisedError, UnavailableError
from enlist_etcd.client import Client
from enlist_etcd.deadline import Deadline
from enlist_etcd.failures import LeaseExistsError, LeaseNotFoundError, is_forbidden
from enlist_etcd.messages import KEEP_ALIVE, LEASE_GRANT, LEASE_KEYS, LEASE_REVOKE

__all__ = ["Lease"]

_ID_BITS: Final = 63
_logger = logging.getLogger(__name__)


class Lease:
    """Granted with the first record, replaced when it ended, revoked at the end.

    Its id is drawn here rather than by etcd: threads that need it at the same time, and a
    repetition of a grant whose answer was lost, then mean the same lease.
    """

    def __init__(self, client: Client, ttl_s: int) -> None:
        """Know how long it is to live; nothing is sent.

        Args:
            client: makes the calls.
            ttl_s: whole seconds to ask for.
        """
        self._client = client
        self._ttl_s = ttl_s
        self._lock = threading.Lock()
        self._id = _new_id()
        self._granted = False
        self._asked = False
        self._sees_keys = True

    def id_if_granted(self) -> int | None:
        """Return its id; None while there is no lease."""
        with self._lock:
            return self._id if self._granted else None

    def use(self, write: Callable[[int], None], deadline: Deadline) -> None:
        """Write something under the lease; once more under a new one if it has ended.

        Args:
            write: is given the lease's id; raises LeaseNotFoundError when that has ended.
            deadline: by when.

        Raises:
            RegistryError: as ``write`` does, and the grant.
        """
        lease = self.granted(deadline)
        try:
            write(lease)
        except LeaseNotFoundError:
            self.drop(lease)
        else:
            return
        lease = self.granted(deadline)
        try:
            write(lease)
        except LeaseNotFoundError as exc:
            self.drop(lease)
            raise UnavailableError("etcd lost a lease that it had just granted.") from exc

    def granted(self, deadline: Deadline) -> int:
        """Return the id of the lease, and have it granted if it is not."""
        with self._lock:
            lease, granted = self._id, self._granted
            self._asked = True
        if granted:
            return lease
        request = self._client.classes[LEASE_GRANT.request](ID=lease, TTL=self._ttl_s)
        try:
            self._client.call(LEASE_GRANT, request, deadline)
        except LeaseExistsError:
            _logger.debug("the lease had been granted already")
        with self._lock:
            if self._id == lease:
                self._granted = True
        return lease

    def drop(self, lease: int) -> None:
        """Hear that a lease has ended; the next write has another one granted."""
        with self._lock:
            if self._id == lease:
                self._id = _new_id()
                self._granted = self._asked = False

    def renew(self, lease: int, deadline: Deadline) -> float | None:
        """Renew it and return the seconds that it has now; None when it has ended."""
        request = self._client.classes[KEEP_ALIVE.request](ID=lease)
        answer = self._client.call(KEEP_ALIVE, request, deadline)
        if answer.TTL > 0:
            return float(answer.TTL)
        self.drop(lease)
        return None

    def keys(self, lease: int, deadline: Deadline) -> set[bytes] | None:
        """Return the keys that hang on it; None when the user is not allowed to see them.

        Raises:
            RegistryError: the call failed, or the login that it needs.
        """
        request = self._client.classes[LEASE_KEYS.request](ID=lease, keys=True)
        try:
            answer = self._client.call(LEASE_KEYS, request, deadline)
        except UnauthorisedError as exc:
            if not is_forbidden(exc):
                raise
            self._warn_of_blindness(exc)
            return None
        self._sees_keys = True
        return set(answer.keys)

    def revoke(self, deadline: Deadline) -> None:
        """End it, and with it every record that hangs on it; no lease is no error."""
        with self._lock:
            lease, asked = self._id, self._asked
        if not asked:
            return
        request = self._client.classes[LEASE_REVOKE.request](ID=lease)
        try:
            self._client.call(LEASE_REVOKE, request, deadline)
        except LeaseNotFoundError:
            _logger.debug("the lease had ended already")
        self.drop(lease)

    def _warn_of_blindness(self, error: UnauthorisedError) -> None:
        if self._sees_keys:
            _logger.warning(
                "etcd: records that others remove or replace go unnoticed, "
                "since the user may not read them: %s",
                error,
            )
        self._sees_keys = False


def _new_id() -> int:
    # What the module secrets stands on; importing that would cost more than any module here.
    drawn = int.from_bytes(os.urandom(8), "big") % 2**_ID_BITS
    return drawn or _new_id()  # 0 would have etcd choose one
