"""Durations in URLs and the environment."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enlist.durations import duration_text, parse_duration


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("15", 15),
        ("15s", 15),
        ("1.5", 1.5),
        ("500ms", 0.5),
        ("2m", 120),
        ("1h", 3600),
        ("2d", 172_800),
        ("7us", 0.000007),
        ("0.0009ms", 0.000001),
        (" 15 s ", 15),
        ("0", 0),
    ],
)
def test_parse_of_a_duration_reads_number_and_unit(text: str, seconds: float) -> None:
    """A number alone is seconds; the units are us, ms, s, m, h and d."""
    assert parse_duration(text) == dt.timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s",
        "-1s",
        "1 2",
        "1e3",
        "1_0",
        "15S",
        "15sec",
        "inf",
        "1.",
        "\u0661s",
        "1" * 19,
        "9" * 15 + "d",
    ],
)
def test_parse_of_what_is_no_duration_gives_none(text: str) -> None:
    """What could be read in two ways, or is too long to be meant, is not read."""
    assert parse_duration(text) is None


@given(st.timedeltas(dt.timedelta(0), dt.timedelta(days=999_999)))
def test_parse_of_the_text_of_a_duration_gives_it_back(duration: dt.timedelta) -> None:
    """A duration that is shown can be pasted back, to the microsecond."""
    assert parse_duration(duration_text(duration)) == duration


@pytest.mark.parametrize(
    "seconds, text",
    [(0, "0s"), (15, "15s"), (120, "2m"), (0.5, "500ms"), (1.5, "1500ms"), (0.000001, "1us")],
)
def test_text_of_a_duration_is_as_a_person_would_write_it(seconds: float, text: str) -> None:
    """The largest unit that leaves a whole number is used."""
    assert duration_text(dt.timedelta(seconds=seconds)) == text
