"""What to do about an error: the next step that the commands print after its sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from enlist.errors import (
    BackendError,
    EnlistError,
    InvalidError,
    NotReadyError,
    RejectedError,
    ServingError,
    TimedOutError,
    UnauthorisedError,
    UnavailableError,
    UnsupportedError,
)

__all__ = ["advice", "with_advice"]

# The first that fits an error counts. No advice: the sentence itself ends with what to do.
_ADVICE: Final[Sequence[tuple[type[EnlistError], str]]] = (
    (BackendError, "'enlist plugins' shows what is installed, and whether it loads"),
    (InvalidError, "correct the registry URL, or the ENLIST_* variables"),
    (NotReadyError, "look where it listens, and why not there; or give a longer --ready-timeout"),
    (ServingError, ""),
    (TimedOutError, "look at the server's load and log, and for firewalls; try a longer --timeout"),
    (UnauthorisedError, "look at the credentials, and at what they may read and write"),
    (UnavailableError, "look whether the server runs, and whether it is reached from here"),
    (RejectedError, "the server understood and refused; correct what its reason names"),
    (UnsupportedError, "this backend cannot do that; use it for what it can do, or another"),
)
_OTHERWISE: Final = "report this to the author of the backend"


def advice(error: EnlistError) -> str:
    """Return what to do about an error; nothing where its own sentence says it."""
    return next((text for kind, text in _ADVICE if isinstance(error, kind)), _OTHERWISE)


def with_advice(error: EnlistError) -> str:
    """Return an error's sentence, and the next step where there is one to add."""
    step = advice(error)
    return f"{str(error).rstrip('.')} -- next: {step}" if step else str(error)
