"""A service registry for Python: say once what a server is, and it stays enlisted.

Servers use :func:`enlisted`, :func:`serve` or a module of ``enlist.frameworks``; clients and
everything else start from :func:`open_registry`, plugin authors from ``enlist.hookspecs``.
"""

from enlist.address import Address
from enlist.errors import (
    BackendConflictError,
    BackendError,
    BackendLoadError,
    BackendSpecError,
    ClosedError,
    EnlistError,
    InvalidError,
    InvalidInfoError,
    InvalidOptionError,
    NoInstanceError,
    NotReadyError,
    PluginBugError,
    RegistryError,
    RejectedError,
    ServingError,
    TimedOutError,
    UnauthorisedError,
    UnavailableError,
    UnknownBackendError,
    UnsupportedError,
)
from enlist.finding.resolver import Resolver
from enlist.finding.view import Snapshot
from enlist.group import RegistryGroup
from enlist.hookspecs import SPEC_VERSION, Beat, Lost, Stop, Why, hookimpl
from enlist.info import Identity, Info
from enlist.opening import AnyRegistry, open_registry
from enlist.registry import Readiness, Registry
from enlist.serving.blocking import enlisted, serve
from enlist.serving.registration import Registration
from enlist.serving.server_options import EndpointBasicInfo, ServerOptions, build_info
from enlist.states import State, Status

__all__ = [
    "SPEC_VERSION",
    "Address",
    "AnyRegistry",
    "BackendConflictError",
    "BackendError",
    "BackendLoadError",
    "BackendSpecError",
    "Beat",
    "ClosedError",
    "EndpointBasicInfo",
    "EnlistError",
    "Identity",
    "Info",
    "InvalidError",
    "InvalidInfoError",
    "InvalidOptionError",
    "Lost",
    "NoInstanceError",
    "NotReadyError",
    "PluginBugError",
    "Readiness",
    "Registration",
    "Registry",
    "RegistryError",
    "RegistryGroup",
    "RejectedError",
    "Resolver",
    "ServerOptions",
    "ServingError",
    "Snapshot",
    "State",
    "Status",
    "Stop",
    "TimedOutError",
    "UnauthorisedError",
    "UnavailableError",
    "UnknownBackendError",
    "UnsupportedError",
    "Why",
    "build_info",
    "enlisted",
    "hookimpl",
    "open_registry",
    "serve",
]
