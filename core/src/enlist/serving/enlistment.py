"""One server's stay in its registry: ready, register, serve, deregister, drain.

Whatever enlists a server, a call of :mod:`enlist.serving.blocking`, its asyncio twin, or a module
of :mod:`enlist.frameworks`, goes through one :class:`Enlistment`.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import time
from collections.abc import Callable
from contextlib import ExitStack

from enlist.address import Address
from enlist.errors import EnlistError, InvalidOptionError, RegistryError
from enlist.info import Info
from enlist.opening import AnyRegistry, open_registry
from enlist.serving.advertise import advertised, warn_of_loopback
from enlist.serving.health import HealthGate, Observer, Silent
from enlist.serving.listening import ListenAddress, listen_address, wait_until_ready
from enlist.serving.registration import Registration
from enlist.serving.server_options import ServerOptions, build_info
from enlist.serving.signals import StopRequests

__all__ = ["Enlistment", "StopAskedError"]

_log = logging.getLogger(__name__)


class StopAskedError(EnlistError):
    """The stop was asked for before the server was enlisted. Never leaves this package."""


class Enlistment:
    """The steps of one stay, each of which blocks; for frameworks, which know when to take them.

    One start and, if that succeeded, one stop, in any thread. :meth:`ask_to_stop` may be called
    at any time from anywhere, a signal handler included.
    """

    def __init__(
        self,
        options: ServerOptions,
        listen_addr: ListenAddress,
        *,
        payload_codec: str = "",
        ready: Callable[[], object] | None = None,
        observer: Observer | None = None,
    ) -> None:
        """Take what :meth:`start` needs. Nothing is opened or sent.

        Args:
            options: the server's.
            listen_addr: where it listens, with the port that it was really given.
            payload_codec: of the kind of server, such as "protobuf"; empty if there is none.
            ready: tells whether the server can do its work; asked after the port accepts.
            observer: told when the server is enlisted, when its health changes, and when it leaves.

        Raises:
            InvalidOptionError: ``listen_addr`` is no such address, or ``ready`` no function.
        """
        if ready is not None and not callable(ready):
            raise InvalidOptionError("ready", ready, "must be a function to ask, or None")
        self._options = options
        self._listen = listen_address(listen_addr)
        self._payload_codec = payload_codec
        self._ready = ready
        self._observer = observer or Silent()
        self._asked = StopRequests()
        self._undo = ExitStack()
        self._registration: Registration | None = None
        self._gate: HealthGate | None = None
        self._stopping_since: float | None = None

    @property
    def registration(self) -> Registration | None:
        """What was registered; None before the start and after the stop."""
        return self._registration

    def ask_to_stop(self) -> None:
        """End the wait for readiness, or for the end; asked again, the rest of the drain."""
        self._asked.ask()

    def server_ended(self) -> None:
        """Tell that the server serves no more: there is nothing to wait for, nor to drain."""
        self.ask_to_stop()
        self.ask_to_stop()

    def start(self) -> Registration:
        """Wait until the server is ready, then register it. A failure leaves nothing behind.

        Raises:
            InvalidError: the options do not make an Info that can be published.
            NotReadyError: the server was not ready within ``ready_timeout``.
            BackendError: the backend cannot be used.
            RegistryError: it could not be registered.
            EnlistError: the stop was asked for meanwhile (``StopAskedError``).
        """
        with ExitStack() as undo:
            registry = open_registry(
                self._options.registry,
                timeout=self._options.timeout,
                on_unavailable=self._options.on_unavailable,
                extensions=self._options.extensions,
            )
            if registry is not self._options.registry:
                undo.callback(registry.close)
            self._info(registry)  # what cannot be published is refused before there is any wait
            self._wait_until_ready()
            # Now it can be seen which versions of IP the server accepts.
            info = self._info(registry, accepting=True)
            self._warn_of(info, registry)
            registry.register(info)
            self._undo = undo.pop_all()
        self._registration = registration = Registration(registry, info, self._is_out)
        try:
            self._observer.serving(yes=True)
            self._watch_health(registration)
        except BaseException:  # such as that there is no thread for the checks
            self.stop(drain=False)
            raise
        return registration

    def stop(self, *, drain: bool = True) -> None:
        """Deregister, let the server go on serving while clients learn of it, let go.

        That the registry cannot be reached is logged and stops nothing: a record that stays
        ends with its time to live. Without a start before, or a second time, does nothing.

        Args:
            drain: False where the server serves no more anyway.
        """
        registration, self._registration = self._registration, None
        if registration is None:
            return
        since = self._stopping_since or self._asked.wait(0) or time.monotonic()
        with self._undo:
            self._observer.leaving()
            if self._gate is not None:
                self._gate.stop()
            _leave(registration)
            if drain:
                self._drain(since)

    def run(self) -> None:
        """Start, wait until the stop is asked for, stop; if it is asked for at once, do nothing.

        Raises:
            EnlistError: as :meth:`start`.
        """
        try:
            self.start()
        except StopAskedError:
            _log.info("asked to stop before the server at %s was enlisted", self._listen)
            return
        try:
            self._stopping_since = self._asked.wait()
        finally:
            self.stop()

    def _is_out(self) -> bool:
        return self._gate is not None and not self._gate.inside

    def _watch_health(self, registration: Registration) -> None:
        if self._options.healthy is not None:
            gate = HealthGate(
                self._options.healthy,
                registration.registry,
                lambda: registration.info,
                self._options.health_interval.total_seconds(),
                observer=self._observer,
            )
            gate.start()
            self._gate = gate

    def _info(self, registry: AnyRegistry, *, accepting: bool = False) -> Info:
        given = self._options.registry_info
        skipped = given is not None and given.skip_listen_addr
        published = None if skipped else self._published(registry, accepting=accepting)
        return build_info(self._options, published, self._payload_codec, dt.datetime.now(dt.UTC))

    def _published(self, registry: AnyRegistry, *, accepting: bool) -> Address:
        return advertised(
            self._listen,
            advertise=self._options.advertise,
            environ=os.environ,
            backend_is_local=registry.is_local,
            accepting=accepting,
        )

    def _warn_of(self, info: Info, registry: AnyRegistry) -> None:
        given = self._options.registry_info
        if given is not None and given.skip_listen_addr:
            return
        if given is not None and given.addr not in (None, info.addr):
            _log.warning(
                "publishing %s instead of registry_info.addr %s, which needs skip_listen_addr=True",
                info.addr,
                given.addr,
            )
        if info.addr is not None:
            warn_of_loopback(info.addr, backend_is_local=registry.is_local)

    def _wait_until_ready(self) -> None:
        within_s = self._options.ready_timeout.total_seconds()
        if not wait_until_ready(
            self._listen, self._ready, within_s=within_s, pause=self._asked.wait
        ):
            raise StopAskedError(f"asked to stop before the server at {self._listen} was ready")

    def _drain(self, since: float) -> None:
        left_s = since + self._options.drain.total_seconds() - time.monotonic()
        if left_s <= 0:
            return
        _log.info("draining: serving for another %.1f s", left_s)
        if self._asked.wait(left_s) is not None:
            _log.info("asked to stop again: the rest of the drain is skipped")


def _leave(registration: Registration) -> None:
    info = registration.info
    try:
        registration.registry.deregister(info)
    except RegistryError as exc:
        # The caller must get to stop its server all the same.
        _log.warning("could not deregister %s at %s: %s", info.service_name, info.addr, exc)
