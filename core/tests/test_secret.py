"""A secret shows itself nowhere, and its file is read when it is needed."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from enlist.backend_options import Secret, read_secret
from enlist.errors import InvalidOptionError, RegistryError, UnauthorisedError

TEXT = "hunter2"


@dataclass(frozen=True)
class Holder:
    password: Secret = Secret(TEXT)


@pytest.mark.parametrize(
    "shown",
    [
        repr(Secret(TEXT)),
        str(Secret(TEXT)),
        f"{Secret(TEXT)}",
        f"{Secret(TEXT)!r:>20}",
        f"{Secret(TEXT):>20}",
        "%s %r" % (Secret(TEXT), Secret(TEXT)),  # noqa: UP031 - logging formats so
        repr(Holder()),
        repr(asdict(Holder())),
        repr([Secret(TEXT)]),
        str(InvalidOptionError("password", Secret(TEXT), "rule")),
    ],
)
def test_show_of_a_secret_gives_stars(shown: str) -> None:
    """Whichever way a secret is turned into text, the text is ***."""
    assert "***" in shown
    assert TEXT not in shown


def test_reveal_gives_the_text() -> None:
    """The one way to the text has a name that is easily searched for."""
    assert Secret(TEXT).reveal() == TEXT


def test_compare_of_secrets_is_by_value() -> None:
    """Secrets with equal texts are equal and hash alike; a secret is not equal to its text."""
    assert Secret(TEXT) == Secret(TEXT)
    assert Secret(TEXT) != Secret("other")
    assert Secret("é\ud800") == Secret("é\ud800")
    assert hash(Secret(TEXT)) == hash(Secret(TEXT))
    assert Secret(TEXT) != TEXT
    assert not Secret()
    assert Secret(TEXT)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_of_a_secret_is_refused(protocol: int) -> None:
    """A secret is not written out in plain text by accident, nor into the error."""
    with pytest.raises(TypeError, match="a Secret cannot be pickled") as caught:
        pickle.dumps(Holder(), protocol)
    assert TEXT not in repr(caught.value)
    with pytest.raises(TypeError, match="a Secret cannot be pickled"):
        Secret(TEXT).__getstate__()
    with pytest.raises(TypeError):
        json.dumps(Secret(TEXT))


def test_copy_of_a_secret_is_itself() -> None:
    """Options with secrets can be copied."""
    secret = Secret(TEXT)

    assert copy.copy(secret) is secret
    assert copy.deepcopy(Holder()).password == secret


def test_change_of_a_secret_is_refused() -> None:
    """Neither its text nor a new attribute can be set."""
    with pytest.raises(AttributeError, match="cannot be changed"):
        Secret(TEXT)._text = "other"


def test_secret_of_what_is_no_text_is_refused() -> None:
    """Bytes are refused by type and not shown."""
    with pytest.raises(TypeError, match="wraps text, not bytes"):
        Secret(b"hunter2")  # type: ignore[arg-type]  # the wrong type is what is tested


def test_read_secret_without_a_file_gives_the_inline_one() -> None:
    """Where no file is named the option itself is used, also an empty one."""
    assert read_secret(Secret(TEXT), None) == Secret(TEXT)
    assert not read_secret(Secret(), None)


@pytest.mark.parametrize(
    "content, expected",
    [
        (b"hunter2", "hunter2"),
        (b"hunter2\n", "hunter2"),
        (b"hunter2\r\n", "hunter2"),
        (b"hunter2\n\n", "hunter2\n"),
        (b"hunter2\n\r\n", "hunter2\n"),
        (b" hunter2 ", " hunter2 "),
        ("pä\u00dfwort".encode(), "pä\u00dfwort"),
    ],
)
def test_read_secret_strips_one_newline(tmp_path: Path, content: bytes, expected: str) -> None:
    """An editor's last newline is no part of the secret; everything else is."""
    file = tmp_path / "password"
    file.write_bytes(content)

    assert read_secret(Secret(), file).reveal() == expected


def test_read_secret_reads_the_file_anew(tmp_path: Path) -> None:
    """A rotated password is used at the next connect."""
    file = tmp_path / "password"
    file.write_text("old\n", encoding="utf-8")
    first = read_secret(Secret(), file)
    file.write_text("new\n", encoding="utf-8")

    assert (first.reveal(), read_secret(Secret(), file).reveal()) == ("old", "new")


@pytest.mark.parametrize(
    "content, reason",
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"hunter2\xff", "is not UTF-8 text"),
        (b"hunter2" * 10_000, "has more than 65536 bytes"),
    ],
)
def test_read_secret_of_a_bad_file_can_be_tried_again(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    """A file that is not (yet) right is an error that the keeper retries, without the content."""
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(UnauthorisedError) as caught:
        read_secret(Secret(), file)

    assert f"Secret file {str(file)!r} {reason}" in str(caught.value)
    assert isinstance(caught.value, RegistryError)
    chained = repr([caught.value, caught.value.__cause__, caught.value.__context__])
    assert TEXT not in chained


@pytest.mark.parametrize("path", [".", "a\0b"])
def test_read_secret_of_what_is_no_file_is_unauthorised(path: str) -> None:
    """A folder, or a path that cannot be, is the same kind of error."""
    with pytest.raises(UnauthorisedError, match="cannot be read"):
        read_secret(Secret(), Path(path))
