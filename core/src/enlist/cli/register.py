"""``enlist register``: a record for a server that somebody else runs."""

from __future__ import annotations

import datetime as dt
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Literal

import click

from enlist.address import Address
from enlist.cli.choices import (
    listen_text,
    on_unavailable_option,
    opened,
    place_options,
    record_options,
    registry_options,
)
from enlist.cli.output import narrated
from enlist.errors import RegistryError
from enlist.info import Info
from enlist.opening import AnyRegistry
from enlist.serving.advertise import advertised, warn_of_loopback
from enlist.serving.listening import listen_address
from enlist.serving.signals import StopRequests, told_to_stop

__all__ = ["command"]

_log = logging.getLogger("enlist")


@click.command("register")
@place_options
@registry_options
@record_options
@on_unavailable_option
def command(  # noqa: PLR0913 - one parameter for each option
    *,
    service: str,
    addr: str | None,
    port: int | None,
    registries: Sequence[str],
    timeout: dt.timedelta | None,
    tags: Mapping[str, str],
    weight: int,
    payload_codec: str,
    on_unavailable: Literal["raise", "retry"],
) -> None:
    """Hold a record in the foreground, until SIGTERM or Ctrl-C removes it.

    For a server that enlist neither runs nor watches: nobody looks whether it is there, or
    still there. Where it can be started by enlist, 'enlist run' does better.

    --addr is published as it is. With --port, or :PORT, the host is found out as for a server on
    this machine that listens on every address; ENLIST_ADVERTISE_ADDR says another.

    \b
    Examples:
      enlist register --service db --addr 10.0.0.7:5432
      enlist register --service echo --port 8888 --tag zone=a --weight 20
    """
    asked = StopRequests()
    said = listen_text(addr, port)
    listen = listen_address(said)
    with (
        narrated(logging.INFO),
        opened(registries, timeout, on_unavailable) as registry,
        told_to_stop(asked.ask),
    ):
        published = _found(listen, registry) if said.startswith(":") else listen
        warn_of_loopback(published, backend_is_local=registry.is_local)
        info = Info(
            service_name=service,
            addr=published,
            weight=weight,
            payload_codec=payload_codec,
            tags=tags,
        )
        registry.register(info)
        asked.wait()
        _leave(registry, info)


def _found(listen: Address, registry: AnyRegistry) -> Address:
    return advertised(listen, environ=os.environ, backend_is_local=registry.is_local)


def _leave(registry: AnyRegistry, info: Info) -> None:
    try:
        registry.deregister(info)
    except RegistryError as exc:
        _log.warning("%s; what is left ends with its time to live", exc)
