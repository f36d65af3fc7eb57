"""What this process holds of the system: threads, and what its descriptors lead to."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from pathlib import Path

__all__ = ["held", "held_beyond"]

_FOLDER = Path("/proc/self/fd")


def held() -> Counter[str]:
    """Count the threads and open descriptors of each kind; descriptors on Linux alone."""
    counts = Counter(f"thread {_kind(thread.name)}" for thread in threading.enumerate())
    if sys.platform.startswith("linux"):
        counts.update(_descriptors())
    return counts


def held_beyond(before: Counter[str]) -> list[str]:
    """Return what is held now beyond ``before``, each kind with its number."""
    return [f"{count} x {kind}" for kind, count in sorted((held() - before).items())]


def _descriptors() -> list[str]:
    kinds = []
    for entry in list(_FOLDER.iterdir()):
        try:
            target = str(entry.readlink())
        except FileNotFoundError:
            continue  # the descriptor of this very look
        kinds.append(
            target.partition(":")[0] if target.startswith(("socket:", "pipe:")) else target
        )
    return kinds


def _kind(thread_name: str) -> str:
    """Return a thread's name without the numbers that tell it from others of its kind."""
    return "".join(character for character in thread_name if not character.isdigit())
