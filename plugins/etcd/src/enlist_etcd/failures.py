"""What a failed call means: gRPC's status and etcd's own words become errors of enlist."""

from __future__ import annotations

import enum
from typing import Final, Protocol

from enlist.errors import (
    RegistryError,
    RejectedError,
    TimedOutError,
    UnauthorisedError,
    UnavailableError,
)

__all__ = [
    "CallFailedError",
    "Kind",
    "LeaseExistsError",
    "LeaseNotFoundError",
    "failure_of",
    "is_forbidden",
    "refusal_of",
]


class Kind(enum.Enum):
    """What is to be done about a failed call, before anybody hears of it."""

    BROKEN = "broken"
    """The connection is of no use any more; another one may be."""
    TIMED_OUT = "timed out"
    """No answer in time; nobody knows whether the call was carried out."""
    ELSEWHERE = "elsewhere"
    """This member cannot serve now; another one may."""
    STALE_TOKEN = "stale token"  # noqa: S105 - the name of a kind
    """The token is not, or no longer, valid: log in and call again."""
    STOPPED = "stopped"
    """Whoever called does not want the answer any more."""
    FORBIDDEN = "forbidden"
    """The user is known, and may not do this at any member."""
    FINAL = "final"
    """Any member would answer so."""


class LeaseNotFoundError(RejectedError):
    """The lease has ended. Never leaves this package."""


class LeaseExistsError(RejectedError):
    """A lease of that id is there. Never leaves this package."""


class CallFailedError(Exception):
    """One call on one connection failed. Never leaves this package.

    Attributes:
        kind: what is to be done about it.
        error: what the caller hears if nothing can be done.
        is_answer: whether it came from etcd, and so proves that the connection works.
    """

    def __init__(self, kind: Kind, error: RegistryError, *, is_answer: bool = False) -> None:
        """Have the error's message in a traceback."""
        super().__init__(str(error))
        self.kind = kind
        self.error = error
        self.is_answer = is_answer


class _RpcError(Protocol):
    """What gRPC's exceptions offer."""

    def code(self) -> object: ...
    def details(self) -> str | None: ...


# What etcd says decides where it says something, since it uses one status for different things.
_SAID: Final[tuple[tuple[str, Kind, type[RegistryError], str], ...]] = (
    ("requested lease not found", Kind.FINAL, LeaseNotFoundError, ""),
    ("lease already exists", Kind.FINAL, LeaseExistsError, ""),
    (
        "user name is empty",
        Kind.STALE_TOKEN,
        UnauthorisedError,
        "It asks for a user: give username and password_file.",
    ),
    ("invalid auth token", Kind.STALE_TOKEN, UnauthorisedError, "Check the user and its password."),
    ("revision of auth store is old", Kind.STALE_TOKEN, UnauthorisedError, ""),
    (
        "authentication failed",
        Kind.FINAL,
        UnauthorisedError,
        "Check username and the password.",
    ),
    ("user name not found", Kind.FINAL, UnauthorisedError, "Check username."),
    (
        "permission denied",
        Kind.FORBIDDEN,
        UnauthorisedError,
        "The user needs READWRITE on the keys below the prefix.",
    ),
    ("request timed out", Kind.TIMED_OUT, TimedOutError, ""),
    (
        "database space exceeded",
        Kind.FINAL,
        UnavailableError,
        "Compact and defragment it, then disarm its NOSPACE alarm.",
    ),
    ("too many operations", Kind.FINAL, RejectedError, "Set max_txn_ops to its --max-txn-ops."),
    ("too many requests", Kind.ELSEWHERE, UnavailableError, ""),
    ("not supported for learner", Kind.ELSEWHERE, UnavailableError, ""),
)
# The words for a handshake that fails for good, in gRPC's description of the connection.
_HANDSHAKE: Final = {
    "CERTIFICATE_VERIFY_FAILED": "Its certificate is not trusted: check ca.",
    "Hostname Verification Check failed": "Its certificate is for another host: check server_name.",
    "is not in peer certificate": "Its certificate is for another host: check server_name.",
    "Failed to create security handshaker": "Check that ca, cert and key are PEM files.",
    "empty address list": "Check that ca, cert and key are PEM files.",  # older versions' words
    # What becomes of the server's alert in TLS 1.3, where it comes after the handshake.
    "Unwrap failed": "It refused our certificate: check cert and key.",
}
_CONNECT_TIMED_OUT: Final = ("timed out", "Timeout occurred")
_BY_STATUS: Final[dict[str, tuple[Kind, type[RegistryError]]]] = {
    "UNAVAILABLE": (Kind.BROKEN, UnavailableError),
    "UNKNOWN": (Kind.ELSEWHERE, UnavailableError),
    "INTERNAL": (Kind.BROKEN, UnavailableError),
    "DEADLINE_EXCEEDED": (Kind.TIMED_OUT, TimedOutError),
    "UNAUTHENTICATED": (Kind.STALE_TOKEN, UnauthorisedError),
    "PERMISSION_DENIED": (Kind.FORBIDDEN, UnauthorisedError),
}
_ETCD: Final = "etcdserver:"


def failure_of(exc: _RpcError, endpoint: object) -> CallFailedError:
    """Return what a failed gRPC call means.

    Args:
        exc: the exception of a call.
        endpoint: whom was called, for the message.
    """
    status = getattr(exc.code(), "name", "UNKNOWN")
    details = exc.details() or "no details"
    if refusal := refusal_of(details, endpoint):
        return refusal
    for words, step in _HANDSHAKE.items():
        if words in details:
            # Another member may have another certificate.
            return CallFailedError(
                Kind.BROKEN, UnauthorisedError(_message(endpoint, details, step))
            )
    if status == "CANCELLED":  # by us: gRPC's own words would not say why
        step = "It kept silent, or another member answered in its place, or all was closed."
        words = _message(endpoint, "the connection was given up", step)
        return CallFailedError(Kind.BROKEN, UnavailableError(words))
    kind, error_type = _BY_STATUS.get(status, (Kind.FINAL, RejectedError))
    if kind is Kind.BROKEN and any(words in details for words in _CONNECT_TIMED_OUT):
        # A sign of overload, as a call is that was not answered; the core waits longer then.
        error_type = TimedOutError
    is_answer = details.startswith(_ETCD)
    if is_answer and kind is Kind.BROKEN:
        kind = Kind.ELSEWHERE
    error = error_type(_message(endpoint, f"{status}, {details}", ""))
    return CallFailedError(kind, error, is_answer=is_answer)


def is_forbidden(error: UnauthorisedError) -> bool:
    """Return whether etcd refused what the user may not do, and not the user."""
    failure = error.__cause__
    return isinstance(failure, CallFailedError) and failure.kind is Kind.FORBIDDEN


def refusal_of(details: str, endpoint: object) -> CallFailedError | None:
    """Return what it means that etcd said this; None if these are not words of its own."""
    for words, kind, error_type, step in _SAID:
        if words in details:
            error = error_type(_message(endpoint, details, step))
            return CallFailedError(kind, error, is_answer=True)
    return None


def _message(endpoint: object, details: str, step: str) -> str:
    return f"etcd at {endpoint}: {details.rstrip('. ')}. {step}".rstrip()
