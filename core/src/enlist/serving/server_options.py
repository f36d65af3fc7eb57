"""What a server says about how it is to be enlisted, in Kitex's words.

:class:`ServerOptions` mirrors Kitex's server options (``WithServerBasicInfo``, ``WithRegistry``,
``WithRegistryInfo``); :func:`build_info` makes the one Info that is published out of them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias, TypedDict, Unpack

from enlist.address import Address
from enlist.clock import LONGEST_WAIT
from enlist.errors import InvalidInfoError, InvalidOptionError
from enlist.info import Info, check_complete

__all__ = [
    "EndpointBasicInfo",
    "RegistryChoice",
    "ServerOptions",
    "Settings",
    "as_options",
    "build_info",
]

RegistryChoice: TypeAlias = "str | object | Sequence[str | object] | None"
"""What :func:`enlist.open_registry` takes, or a Registry that the caller opened and closes."""

OnUnavailable: TypeAlias = Literal["raise", "retry"]

_NO_INFO: Final = Info()


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointBasicInfo:
    """Who a server is, for whatever in the process needs to know: not for the registry alone.

    Attributes:
        service_name: what clients ask for; by the rules of :class:`~enlist.Info`. Empty: not said.
        tags: by the rules of :class:`~enlist.Info`; copied, read only. None: not said.

    Raises:
        InvalidInfoError: a field breaks its rule; the message names field, value and rule.
    """

    service_name: str = ""
    tags: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        """Check both by the rules of an Info, which they end up in."""
        checked = Info(service_name=self.service_name, tags=self.tags)
        object.__setattr__(self, "tags", checked.tags)

    def __hash__(self) -> int:
        """Hash the name: a mapping of tags has no hash, and equal values still hash equally."""
        return hash(self.service_name)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the arguments, since a read-only mapping cannot be pickled."""
        tags = None if self.tags is None else dict(self.tags)
        return _basic_info, (self.service_name, tags)


def _basic_info(service_name: str, tags: Mapping[str, str] | None) -> EndpointBasicInfo:
    return EndpointBasicInfo(service_name=service_name, tags=tags)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """How one server is enlisted, kept enlisted, and stopped.

    Attributes:
        basic_info: who the server is; fills what ``registry_info`` leaves unsaid.
        registry: where to enlist: a name such as "etcd", a URL, an opened Registry (it stays
            open, and its own timeout, on_unavailable and extensions hold), or a list of these.
            None: what ENLIST_REGISTRY says, else "local".
        registry_info: what to publish, as far as it is to differ from what the server tells.
        advertise: the address to publish: "10.0.0.1", "10.0.0.1:8888", "host.example:8888", an
            Address; or where to find it: a network "10.0.0.0/8" or the name of an interface.
            None: see :mod:`enlist.serving.advertise`.
        ready_timeout: how long the server may take from its start until it accepts connections
            and says that it is ready, before its start has failed.
        drain: how long the server goes on serving, counted from the start of the stop, so that
            clients learn that it is leaving. Kitex's clients look every 5 s.
        grace: how long running calls may take to end after that. Drain and grace together
            should stay below what the platform allows: 30 s in Kubernetes.
        healthy: asked while the server is enlisted; while it returns something false, or raises,
            the server is out of the registry, and comes back after. None: always healthy.
        health_interval: how often ``healthy`` is asked.
        timeout: the budget of each call to the registry. None: the registry's own, 3 s by default.
        on_unavailable: what to do when the registry cannot be reached at the start: "raise", or
            "retry": serve already, and enlist when it can be reached.
        extensions: for the registry: names of installed ones, or objects with hooks of
            :class:`enlist.hookspecs.ExtensionSpec`.

    Raises:
        InvalidOptionError: an option breaks its rule; the message names option, value and rule.
    """

    basic_info: EndpointBasicInfo | None = None
    registry: RegistryChoice = None
    registry_info: Info | None = None
    advertise: str | Address | None = None
    ready_timeout: dt.timedelta = dt.timedelta(seconds=30)
    drain: dt.timedelta = dt.timedelta(seconds=6)
    grace: dt.timedelta = dt.timedelta(seconds=10)
    healthy: Callable[[], object] | None = None
    health_interval: dt.timedelta = dt.timedelta(seconds=1)
    timeout: dt.timedelta | None = None
    on_unavailable: OnUnavailable = "raise"
    extensions: Sequence[object] = ()

    def __post_init__(self) -> None:
        """Refuse at once what would fail only when the server is started, or stopped."""
        _check_type("basic_info", self.basic_info, EndpointBasicInfo)
        _check_type("registry_info", self.registry_info, Info)
        _check_advertise(self.advertise, self.registry_info or _NO_INFO)
        if self.healthy is not None and not callable(self.healthy):
            raise InvalidOptionError("healthy", self.healthy, "must be a function to ask, or None")
        for field in ("ready_timeout", "health_interval"):
            _check_duration(field, getattr(self, field), zero=False)
        if self.timeout is not None:
            _check_duration("timeout", self.timeout, zero=False)
        for field in ("drain", "grace"):
            _check_duration(field, getattr(self, field), zero=True)
        if self.on_unavailable not in ("raise", "retry"):
            raise InvalidOptionError(
                "on_unavailable", self.on_unavailable, "must be 'raise' or 'retry'"
            )
        if isinstance(self.extensions, str) or not isinstance(self.extensions, Sequence):
            raise InvalidOptionError(
                "extensions", self.extensions, "must be a list of names or objects"
            )


class Settings(TypedDict, total=False):
    """What may be given by keyword instead of in ServerOptions, or beside it and then wins.

    The fields are those of :class:`ServerOptions`, and ``tags``, those of its ``basic_info``.
    """

    basic_info: EndpointBasicInfo | None
    registry: RegistryChoice
    registry_info: Info | None
    advertise: str | Address | None
    ready_timeout: dt.timedelta
    drain: dt.timedelta
    grace: dt.timedelta
    healthy: Callable[[], object] | None
    health_interval: dt.timedelta
    timeout: dt.timedelta | None
    on_unavailable: OnUnavailable
    extensions: Sequence[object]
    tags: Mapping[str, str] | None


def as_options(server: str | ServerOptions, **settings: Unpack[Settings]) -> ServerOptions:
    """Return the options that a service name, or other options, and keywords spell together.

    Args:
        server: a service name, or options to begin with.
        settings: what to add to them, or to replace in them.

    Raises:
        InvalidOptionError: as ServerOptions; or an option that does not exist.
        InvalidInfoError: the service name or the tags break their rule.
    """
    if not isinstance(server, str | ServerOptions):
        raise InvalidOptionError(
            "server", server, "must be a service name such as 'echo', or ServerOptions"
        )
    for unknown in settings.keys() - Settings.__annotations__.keys():
        known = ", ".join(sorted(Settings.__annotations__))
        raise InvalidOptionError(
            unknown, settings.get(unknown), f"is no option of a server; there are: {known}"
        )
    given: dict[str, Any] = dict(settings)
    basic: dict[str, Any] = {"tags": given.pop("tags")} if "tags" in given else {}
    if isinstance(server, str):
        basic["service_name"] = server
    options = replace(server if isinstance(server, ServerOptions) else ServerOptions(), **given)
    if not basic:
        return options
    return replace(options, basic_info=replace(options.basic_info or EndpointBasicInfo(), **basic))


def build_info(
    options: ServerOptions, listen_addr: Address | None, payload_codec: str, now: dt.datetime
) -> Info:
    """Return what a server publishes, by Kitex's rules. Pure: the same arguments, the same Info.

    The listen address replaces ``registry_info.addr`` unless that says ``skip_listen_addr``. An
    empty service name comes from ``basic_info``, as do tags that are None: tags that are given,
    also none at all, are never merged. An empty codec comes from the kind of server. A weight
    of 0 stays 0. A warm-up without a start time starts now.

    Args:
        options: the server's.
        listen_addr: the address that the server listens on, already made one that others can
            reach (:func:`enlist.serving.advertise.advertised`). None only with
            ``skip_listen_addr``.
        payload_codec: of the kind of server, such as "thrift" or "protobuf", or empty.
        now: when the server starts; aware.

    Raises:
        InvalidInfoError: there is no service name or no address, or nobody can reach it; the
            message says where to give it.
    """
    given = options.registry_info or _NO_INFO
    basic = options.basic_info or EndpointBasicInfo()
    if given.skip_listen_addr and given.addr is None:
        rule = "is missing in registry_info, whose skip_listen_addr says to publish no other"
        raise InvalidInfoError("addr", None, rule)
    info = Info(
        service_name=given.service_name or basic.service_name,
        addr=given.addr if given.skip_listen_addr else listen_addr,
        payload_codec=given.payload_codec or payload_codec,
        weight=given.weight,
        start_time=now if given.warm_up and given.start_time is None else given.start_time,
        warm_up=given.warm_up,
        tags=basic.tags if given.tags is None else given.tags,
        skip_listen_addr=given.skip_listen_addr,
    )
    check_complete(info)
    return info


def _check_type(field: str, value: object, kind: type) -> None:
    if value is not None and not isinstance(value, kind):
        raise InvalidOptionError(
            field, value, f"must be of type enlist.{kind.__name__}, or left out"
        )


def _check_advertise(value: object, registry_info: Info) -> None:
    if value is None:
        return
    if not isinstance(value, str | Address) or value == "":
        rule = "must be an address, a network such as '10.0.0.0/8' or the name of an interface"
        raise InvalidOptionError("advertise", value, rule)
    if registry_info.skip_listen_addr:
        rule = (
            "contradicts skip_listen_addr, which publishes registry_info.addr; give one of the two"
        )
        raise InvalidOptionError("advertise", value, rule)


def _check_duration(field: str, value: object, *, zero: bool) -> None:
    if not isinstance(value, dt.timedelta):
        raise InvalidOptionError(field, value, "must be a timedelta, such as timedelta(seconds=6)")
    if value < dt.timedelta(0) or value > LONGEST_WAIT or (not zero and not value):
        least = "0" if zero else "more than 0"
        raise InvalidOptionError(
            field, value, f"must be {least} and at most {LONGEST_WAIT.days} day"
        )
