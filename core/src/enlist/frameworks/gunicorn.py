"""gunicorn, with any kind of worker: the master enlists once for all of them.

In gunicorn's configuration file::

    from enlist.frameworks.gunicorn import hooks

    when_ready, post_worker_init, on_reload = hooks("api")

The server is enlisted once a worker has loaded the application. A worker that dies, or that a
reload replaces, does not show in the registry. On SIGTERM the master deregisters and goes on
managing its workers, which serve on until ``drain`` has passed; only then does it stop them, as
it always does. A second SIGTERM skips the rest of the drain. SIGINT and SIGQUIT, with which
gunicorn stops at once, do so without a drain.

Only the master has the registry open. What a worker inherits is inert.
"""

from __future__ import annotations

import datetime as dt
import logging
import mmap
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple, Unpack

from enlist.address import Address
from enlist.errors import EnlistError
from enlist.registry import DEFAULT_TIMEOUT
from enlist.serving.enlistment import Enlistment
from enlist.serving.listening import best_reached, listen_address
from enlist.serving.server_options import ServerOptions, Settings, as_options, build_info

if TYPE_CHECKING:
    import gunicorn.arbiter
    import gunicorn.workers.base

__all__ = ["PAYLOAD_CODEC", "Hooks", "hooks"]

PAYLOAD_CODEC: Final = "http"
FAILED: Final = 1
_SLACK_S: Final = 1.0
# The application is the one object that a master keeps through reloads and its workers have too.
_KEPT_AS: Final = "_enlisted_master"
_log = logging.getLogger(__name__)


class Hooks(NamedTuple):
    """Three hooks of gunicorn's; a function of your own for one of them calls it here.

    Attributes:
        when_ready: begins the stay.
        post_worker_init: tells the master, from a worker, that the application is loaded.
        on_reload: publishes what the configuration says now.
    """

    when_ready: Callable[[gunicorn.arbiter.Arbiter], None]
    post_worker_init: Callable[[gunicorn.workers.base.Worker], None]
    on_reload: Callable[[gunicorn.arbiter.Arbiter], None]


def hooks(
    options: str | ServerOptions,
    *,
    ready: Callable[[], object] | None = None,
    **settings: Unpack[Settings],
) -> Hooks:
    """Return the hooks that keep a gunicorn enlisted, to be given their names in its configuration.

    A reload publishes changed tags and a changed weight, and follows a changed address, also when
    the registry is away at that moment. All other options hold until the next start.

    Args:
        options: the service name, or all options. ``grace`` is gunicorn's ``graceful_timeout``.
        ready: as in :func:`enlist.enlisted`; asked in the master, once a worker is ready.
        **settings: as in :func:`enlist.enlisted`.

    Raises:
        InvalidError: the options are not valid; gunicorn does not start.
    """
    chosen = as_options(options, **settings)

    def when_ready(server: gunicorn.arbiter.Arbiter) -> None:
        vars(server.app)[_KEPT_AS] = _Master(server, chosen, ready)

    def post_worker_init(worker: gunicorn.workers.base.Worker) -> None:
        if (master := _master_of(worker.app)) is not None:
            master.stay.worker_is_ready()

    def on_reload(server: gunicorn.arbiter.Arbiter) -> None:
        if (master := _master_of(server.app)) is not None:
            master.reloaded(chosen, ready)

    return Hooks(when_ready, post_worker_init, on_reload)


def _master_of(app: object) -> _Master | None:
    master: _Master | None = vars(app).get(_KEPT_AS)
    return master


class _Stay:
    """A stay in the registry, in a thread of its own, while the master manages its workers."""

    def __init__(
        self,
        options: ServerOptions,
        listen: Address,
        ready: Callable[[], object] | None,
        *,
        is_first: bool,
    ) -> None:
        self.listen = listen
        self.leaving = False
        self.over = False
        self.failure: BaseException | None = None  # which ends the server
        self._is_first = is_first
        self._ready = ready
        self._ended = _go_on
        self._worker_ready = mmap.mmap(-1, 1)  # shared with the workers, which are forked later
        self._enlistment = Enlistment(
            options, listen, payload_codec=PAYLOAD_CODEC, ready=self._is_ready
        )
        self._thread = threading.Thread(target=self._run, name="enlist-gunicorn", daemon=True)

    def begin(self) -> None:
        """Start the thread."""
        self._thread.start()

    def worker_is_ready(self) -> None:
        """Tell the master; called in a worker."""
        self._worker_ready[0] = 1

    def ask_to_stop(self) -> None:
        """Leave, drain, and call back; asked again, skip the rest of the drain."""
        self.leaving = True
        self._enlistment.ask_to_stop()

    def end(self) -> None:
        """Leave without a drain, and wait for that no longer than one call may take."""
        self._ended = _nothing  # first: one that fails meanwhile looks at what follows
        self.leaving = True
        registration = self._enlistment.registration
        timeout = DEFAULT_TIMEOUT if registration is None else registration.registry.timeout
        self._enlistment.server_ended()
        self._thread.join(timeout.total_seconds() + _SLACK_S)

    def update(self, options: ServerOptions) -> None:
        """Publish the weight and the tags of these options, where they are others."""
        registration = self._enlistment.registration
        if registration is None:
            return
        published = registration.info
        wanted = build_info(options, published.addr, PAYLOAD_CODEC, dt.datetime.now(dt.UTC))
        if (wanted.weight, wanted.tags or {}) != (published.weight, published.tags or {}):
            registration.update(weight=wanted.weight, tags=wanted.tags or {})

    def _is_ready(self) -> object:
        return self._worker_ready[0] and (self._ready is None or self._ready())

    def _run(self) -> None:
        try:
            self._enlistment.run()
        except BaseException as exc:  # noqa: BLE001 - the user's own ready() may raise anything
            self._failed(exc)
        self.over = True
        if self.leaving or self.failure is not None:
            self._ended()

    def _failed(self, error: BaseException) -> None:
        unforeseen = None if isinstance(error, EnlistError) else error
        if self._is_first:
            self.failure = error  # gunicorn says it when it ends
            if unforeseen is not None:
                _log.error("the server cannot be enlisted", exc_info=unforeseen)
        else:
            _log.error(
                "the server at %s is not enlisted until the next reload: %s",
                self.listen,
                _said(error),
                exc_info=unforeseen,
            )


class _Master:
    """What gunicorn's master also does, so that it is enlisted."""

    def __init__(
        self,
        arbiter: gunicorn.arbiter.Arbiter,
        options: ServerOptions,
        ready: Callable[[], object] | None,
    ) -> None:
        self._arbiter = arbiter
        self._handle_term, self._stop = arbiter.handle_term, arbiter.stop
        # No hook of gunicorn's comes before a stop; one master's own stand before its class's.
        vars(arbiter).update(handle_term=self.handle_term, stop=self.stop)
        self.stay = _Stay(options, _where(arbiter), ready, is_first=True)
        self.stay.begin()

    def handle_term(self) -> None:
        """Leave at the first SIGTERM; let gunicorn have the one that tells that this is done."""
        self.stay.leaving = True  # first: one that ends by itself meanwhile looks at it last
        if not self.stay.over:
            self.stay.ask_to_stop()
        elif self.stay.failure is None:
            self._handle_term()
        else:
            from gunicorn.errors import HaltServer  # noqa: PLC0415 - it runs already by then

            raise HaltServer(_said(self.stay.failure), FAILED)

    def stop(self, graceful: bool = True) -> None:  # noqa: FBT001, FBT002 - gunicorn's own
        """Leave first, where a signal or an error has gunicorn stop at once."""
        self.stay.end()
        self._stop(graceful)

    def reloaded(self, options: ServerOptions, ready: Callable[[], object] | None) -> None:
        """Publish what a reload has changed. What cannot be told is logged and stops nothing."""
        before = self.stay
        if before.leaving or before.failure is not None:
            return
        try:
            listen = _where(self._arbiter)
            if listen == before.listen and not before.over:
                before.update(options)
                return
            # The server has started: a registry that is away then is waited for.
            options = replace(options, on_unavailable="retry")
            self.stay = _Stay(options, listen, ready, is_first=False)
        except EnlistError as exc:
            _log.error("the reload changes nothing in the registry: %s", exc)
            return
        # Before the new one begins, as gunicorn stops who serves there before anybody else does.
        before.end()
        self.stay.begin()


def _where(arbiter: gunicorn.arbiter.Arbiter) -> Address:
    bound = [listen_address(each.sock) for each in arbiter.LISTENERS]
    # Under reuse_port each worker binds by itself, and the master has no listeners.
    return best_reached(bound or map(_configured, arbiter.address))


def _configured(bind: object) -> Address:
    return Address.tcp(*bind) if isinstance(bind, tuple) else Address.unix(str(bind))


def _said(error: BaseException) -> str:
    return str(error) if isinstance(error, EnlistError) else f"{type(error).__name__}: {error}"


def _go_on() -> None:
    """Have the master's own thread look at what is next: it waits for signals alone."""
    os.kill(os.getpid(), signal.SIGTERM)


def _nothing() -> None:
    """Call nobody back."""
