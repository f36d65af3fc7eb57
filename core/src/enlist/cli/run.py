"""``enlist run``: a server of any kind, in any language, enlisted while it accepts."""

from __future__ import annotations

import datetime as dt
import logging
import os
import queue
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Final, Literal

import click
from click.exceptions import Exit

from enlist.address import Address
from enlist.cli.advice import with_advice
from enlist.cli.choices import (
    duration_option,
    listen_text,
    on_unavailable_option,
    opened,
    place_options,
    record_options,
    registry_options,
)
from enlist.cli.command import Command, CommandError
from enlist.cli.holders import listeners_at, look
from enlist.cli.output import complain, narrated
from enlist.errors import EnlistError, InvalidError, ServingError, UnknownBackendError
from enlist.info import Info
from enlist.opening import AnyRegistry
from enlist.serving.advertise import advertised
from enlist.serving.enlistment import Enlistment, StopAskedError
from enlist.serving.listening import best_reached, listen_address, wait_until_ready
from enlist.serving.server_options import EndpointBasicInfo, ServerOptions, build_info

__all__ = ["command"]

FAILED_ITSELF: Final = 125

_log = logging.getLogger("enlist")


@click.command("run", context_settings={"ignore_unknown_options": False})
@place_options
@click.option(
    "--advertise",
    help="The address, host, network or interface to publish, where it is not the one that "
    "the command listens on.",
)
@registry_options
@record_options
@duration_option("--drain", "6s", "How long the command serves on after it was deregistered.")
@duration_option("--ready-timeout", "30s", "How long the command has until it accepts.")
@duration_option("--grace", "10s", "How long it has to end where the start failed.")
@on_unavailable_option
@click.argument("argv", metavar="-- COMMAND...", nargs=-1, type=click.UNPROCESSED, required=True)
def command(  # noqa: PLR0913 - one parameter for each option
    *,
    argv: Sequence[str],
    service: str,
    addr: str | None,
    port: int | None,
    advertise: str | None,
    registries: Sequence[str],
    timeout: dt.timedelta | None,
    tags: Mapping[str, str],
    weight: int,
    payload_codec: str,
    drain: dt.timedelta,
    ready_timeout: dt.timedelta,
    grace: dt.timedelta,
    on_unavailable: Literal["raise", "retry"],
) -> int:
    """Run COMMAND, enlisted from when it accepts connections until it is to stop.

    With --port the command may listen on any address of this machine, and what clients can
    reach is published. Something else that listens there before the start is an error, and so
    is, where it can be told, a listener that is not the command's.

    SIGTERM and SIGINT (Ctrl-C) deregister first. The command serves on for --drain, while
    clients learn of it, and only then gets the signal. A second one skips the rest of the
    drain. Other signals (HUP, QUIT, USR1, USR2, WINCH) are passed on at once. A command that
    ends by itself is deregistered at once. Works as process 1 of a container.

    \b
    Exit status:
      that of COMMAND; 128+N if signal N ended it
      2    the command line cannot be right; COMMAND was not started
      125  enlist itself failed, and COMMAND was not started, or stopped again if it may be
      126  COMMAND cannot be executed
      127  COMMAND is not found

    \b
    Examples:
      enlist run --service web --port 8000 -- python3 -m http.server 8000
      enlist run --service api --port 80 --registry etcd://etcd:2379 --tag zone=a -- ./api
      enlist run --service local-api --addr unix:/run/api.sock --drain 1s -- ./api
    """
    listen = listen_address(listen_text(addr, port))
    with narrated(logging.INFO), _failing_as_125(), ExitStack() as closing:
        registry = opened(registries, timeout, on_unavailable)
        closing.callback(registry.close)
        options = ServerOptions(
            basic_info=EndpointBasicInfo(service_name=service, tags=tags),
            registry=registry,
            registry_info=Info(weight=weight, payload_codec=payload_codec),
            advertise=advertise,
            ready_timeout=ready_timeout,
            drain=drain,
            grace=grace,
        )
        _refuse_what_cannot_be_published(options, listen, registry)
        _refuse_old_listener(listen)
        return _Run(argv, options, listen).run()


@contextmanager
def _failing_as_125() -> Iterator[None]:
    """Keep the statuses from 1 to 124 for the command, but for 2 where it was not started."""
    try:
        yield
    except (InvalidError, UnknownBackendError):
        raise
    except EnlistError as exc:
        complain(with_advice(exc))
        raise Exit(exc.status if isinstance(exc, CommandError) else FAILED_ITSELF) from exc
    except Exception as exc:  # a mistake of ours, which is not the command's either
        traceback.print_exc()
        raise Exit(FAILED_ITSELF) from exc


def _refuse_what_cannot_be_published(
    options: ServerOptions, listen: Address, registry: AnyRegistry
) -> None:
    published = advertised(
        listen,
        advertise=options.advertise,
        environ=os.environ,
        backend_is_local=registry.is_local,
    )
    build_info(options, published, "", dt.datetime.now(dt.UTC))


def _refuse_old_listener(listen: Address) -> None:
    """Look whether something listens there before the command could."""
    found = ", ".join(sorted({str(addr) for addr in listeners_at(listen).values()}))
    if not found and not _accepts(listen):
        return
    where = f" (at {found})" if found and found != str(listen) else ""
    raise ServingError(
        f"something listens at {_named(listen)} already{where}, so the command cannot; stop it, "
        "or choose another port"
    )


def _accepts(listen: Address) -> bool:
    with suppress(TimeoutError):  # of which NotReadyError is one
        return wait_until_ready(listen, None, within_s=0, pause=lambda _: None)
    return False


def _named(listen: Address) -> str:
    every = listen.ip is not None and listen.ip.is_unspecified
    return f"port {listen.port}" if every else str(listen)


class _Run:
    """One command and its stay in the registry."""

    def __init__(self, argv: Sequence[str], options: ServerOptions, listen: Address) -> None:
        self._options = options
        self._listen = listen
        self._command = Command(argv, on_stop=self._asked_to_stop, on_end=self._ended)
        self._asked: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._unwanted = False
        self._bound: tuple[Address, ...] = ()
        self._enlistment: Enlistment | None = None

    def run(self) -> int:
        """Return the command's exit status.

        Raises:
            CommandError: it could not be started.
            EnlistError: it could not be enlisted, and was stopped.
        """
        with self._command.running():
            try:
                self._stay()
            except InvalidError as exc:  # the backend's own rules: too late for status 2
                self._end()
                raise ServingError(str(exc)) from exc
            except BaseException:
                self._end()
                raise
            self._command.release()
            status = self._command.wait()
        assert status is not None  # noqa: S101 - it waits without a limit; for the type checker
        return status

    def _end(self) -> None:
        self._command.end(self._options.grace.total_seconds())

    def _stay(self) -> None:
        self._wait_until_ready()
        enlistment = Enlistment(self._options, self._where())
        self._enlistment = enlistment
        # Whoever asked for a stop before this line did not see the enlistment.
        if not self._unwanted and self._started(enlistment):
            try:
                while not self._unwanted:
                    self._asked.get()
            finally:
                enlistment.stop(drain=not self._command.ended)
        elif self._command.ended:
            _log.warning(
                "the command ended with status %s before it was enlisted", self._command.wait()
            )

    def _started(self, enlistment: Enlistment) -> bool:
        try:
            enlistment.start()
        except StopAskedError:
            return False
        return True

    def _wait_until_ready(self) -> None:
        wait_until_ready(
            self._listen,
            self._is_the_commands,
            within_s=self._options.ready_timeout.total_seconds(),
            pause=self._pause,
        )

    def _pause(self, seconds: float) -> bool:
        with suppress(queue.Empty):
            self._asked.get(timeout=seconds)
        return self._unwanted

    def _is_the_commands(self) -> bool:
        holders = look(self._listen, self._command.pid)
        if holders.stranger and not self._command.ended:
            raise ServingError(
                f"{holders.stranger} listens at {_named(self._listen)}, not the command; for a "
                "server that something else starts use 'enlist register'"
            )
        self._bound = holders.own
        return True

    def _where(self) -> Address:
        """Return where the command really listens, where --port left that to it."""
        if self._listen.ip is None or not self._listen.ip.is_unspecified:
            return self._listen
        return best_reached(self._bound or (self._listen,))

    # --- called in the thread that takes the signals -----------------------------------------

    def _asked_to_stop(self) -> None:
        self._unwanted = True
        self._asked.put(None)
        if self._enlistment is not None:
            self._enlistment.ask_to_stop()

    def _ended(self) -> None:
        self._unwanted = True
        self._asked.put(None)
        if self._enlistment is not None:
            self._enlistment.server_ended()
