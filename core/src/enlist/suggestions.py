"""The one way in which an error guesses what was meant."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["did_you_mean", "nearest"]


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like ``name``, or None if none is near."""
    import difflib  # noqa: PLC0415 - for messages of errors alone

    return next(iter(difflib.get_close_matches(name.lower(), list(known), n=1)), None)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the known name that is nearest, or "" if none is near."""
    near = nearest(name, known)
    return "" if near is None else f" Did you mean {near!r}?"
