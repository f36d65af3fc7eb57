"""What a failed request means: connection errors, HTTP's status and Consul's own words."""

from __future__ import annotations

import ssl
from http import HTTPStatus
from typing import Final

from enlist.errors import (
    RegistryError,
    RejectedError,
    TimedOutError,
    UnauthorisedError,
    UnavailableError,
)

__all__ = ["NoAclsError", "StoppedError", "UnknownCheckError", "broken", "hidden", "refused"]

_SHOWN_CHARACTERS: Final = 200
_DENIED: Final = ("Permission denied", "ACL not found", "lacks permission")
_POLICY: Final = (
    'Give the token a policy with service "NAME" { policy = "write" } '
    'and node_prefix "" { policy = "read" }.'
)
# In the server's alerts, where they are about the certificate that we have shown or have not.
_OUR_CERTIFICATE: Final = ("CERTIFICATE", "UNKNOWN_CA", "HANDSHAKE_FAILURE")
# Consul's words since 1.9 or so, and before; with ACLs the newer ones were there earlier.
_UNKNOWN_CHECK: Final = ("Unknown check", "does not have associated TTL")
_NO_ACLS: Final = "ACL support disabled"


class UnknownCheckError(RejectedError):
    """The agent has no check of that ID. Never leaves this package."""


class NoAclsError(RejectedError):
    """The agent has no ACLs, and so nothing to tell of a token. Never leaves this package."""


class StoppedError(RegistryError):
    """Whoever asked does not wait for the answer any more. Never leaves this package."""


def broken(exc: Exception, where: object) -> RegistryError:
    """Return what an error of the connection means.

    Args:
        exc: what was raised while connecting, sending or receiving.
        where: the agent, for the message.
    """
    if isinstance(exc, TimeoutError):
        return TimedOutError(f"Consul at {where}: no answer in time.")
    if isinstance(exc, ssl.SSLCertVerificationError):
        step = "Check ca and server_name."
        return UnauthorisedError(
            f"Consul at {where}: its certificate is refused: {exc.verify_message}. {step}"
        )
    if isinstance(exc, ssl.SSLError):
        return _no_handshake(exc, where)
    reason = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
    return UnavailableError(f"Consul at {where}: {reason}.")


def _no_handshake(exc: ssl.SSLError, where: object) -> RegistryError:
    reason = exc.reason or str(exc)
    if any(word in reason.upper() for word in _OUR_CERTIFICATE):
        step = "It refused our certificate: check cert and key."
        return UnauthorisedError(f"Consul at {where}: {reason}. {step}")
    step = "Check that address is where the agent speaks HTTPS."
    return UnavailableError(f"Consul at {where}: TLS failed: {reason}. {step}")


def refused(status: int, body: bytes, where: object, token: str) -> RegistryError:
    """Return what an answer with another status than 200 means.

    Args:
        status: of HTTP.
        body: Consul's words.
        where: the agent, for the message.
        token: is not shown, should Consul repeat it.
    """
    words = body.decode("utf-8", "replace").strip()
    if token:
        words = words.replace(token, "***")
    words = words[:_SHOWN_CHARACTERS] or "no details"
    message = f"Consul at {where}: {status}, {words.rstrip('. ')}."
    if any(one in words for one in _UNKNOWN_CHECK):
        return UnknownCheckError(message)
    if _NO_ACLS in words:
        return NoAclsError(message)
    denied = any(one in words for one in _DENIED)
    if denied or status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return UnauthorisedError(f"{message} {_POLICY}")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
        return UnavailableError(message)
    return RejectedError(message)


def hidden(what: str, where: object) -> UnauthorisedError:
    """Return the error for an answer from which ACLs have kept something back."""
    return UnauthorisedError(
        f"Consul at {where}: the token may not read all about {what}. {_POLICY}"
    )
