"""Durations as text: "15", "15s", "500ms", "2m"."""

from __future__ import annotations

import datetime as dt
import re
from typing import Final

__all__ = ["DURATION_FORM", "duration_text", "parse_duration"]

DURATION_FORM: Final = "a duration such as '15s', '500ms' or '2m' (a number alone means seconds)"

_UNITS_US: Final = {
    "us": 1,
    "ms": 1_000,
    "": 1_000_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
}
_DURATION: Final = re.compile(r"(?P<number>[0-9]{1,18}(?:\.[0-9]{1,6})?) ?(?P<unit>us|ms|s|m|h|d|)")
_MICROSECOND: Final = dt.timedelta(microseconds=1)


def parse_duration(text: str) -> dt.timedelta | None:
    """Return the duration that ``text`` spells, to the microsecond, or None if it spells none.

    What is longer than a timedelta can hold, about 2.7 million years, is none either.
    """
    from fractions import Fraction  # noqa: PLC0415 - it loads decimal, for exactness here alone

    found = _DURATION.fullmatch(text.strip())
    if found is None:
        return None
    try:
        return round(Fraction(found["number"]) * _UNITS_US[found["unit"]]) * _MICROSECOND
    except OverflowError:
        return None


def duration_text(duration: dt.timedelta) -> str:
    """Return a text that :func:`parse_duration` reads back, in the largest fitting unit to "m"."""
    microseconds = duration // _MICROSECOND
    if microseconds == 0:
        return "0s"
    for unit in ("m", "s", "ms"):
        if microseconds % _UNITS_US[unit] == 0:
            return f"{microseconds // _UNITS_US[unit]}{unit}"
    return f"{microseconds}us"
