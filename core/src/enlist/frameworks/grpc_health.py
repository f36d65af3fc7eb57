"""The gRPC health service, told by the enlistment: serving once enlisted, not while it leaves.

Whoever watches it, such as a client with ``healthCheckConfig`` or a probe of Kubernetes, sees a
server go at the start of the drain, at the moment when it leaves the registry.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from enlist.errors import InvalidOptionError

if TYPE_CHECKING:
    import grpc
    import grpc.aio

__all__ = ["AsyncHealth", "Health", "HealthServicer", "SyncHealth"]

_OVERALL: Final = ""  # the name under which the protocol asks for the server as a whole
_SERVING: Final = 1
_NOT_SERVING: Final = 2
_logger = logging.getLogger(__name__)


class HealthServicer(Protocol):
    """What either servicer of ``grpc_health`` has; the methods of that for asyncio are awaited."""

    def set(self, service: str, status: Any) -> Any:  # noqa: ANN401 - a number of protobuf's
        """Set the status of a service; "" is the server as a whole."""

    def enter_graceful_shutdown(self) -> Any:  # noqa: ANN401 - nothing, or something to await
        """Say for good that nothing is served any more."""


Health: TypeAlias = bool | HealthServicer
"""True for a health service of its own, or the servicer that you have added to the server."""


class SyncHealth:
    """Told by an enlistment what to tell whoever asks a ``grpc.Server``."""

    def __init__(self, health: Health, server: grpc.Server) -> None:
        """Add a health service to a server that was not started yet, or take the one it has.

        Raises:
            InvalidOptionError: grpcio-health-checking is not installed.
        """
        self._servicer, self._end_watches = _added(_ending_servicer, health, server)
        self.serving(yes=False)

    def serving(self, *, yes: bool) -> None:
        """Say whether the server as a whole serves."""
        if self._servicer is not None:
            self._servicer.set(_OVERALL, _SERVING if yes else _NOT_SERVING)

    def leaving(self) -> None:
        """Say for good that nothing is served."""
        if self._servicer is not None:
            self._servicer.enter_graceful_shutdown()

    def end_watches(self) -> None:
        """End the watches, for which the server would otherwise wait as for any running call."""
        self._end_watches()


class AsyncHealth:
    """The same for a ``grpc.aio.Server``; to be made in its event loop."""

    def __init__(self, health: Health, server: grpc.aio.Server) -> None:
        """Do what :class:`SyncHealth` does."""
        self._loop = asyncio.get_running_loop()
        self._servicer, self._end_watches = _added(_ending_aio_servicer, health, server)
        self.serving(yes=False)

    def serving(self, *, yes: bool) -> None:
        """Say whether the server as a whole serves. From any thread."""
        if self._servicer is not None:
            self._tell(self._servicer.set(_OVERALL, _SERVING if yes else _NOT_SERVING))

    def leaving(self) -> None:
        """Say for good that nothing is served. From any thread."""
        if self._servicer is not None:
            self._tell(self._servicer.enter_graceful_shutdown())

    def end_watches(self) -> None:
        """End the watches, in the event loop."""
        self._end_watches()

    def _tell(self, news: Any) -> None:  # noqa: ANN401 - a coroutine of an untyped library
        # Not waited for: a watcher that does not read may hold it up, and not the stop as well.
        asyncio.run_coroutine_threadsafe(news, self._loop).add_done_callback(_log_failure)


def _log_failure(told: Future[None]) -> None:
    if not told.cancelled() and (error := told.exception()) is not None:
        _logger.error("the health service could not be told: %s", error)


def _added(
    make: Callable[[], Any], health: Health, server: grpc.Server | grpc.aio.Server
) -> tuple[HealthServicer | None, Callable[[], object]]:
    """Return the servicer to tell, if any, and how to end its watches."""
    if health is False:
        return None, _nothing
    if health is not True:
        return health, _nothing
    try:
        servicer = make()
    except ImportError as exc:
        rule = "needs grpcio-health-checking: pip install grpcio-health-checking"
        raise InvalidOptionError("health", health, rule) from exc
    from grpc_health.v1 import health_pb2_grpc  # noqa: PLC0415 - only when asked for

    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    return servicer, servicer.end_watches


def _nothing() -> None:
    """End no watches: there are none, or they are not ours."""


def _ending_servicer() -> Any:  # noqa: ANN401 - of an untyped library
    from grpc_health.v1 import health  # noqa: PLC0415 - only when asked for

    class Servicer(health.HealthServicer):
        def __init__(self) -> None:
            super().__init__()
            self._watching_lock = threading.Lock()  # its own lock has the shorter name
            self._watching: set[Callable[[None], object]] = set()

        def Watch(self, request: Any, context: Any, send: Any = None) -> Any:  # noqa: ANN401, N802
            with self._watching_lock:
                self._watching.add(send)
            context.add_callback(lambda: self._forget(send))
            return super().Watch(request, context, send)

        def end_watches(self) -> None:
            with self._watching_lock:
                watching = list(self._watching)
            for end in watching:
                end(None)

        def _forget(self, send: Callable[[None], object]) -> None:
            with self._watching_lock:
                self._watching.discard(send)

    return Servicer()


def _ending_aio_servicer() -> Any:  # noqa: ANN401 - of an untyped library
    from grpc_health.v1 import health  # noqa: PLC0415 - only when asked for

    class Servicer(health.aio.HealthServicer):
        def __init__(self) -> None:
            super().__init__()
            self._watching: set[asyncio.Future[None]] = set()

        async def Watch(self, request: Any, context: Any) -> None:  # noqa: ANN401, N802
            watch = asyncio.ensure_future(super().Watch(request, context))
            self._watching.add(watch)
            try:
                await asyncio.wait([watch])
                if not watch.cancelled():
                    await watch
            finally:
                watch.cancel()
                self._watching.discard(watch)

        def end_watches(self) -> None:
            for watch in self._watching:
                watch.cancel()

    return Servicer()
