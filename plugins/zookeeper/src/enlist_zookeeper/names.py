"""Which names ZooKeeper can carry as one segment of a path. Pure functions."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

__all__ = ["SYSTEM_NODE", "fault_in"]

SYSTEM_NODE: Final = "zookeeper"
"""At the top of the tree it is ZooKeeper's own."""

# ZooKeeper counts in UTF-16, so the ban of surrogates is one of everything beyond U+FFFF.
_BANNED: Final = re.compile("[\ud800-\uf8ff\ufff0-\U0010ffff]")


def fault_in(segment: str) -> str | None:
    """Return why ZooKeeper refuses the segment, as the end of a sentence; None if it does not."""
    if segment in {"", ".", ".."}:
        return "is empty, '.' or '..'"
    if any(unicodedata.category(character) == "Cc" for character in segment):
        return "has a control character, which ZooKeeper refuses"
    found = _BANNED.search(segment)
    if found is None:
        return None
    return (
        f"has the character U+{ord(found.group()):04X}; ZooKeeper refuses surrogates, "
        "U+E000 to U+F8FF and everything from U+FFF0 on"
    )
