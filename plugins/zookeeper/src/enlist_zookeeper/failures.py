"""What a failed request means: kazoo's exceptions become errors of enlist.

They are told apart by the names of their classes, so that nothing is imported for it.
"""

from __future__ import annotations

import ssl
from typing import Final

from enlist.errors import (
    RegistryError,
    RejectedError,
    TimedOutError,
    UnauthorisedError,
    UnavailableError,
    UnsupportedError,
)

__all__ = [
    "NodeChangedError",
    "NodeExistsError",
    "NodeMissingError",
    "RaceError",
    "connect_failure",
    "failure_of",
    "sasl_failure",
]


class RaceError(UnavailableError):
    """A node was not as it had been. Leaves this package only if that goes on and on."""


class NodeMissingError(RaceError):
    """There is no such node, or no parent for it."""


class NodeExistsError(RaceError):
    """There is such a node already."""


class NodeChangedError(RaceError):
    """The node has another version by now."""


_ACL_STEP: Final = "Check username, password and the node's access control list."
_USER_STEP: Final = "Check username and password, or the Kerberos ticket."
_AGAIN: Final = "The connection or the session was lost."

_MEANINGS: Final[dict[str, tuple[type[RegistryError], str]]] = {
    "NoNodeError": (NodeMissingError, "The node has gone."),
    "NodeExistsError": (NodeExistsError, "The node has come."),
    "BadVersionError": (NodeChangedError, "The node has changed."),
    "KazooTimeoutError": (TimedOutError, "It did not answer in time."),
    "ConnectionLoss": (UnavailableError, _AGAIN),
    "ConnectionDropped": (UnavailableError, _AGAIN),
    "SessionExpiredError": (UnavailableError, _AGAIN),
    "SessionMovedError": (UnavailableError, _AGAIN),
    "UnknownSessionError": (UnavailableError, _AGAIN),
    "OperationTimeoutError": (UnavailableError, "It could not decide in time."),
    "RequestTimeoutError": (UnavailableError, "It could not decide in time."),
    "ThrottledOpError": (UnavailableError, "It has too much to do."),
    "NotReadOnlyCallError": (UnavailableError, "It serves reads only, having no quorum."),
    "NoAuthError": (UnauthorisedError, _ACL_STEP),
    "AuthFailedError": (UnauthorisedError, _USER_STEP),
    "SessionClosedRequireSaslError": (UnauthorisedError, "It demands SASL: see the option auth."),
    "InvalidACLError": (RejectedError, "Check the option acl; 'auth::' needs credentials."),
    "NoChildrenForEphemeralsError": (RejectedError, "A record stands where a folder is needed."),
    "NotEmptyError": (RejectedError, "A node with children stands there: no record."),
    "UnimplementedError": (UnsupportedError, "It is too old."),
    "SASLException": (UnsupportedError, "Install enlist-zookeeper[sasl]."),
    "ZookeeperError": (RejectedError, ""),
    "KazooException": (UnavailableError, ""),
}
_SILENCES: Final = frozenset({"ConnectionDropped", "KazooTimeoutError"})


def failure_of(exc: BaseException, what: str) -> RegistryError:
    """Return what a failed request means.

    Args:
        exc: kazoo's exception.
        what: which request it was, for the message.
    """
    if isinstance(exc, RegistryError):
        return exc
    for cls in type(exc).__mro__:
        if cls.__name__ in _MEANINGS:
            error_type, step = _MEANINGS[cls.__name__]
            return error_type(f"ZooKeeper: {what}: {type(exc).__name__}. {step}".rstrip())
    # What kazoo raises beside its own exceptions, it raises where an answer made no sense to it.
    return UnavailableError(f"ZooKeeper: {what}: {type(exc).__name__}.")


def connect_failure(exc: BaseException, host: str) -> RegistryError:
    """Return what a failed attempt to connect means.

    Args:
        exc: what kazoo raised; the exception that it was handling may tell more.
        host: whom it was to reach.
    """
    if isinstance(exc, RegistryError):
        return exc
    told = exc.__cause__ or exc.__context__ or exc
    if isinstance(told, RegistryError):
        return told
    if isinstance(told, ssl.SSLError):
        reason = getattr(told, "verify_message", "") or told.reason or "the handshake failed"
        step = "Check ca, server_name, cert and key."
        return UnauthorisedError(f"ZooKeeper at {host}: TLS: {reason}. {step}")
    if isinstance(told, OSError) or type(told).__name__ in _SILENCES:
        return UnavailableError(f"ZooKeeper at {host} {_silence(told)}.")
    return failure_of(told, f"connecting to {host}")


def sasl_failure(exc: Exception, host: str) -> RegistryError:
    """Return what it means that SASL's library failed, for whatever reason of its own."""
    return UnauthorisedError(
        f"ZooKeeper at {host}: SASL: {type(exc).__name__}: {exc}. {_USER_STEP}"
    )


def _silence(exc: BaseException) -> str:
    """Return how a server let us down, as the end of a sentence."""
    if type(exc).__name__ == "ConnectionDropped":
        reason = "it starts, has no quorum, has lost its data, or admits no more connections"
        return f"closed the connection: {reason}"
    if isinstance(exc, OSError) and not isinstance(exc, TimeoutError):
        return f"was not reached: {exc.strerror or type(exc).__name__}"
    return "accepts connections and does not answer"
