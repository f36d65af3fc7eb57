"""Who may do what with the nodes that are made: entries such as "world:anyone:r"."""

from __future__ import annotations

from typing import Final, NamedTuple

from enlist.errors import InvalidOptionError

__all__ = ["Entry", "parse_acl"]

_PERMISSIONS: Final = {"r": 1, "w": 2, "c": 4, "d": 8, "a": 16}
_FORM: Final = (
    "must be 'scheme:id:permissions' with permissions out of c, d, r, w and a, "
    "such as 'world:anyone:r' or 'auth::cdrwa'"
)


class Entry(NamedTuple):
    """One entry of an access control list.

    Attributes:
        scheme: such as "world", "digest", "auth" or "ip".
        id: whom it means; an id may contain colons.
        permissions: ZooKeeper's bits.
    """

    scheme: str
    id: str
    permissions: int


def parse_acl(text: str) -> Entry:
    """Return the entry that the text spells, as ZooKeeper's own command line does.

    Raises:
        InvalidOptionError: it spells none.
    """
    scheme, _, rest = text.partition(":")
    who, colon, letters = rest.rpartition(":")
    if not scheme or not colon or not letters or not set(letters) <= set(_PERMISSIONS):
        raise InvalidOptionError("acl", text, _FORM)
    return Entry(scheme, who, sum(_PERMISSIONS[letter] for letter in set(letters)))
