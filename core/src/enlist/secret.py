"""Passwords and tokens: a value that never shows itself, and the file that it may come from."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NoReturn, final

from enlist.errors import UnauthorisedError

__all__ = ["HIDDEN", "Secret", "read_secret"]

HIDDEN: Final = "***"
"""What is shown in the place of a secret."""

# A token of a few kilobytes is a long one; more is the wrong file, or a device without an end.
_MOST_BYTES: Final = 65_536


@final
class Secret:
    """A password or token: ``repr``, ``str`` and ``format`` show ``***``; ``reveal`` gives it away.

    False when empty. Two secrets are equal when their texts are, compared in constant time, and
    a secret is hashable, since frozen dataclasses of options hold it. It refuses to be pickled,
    which would write it out in plain text; a copy is the same object.
    """

    __slots__ = ("_text",)
    _text: str

    def __init__(self, text: str = "") -> None:
        """Wrap ``text``; no text at all is "no secret"."""
        if not isinstance(text, str):
            raise TypeError(f"a Secret wraps text, not {type(text).__name__}")
        object.__setattr__(self, "_text", text)

    def reveal(self) -> str:
        """Return the text itself; hand it to the client library and keep it nowhere else."""
        return self._text

    def __bool__(self) -> bool:
        """Return whether there is any text."""
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        """Compare by value, in a time that does not tell where two texts begin to differ."""
        if not isinstance(other, Secret):
            return NotImplemented
        import hmac  # noqa: PLC0415 - it loads OpenSSL, and options are seldom compared

        return hmac.compare_digest(_encoded(self._text), _encoded(other._text))

    def __hash__(self) -> int:
        """Hash by value; Python salts it anew in each process."""
        return hash((Secret, self._text))

    def __repr__(self) -> str:
        """Return ``***``."""
        return HIDDEN

    def __str__(self) -> str:
        """Return ``***``."""
        return HIDDEN

    def __format__(self, format_spec: str) -> str:
        """Return ``***``, laid out as asked."""
        return format(HIDDEN, format_spec)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        """Refuse: a secret does not change; wrap the new one."""
        raise AttributeError("a Secret cannot be changed; make a new one")

    def __copy__(self) -> Secret:
        """Return the same object."""
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Secret:
        """Return the same object, so that ``dataclasses.asdict`` works on options."""
        return self

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled."""
        raise TypeError("a Secret cannot be pickled; pass the path of its file instead")

    def __getstate__(self) -> NoReturn:
        """Refuse, as ``__reduce__`` does."""
        raise TypeError("a Secret cannot be pickled; pass the path of its file instead")


def read_secret(inline: Secret, file: Path | None) -> Secret:
    """Return the secret to use now: what ``file`` holds, or ``inline`` when there is no file.

    Call it at each connect. The file is read anew each time, so a rotated password is used
    without a restart. One newline at its end is not part of the secret.

    Args:
        inline: the option that holds the secret itself.
        file: the option that names the file, or None.

    Raises:
        UnauthorisedError: the file cannot be read, is empty, is longer than 64 KiB or is not
            UTF-8. The core tries again, so the file may appear later.
    """
    if file is None:
        return inline
    text = _text_of(file)
    for newline in ("\r\n", "\n"):
        if text.endswith(newline):
            text = text.removesuffix(newline)
            break
    if not text:
        raise UnauthorisedError(f"Secret file {str(file)!r} is empty. Write the secret into it.")
    return Secret(text)


def _text_of(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            content = opened.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as exc:  # ValueError: a path that no file can have
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        raise UnauthorisedError(
            f"Secret file {str(file)!r} cannot be read: {reason}. "
            "Check the path and that this process may read it."
        ) from exc
    if len(content) > _MOST_BYTES:
        raise UnauthorisedError(
            f"Secret file {str(file)!r} has more than {_MOST_BYTES} bytes. "
            "Name the file that holds nothing but the secret."
        )
    text = _decoded(content)
    if text is None:  # outside of the handler: a UnicodeDecodeError carries the whole content
        raise UnauthorisedError(
            f"Secret file {str(file)!r} is not UTF-8 text. Save it as UTF-8 without a BOM."
        )
    return text


def _decoded(content: bytes) -> str | None:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
