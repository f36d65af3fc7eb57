"""The asyncio twin of :func:`enlist.open_registry`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Literal

from enlist.aio.registry import AsyncRegistry
from enlist.opening import open_registry as open_blocking

__all__ = ["open_registry"]


def open_registry(
    registry: object = None,
    /,
    *,
    timeout: dt.timedelta | None = None,
    on_unavailable: Literal["raise", "retry"] = "raise",
    extensions: Sequence[object] = (),
    **options: object,
) -> AsyncRegistry:
    """Open a registry for asyncio; see :func:`enlist.open_registry`. Sends nothing, awaits nothing.

    An opened blocking registry may be passed; it stays open when this one is closed.
    """
    blocking = open_blocking(
        registry, timeout=timeout, on_unavailable=on_unavailable, extensions=extensions, **options
    )
    return AsyncRegistry(blocking, owned=blocking is not registry)
