"""One check for every piece of text that is published."""

from __future__ import annotations

import unicodedata

from enlist.errors import InvalidInfoError

__all__ = ["check_text"]


def check_text(field: str, value: object, *, most_bytes: int, controls: bool = False) -> int:
    """Refuse what is not text, is too long, cannot be encoded or has control characters.

    Args:
        field: the name to give in the message.
        value: what was passed.
        most_bytes: the longest allowed length, in bytes of UTF-8.
        controls: whether control characters are allowed.

    Returns:
        The length in bytes of UTF-8.

    Raises:
        InvalidInfoError: the value breaks one of these rules.
    """
    if not isinstance(value, str):
        raise InvalidInfoError(field, value, f"must be text, not {type(value).__name__}")
    try:
        size = len(value.encode())
    except UnicodeEncodeError as exc:
        raise InvalidInfoError(
            field, value, "must not contain a lone surrogate, which UTF-8 cannot carry"
        ) from exc
    if size > most_bytes:
        raise InvalidInfoError(
            field, value, f"must have at most {most_bytes} bytes of UTF-8, not {size}"
        )
    if not controls and any(unicodedata.category(character) == "Cc" for character in value):
        raise InvalidInfoError(field, value, "must not contain a control character")
    return size
