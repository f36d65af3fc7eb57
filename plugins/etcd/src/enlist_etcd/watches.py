"""All watches of one plugin object, on one stream that one thread reads.

A stream of its own for each watch would cost gRPC ten wake-ups a second each, and a socket's
worth of state at etcd. What the thread reads it drops into the mailbox of the watch that it is
for; whoever iterates over that watch sleeps until then.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Final

from enlist.errors import RegistryError, UnavailableError
from enlist_etcd.client import Client
from enlist_etcd.failures import CallFailedError, Kind, failure_of, refusal_of
from enlist_etcd.messages import Message
from enlist_etcd.operations import folder_end

__all__ = ["Changes", "Watch", "Watches"]

_DELETED: Final = 1
_NO_WATCH: Final = -1
_JOIN_S: Final = 2.0

Changes = dict[bytes, bytes | None]
"""The newest value of each key that changed; None for a key that is gone."""


class Watch:
    """What happens to the keys of one folder after one revision."""

    def __init__(self, number: int, revision: int) -> None:
        """Wait for changes; :class:`Watches` makes it.

        Args:
            number: what etcd and we call it on its stream.
            revision: the last one whose changes are known.
        """
        self.number = number
        self._revision = revision
        self._mailbox: SimpleQueue[Message | RegistryError | None] = SimpleQueue()

    def stop(self) -> None:
        """Wake and end whoever iterates; from any thread, without blocking."""
        self._mailbox.put(None)

    def deliver(self, mail: Message | RegistryError) -> None:
        """Hand over an answer of etcd, or the error that ends the watch."""
        self._mailbox.put(mail)

    def __iter__(self) -> Iterator[Changes]:
        """Yield changes as they come, those that have piled up as one, until stopped.

        Raises:
            RegistryError: the watch has ended.
        """
        while True:
            mail = self._mailbox.get()
            changes: Changes = {}
            while True:
                if mail is None:
                    return
                if isinstance(mail, RegistryError):
                    raise mail
                self._check(mail)
                for event in mail.events:
                    changes[event.kv.key] = None if event.type == _DELETED else event.kv.value
                try:
                    mail = self._mailbox.get_nowait()
                except Empty:
                    break
            if changes:
                yield changes

    def _check(self, response: Message) -> None:
        if response.compact_revision:
            reason = f"its start was compacted away at revision {response.compact_revision}"
            raise UnavailableError(f"etcd ended a watch: {reason}.")
        # An etcd that lost its data counts from 1 again, and would keep silent for very long.
        if response.created and response.header.revision < self._revision:
            raise UnavailableError("etcd has an older revision than it had: it lost its data.")


class Watches:
    """Opens the shared stream with the first watch and closes it with the last. For any thread."""

    def __init__(self, client: Client) -> None:
        """Have no stream yet."""
        self._client = client
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._newest: _Shared | None = None
        self._streams: set[_Shared] = set()

    @contextmanager
    def following(self, folder: bytes, revision: int, token: str) -> Iterator[Watch]:
        """Follow the keys that begin with ``folder``, from the revision after the given one.

        Args:
            folder: ends in a slash.
            revision: of the list that the changes are changes to.
            token: of the user, empty where there is none.
        """
        watch = Watch(next(self._numbers), revision)
        create = self._client.classes["WatchCreateRequest"](
            key=folder,
            range_end=folder_end(folder),
            start_revision=revision + 1,
            watch_id=watch.number,
        )
        request = self._client.classes["WatchRequest"](create_request=create)
        stream = self._add(watch, request, token)
        try:
            yield watch
        finally:
            self._remove(watch, stream)

    def close(self) -> None:
        """End every stream, and with it every watch; to be called when no more are opened."""
        with self._lock:
            streams, self._streams = self._streams, set()
            self._newest = None
        for stream in streams:
            stream.end()
        for stream in streams:
            stream.join()

    def _add(self, watch: Watch, request: Message, token: str) -> _Shared:
        with self._lock:
            # etcd judges a new watch by the token that its stream was opened with.
            stream = self._newest
            if stream is not None and stream.token == token and stream.add(watch, request):
                return stream
            stream = self._newest = _Shared(self._client, token)
            self._streams.add(stream)
            stream.add(watch, request)
            return stream

    def _remove(self, watch: Watch, stream: _Shared) -> None:
        cancel = self._client.classes["WatchCancelRequest"](watch_id=watch.number)
        request = self._client.classes["WatchRequest"](cancel_request=cancel)
        if stream.remove(watch, request):
            with self._lock:
                self._streams.discard(stream)
            stream.join()


class _Shared:
    """One stream and the watches on it."""

    def __init__(self, client: Client, token: str) -> None:
        """Open the stream, which waits for nothing, and begin to read."""
        self.token = token
        self._client = client
        self._requests: SimpleQueue[Message | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._watches: dict[int, Watch] = {}
        self._ended = False
        self._connection, self._stream = client.stream(self._to_send(), token, self._take)
        self._thread = threading.Thread(target=self._read, name="enlist-etcd-watch", daemon=True)
        self._thread.start()

    def add(self, watch: Watch, request: Message) -> bool:
        """Begin a watch; return False when the stream has ended."""
        with self._lock:
            if self._ended:
                return False
            self._watches[watch.number] = watch
        self._requests.put(request)
        return True

    def remove(self, watch: Watch, request: Message) -> bool:
        """End a watch; return whether none is left, which ends the stream."""
        with self._lock:
            self._watches.pop(watch.number, None)
            last = not self._watches
            self._ended = self._ended or last
        if last:
            self.end()
        else:
            self._requests.put(request)
        return last

    def end(self) -> None:
        """End the stream; a second call does no harm."""
        self._requests.put(None)
        self._stream.cancel()

    def join(self) -> None:
        """Wait for the thread, which ends with the stream."""
        self._thread.join(_JOIN_S)

    def _to_send(self) -> Iterator[Message]:
        """Give gRPC, in a thread of its own, what is to be sent."""
        while (request := self._requests.get()) is not None:
            yield request

    def _read(self) -> None:
        error: RegistryError = UnavailableError("etcd: the watches met a bug in this plugin.")
        try:
            error = self._dispatch()
        finally:
            self.end()
            with self._lock:
                self._ended = True
                watches, self._watches = self._watches, {}
            for watch in watches.values():
                # Each has its own, since each is raised in another thread.
                watch.deliver(type(error)(str(error)))
            self._connection.forget(self._stream)
            self._connection.leave()

    def _dispatch(self) -> RegistryError:
        """Read until the stream ends; return why it did."""
        import grpc

        try:
            for taken in self._stream:
                if isinstance(taken, RegistryError):
                    return taken
        except grpc.RpcError as exc:
            return self._told(failure_of(exc, self._connection.endpoint))
        return UnavailableError(
            f"etcd at {self._connection.endpoint}: ended its stream of watches."
        )

    def _take(self, response: Message) -> Message | RegistryError:
        """Deliver an answer, in a thread of gRPC; return it, or the error that ends the stream."""
        self._connection.answered()
        mail = self._mail(response)
        if response.watch_id == _NO_WATCH and isinstance(mail, RegistryError):
            # Whoever was refused is not told, so nobody on this stream is safe.
            return mail
        with self._lock:
            watch = self._watches.get(response.watch_id)
        if watch is not None:
            watch.deliver(mail)
        return response

    def _mail(self, response: Message) -> Message | RegistryError:
        """Return what a watch is to hear: the answer, or the error if it refuses the watch."""
        if not response.canceled or response.compact_revision:
            return response
        endpoint, reason = self._connection.endpoint, response.cancel_reason or "no reason given"
        refusal = refusal_of(reason, endpoint)
        if refusal is None:
            return UnavailableError(f"etcd at {endpoint}: ended a watch: {reason}.")
        return self._told(refusal)

    def _told(self, failure: CallFailedError) -> RegistryError:
        """Return the error of a failure; a token that is no longer valid is no user's mistake."""
        if failure.kind is not Kind.STALE_TOKEN:
            return failure.error
        self._client.discard(self.token)
        return UnavailableError(f"{failure.error} The token has ended; there will be another.")
