"""One gRPC channel to one member of the cluster."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from enlist.backend_options import HostPort
from enlist.errors import UnavailableError
from enlist_etcd.channel import open_channel
from enlist_etcd.failures import CallFailedError, Kind, failure_of
from enlist_etcd.messages import WATCH, Message, MessageClass, Method
from enlist_etcd.options import EtcdOptions

__all__ = ["Connection", "OnStop", "Stream"]

OnStop: TypeAlias = Callable[[Callable[[], object]], None]
"""Takes what is to be called when a call is no longer wanted."""

Stream: TypeAlias = Any
"""A gRPC call that streams: an iterator of messages with ``cancel``."""

# A member that has lost its leader must say so: it would serve old data and silent watches.
_NEED_LEADER: Final = ("hasleader", "true")
_SILENCES: Final = 2


class Connection:
    """A channel for any number of threads. It is closed once retired and no longer in use."""

    def __init__(
        self, endpoint: HostPort, options: EtcdOptions, classes: Mapping[str, MessageClass]
    ) -> None:
        """Make the channel, which connects with its first call. TLS files are read now.

        Raises:
            UnauthorisedError: a TLS file cannot be read.
        """
        self.endpoint = endpoint
        self._classes = classes
        self._channel = open_channel(endpoint, options)
        self._stubs: dict[Method, Callable[..., Message]] = {}
        self._lock = threading.Lock()
        self._users = 0
        self._retired = False
        self._streams: list[Stream] = []
        self._answered_at = 0.0
        self._silent_at = 0.0
        self._silences = 0

    def enter(self) -> bool:
        """Begin to use it; return False when it is retired. To be paired with :meth:`leave`."""
        with self._lock:
            self._users += not self._retired
            return not self._retired

    def leave(self) -> None:
        """End to use it."""
        with self._lock:
            self._users -= 1
            last = self._retired and not self._users
        if last:
            self._channel.close()

    def retire(self, *, at_once: bool = False) -> None:
        """Let no further call begin and end every stream; a second call does no harm.

        Args:
            at_once: end the calls that are on their way too, rather than wait for them.
        """
        with self._lock:
            self._retired = True
            streams, self._streams = self._streams, []
            close = at_once or not self._users
        for stream in streams:
            stream.cancel()
        if close:
            self._channel.close()

    def has_answered(self) -> bool:
        """Return whether anything ever came back on it."""
        return self._answered_at > 0

    def is_dead(self) -> bool:
        """Return whether nothing came back while two calls in succession ran out of time.

        A connection whose other end is gone without a word shows only so. One such call may be
        a server that is busy, and connecting anew would keep it busier.
        """
        return self._silences >= _SILENCES

    def answered(self) -> None:
        """Note that something came back."""
        self._answered_at = time.monotonic()
        self._silences = 0

    def call(
        self,
        method: Method,
        request: Message,
        timeout_s: float,
        token: str,
        on_stop: OnStop | None = None,
    ) -> Message:
        """Make one call.

        Args:
            method: which.
            request: its message.
            timeout_s: seconds within which it must be answered.
            token: of the user; empty where there is none.
            on_stop: is given what ends the call before its time.

        Raises:
            CallFailedError: it failed; ``retire`` the connection when its kind is BROKEN.
        """
        import grpc

        began = time.monotonic()
        stub = self._stub(method)
        metadata = _metadata(token)
        try:
            if on_stop is None:
                answer = stub(request, timeout=timeout_s, metadata=metadata)
            else:
                answer = _stoppable(stub, request, timeout_s, metadata, on_stop)
        except grpc.RpcError as exc:
            raise self._failed(exc, began) from exc
        except ValueError as exc:  # gRPC's word for a channel that another thread has closed
            error = UnavailableError("etcd: the connection was closed.")
            raise CallFailedError(Kind.BROKEN, error) from exc
        self.answered()
        return answer

    def stream(
        self, requests: Iterator[Message], token: str, take: Callable[[Message], object]
    ) -> Stream:
        """Open the stream of watches; it ends when the connection is retired.

        Args:
            requests: what to send.
            token: of the user; empty where there is none.
            take: makes what the stream yields of each answer, and never None; called in gRPC's
                thread as soon as the answer is there, before whoever iterates is woken.
        """
        request, response = self._classes[WATCH.request], self._classes[WATCH.response]
        opened = self._channel.stream_stream(
            WATCH.path,
            request_serializer=request.SerializeToString,
            response_deserializer=lambda data: take(response.FromString(data)),
        )(requests, metadata=_metadata(token))
        with self._lock:
            self._streams.append(opened)
            late = self._retired
        if late:
            opened.cancel()
        return opened

    def forget(self, stream: Stream) -> None:
        """Hear that a stream has ended."""
        with self._lock:
            if stream in self._streams:
                self._streams.remove(stream)

    def _stub(self, method: Method) -> Callable[..., Message]:
        stub = self._stubs.get(method)
        if stub is None:
            stub = self._stubs[method] = self._channel.unary_unary(
                method.path,
                request_serializer=self._classes[method.request].SerializeToString,
                response_deserializer=self._classes[method.response].FromString,
            )
        return stub

    def _failed(self, exc: Any, began: float) -> CallFailedError:  # noqa: ANN401 - gRPC's exceptions have the methods of two of its classes
        failure = failure_of(exc, self.endpoint)
        if failure.is_answer:
            self.answered()
        elif failure.kind is Kind.TIMED_OUT and began > max(self._answered_at, self._silent_at):
            # Calls that were on their way at the same time heard one and the same silence.
            self._silences += 1
            self._silent_at = time.monotonic()
        return failure


def _stoppable(
    stub: Any,  # noqa: ANN401 - a callable with a second way of being called
    request: Message,
    timeout_s: float,
    metadata: tuple[tuple[str, str], ...],
    on_stop: OnStop,
) -> Message:
    import grpc

    future = stub.future(request, timeout=timeout_s, metadata=metadata)
    under_way = [future]

    def cancel() -> None:
        for call in under_way:
            call.cancel()

    on_stop(cancel)
    try:
        return future.result()
    except grpc.FutureCancelledError as exc:
        error = UnavailableError("etcd: the call was stopped.")
        raise CallFailedError(Kind.STOPPED, error) from exc
    finally:
        # The callback lives as long as the watch, and must not keep the answer alive with it.
        under_way.clear()


def _metadata(token: str) -> tuple[tuple[str, str], ...]:
    return (_NEED_LEADER, ("token", token)) if token else (_NEED_LEADER,)
