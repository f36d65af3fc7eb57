"""Infos as JSON, for the pipe between a test and the processes that it starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from enlist.info import Info

__all__ = ["from_json", "to_json"]


def to_json(info: Info) -> dict[str, Any]:
    """Return what the kit's own processes need to know of an Info."""
    return {
        "service_name": info.service_name,
        "addr": str(info.addr),
        "weight": info.weight,
        "tags": dict(info.tags or {}),
    }


def from_json(value: Mapping[str, Any]) -> Info:
    """Return the Info that :func:`to_json` wrote."""
    return Info(**value)
