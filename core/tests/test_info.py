"""What a server may say about itself, and what is refused, by field, value and rule."""

import copy
import datetime as dt
import pickle
import string
from enum import IntEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enlist import Address, Info, InvalidInfoError
from enlist.info import check_complete

UTC = dt.UTC
ADDR = "10.0.0.1:8888"


def refused(field: str, rule: str, **fields: object) -> InvalidInfoError:
    """Make an Info that must be refused, and return the error after looking at its text."""
    with pytest.raises(InvalidInfoError, match=rule) as caught:
        Info(**fields)  # type: ignore[arg-type]  # wrong on purpose
    assert str(caught.value).startswith(f"{field}=")
    assert caught.value.field == field
    return caught.value


def test_says_nothing_by_default() -> None:
    """Every field has a default, so that an Info may say only part."""
    info = Info(weight=20)

    assert (info.service_name, info.addr, info.tags, info.weight) == ("", None, None, 20)


def test_parses_an_address_given_as_text() -> None:
    """Text is taken for the address that it spells."""
    assert Info(addr="[::1]:80").addr == Address.tcp("::1", 80)


@pytest.mark.parametrize(
    "name,rule",
    [
        ("a/b", "must not contain '/'"),
        (".", r"must not be '\.'"),
        ("..", r"must not be '\.'"),
        (" echo", "white space"),
        ("echo\u3000", "white space"),
        ("e\ncho", "control character"),
        ("e\x7fcho", "control character"),
        ("\ud800", "lone surrogate"),
        ("x" * 256, "at most 255 bytes of UTF-8, not 256"),
        ("ä" * 128, "at most 255 bytes of UTF-8, not 256"),
        (None, "must be text, not NoneType"),
        (7, "must be text, not int"),
    ],
)
def test_refuses_a_service_name_that_breaks_a_rule(name: object, rule: str) -> None:
    """The message names the field, the value and the rule."""
    refused("service_name", rule, service_name=name)


@pytest.mark.parametrize("name", ["echo", "ä" * 127, "a b", "e%2Fcho", "10.0.0.1:80", "名前", "🦊"])
def test_accepts_any_other_service_name(name: str) -> None:
    """Nothing else is refused."""
    assert Info(service_name=name).service_name == name


@pytest.mark.parametrize("weight", [-1, 65_536, 1.0, "10", True, None])
def test_refuses_a_weight_that_is_no_share(weight: object) -> None:
    """A weight is a whole number from 0 to 65535, and a truth is no number."""
    refused("weight", "whole number from 0", weight=weight)


@pytest.mark.parametrize("weight", [0, 1, 65_535])
def test_accepts_the_limits_of_a_weight(weight: int) -> None:
    """Both ends belong to the range."""
    assert Info(weight=weight).weight == weight


def test_keeps_the_number_of_a_member_alone() -> None:
    """An enumeration's member is a number too, and is shown and stored as one."""
    weight = Info(weight=IntEnum("Share", {"LARGE": 20}).LARGE).weight  # type: ignore[attr-defined]

    assert repr(weight) == "20"


def test_keeps_the_codec_in_lower_case() -> None:
    """Kitex writes Thrift, and compares without regard to case."""
    assert Info(payload_codec="Thrift") == Info(payload_codec="thrift")


def test_keeps_a_start_time_in_utc_and_whole_milliseconds() -> None:
    """What a record can hold is what an Info holds."""
    zone = dt.timezone(dt.timedelta(hours=2))
    start = dt.datetime(2026, 1, 1, 14, 0, 0, 123_999, tzinfo=zone)

    assert Info(start_time=start).start_time == dt.datetime(
        2026, 1, 1, 12, 0, 0, 123_000, tzinfo=UTC
    )


@pytest.mark.parametrize(
    "start_time,rule",
    [
        (dt.datetime(2026, 1, 1), "time zone"),  # noqa: DTZ001 - the naive one that is refused
        ("2026-01-01", "time zone"),
        (1_700_000_000, "time zone"),
        (dt.datetime.min.replace(tzinfo=dt.timezone(dt.timedelta(hours=1))), "years 1 and 9999"),
    ],
)
def test_refuses_a_start_time_that_is_no_moment(start_time: object, rule: str) -> None:
    """A time without a zone would mean another moment on another machine."""
    refused("start_time", rule, start_time=start_time)


@pytest.mark.parametrize(
    "warm_up,rule",
    [
        (30, "must be a timedelta"),
        (dt.timedelta(seconds=-1), "must not be negative"),
        (dt.timedelta(days=366), "longer than 365 days"),
    ],
)
def test_refuses_a_warm_up_that_is_no_duration(warm_up: object, rule: str) -> None:
    """A number of unknown unit is refused rather than guessed."""
    refused("warm_up", rule, warm_up=warm_up)


@pytest.mark.parametrize(
    "tags,rule",
    [
        ([("a", "b")], "must be a mapping"),
        ({"": "x"}, "empty key"),
        ({"k" * 129: ""}, "at most 128 bytes"),
        ({"k": "v" * 1_025}, "at most 1024 bytes"),
        ({"k": 1}, "must be text, not int"),
        ({1: "v"}, "must be text, not int"),
        ({"k": "\udfff"}, "lone surrogate"),
        ({str(n): "" for n in range(65)}, "at most 64 entries, not 65"),
        ({str(n): "v" * 1_024 for n in range(9)}, "at most 8192 bytes in all"),
    ],
)
def test_refuses_tags_that_break_a_rule(tags: object, rule: str) -> None:
    """Every bound of tags has its own message."""
    with pytest.raises(InvalidInfoError, match=rule) as caught:
        Info(tags=tags)  # type: ignore[arg-type]  # wrong on purpose
    assert caught.value.field.startswith("tags")


def test_copies_tags_and_lets_nobody_change_them() -> None:
    """What was registered cannot change behind the registry's back."""
    given_tags = {"zone": "a"}
    info = Info(tags=given_tags)
    given_tags["zone"] = "b"

    assert info.tags == {"zone": "a"}
    with pytest.raises(TypeError):
        info.tags["zone"] = "c"  # type: ignore[index]  # what must not work


def test_accepts_any_other_character_in_tags() -> None:
    """Separators, control characters and every script are allowed."""
    tags = {"a:b/c=d%": "\n\0,;\u202e🦊", "é": ""}

    assert Info(tags=tags).tags == tags


@pytest.mark.parametrize("value", [1, None, "yes"])
def test_refuses_a_skip_that_is_no_truth(value: object) -> None:
    """A text such as "no" would count as true."""
    refused("skip_listen_addr", "True or False", skip_listen_addr=value)


def test_is_equal_when_what_is_published_is_equal() -> None:
    """skip_listen_addr is an instruction, and no tags are no tags."""
    one = Info(service_name="echo", addr=ADDR, tags={}, skip_listen_addr=True)
    other = Info(service_name="echo", addr=ADDR)

    assert one == other
    assert hash(one) == hash(other)
    assert one != Info(service_name="echo", addr=ADDR, weight=11)
    assert one != "echo"


def test_survives_pickling_and_copying() -> None:
    """An Info crosses process boundaries, tags and all."""
    info = Info(service_name="echo", addr=ADDR, tags={"a": "b"}, skip_listen_addr=True)

    for again in (pickle.loads(pickle.dumps(info)), copy.deepcopy(info)):  # noqa: S301 - our own bytes
        assert again == info
        assert again.skip_listen_addr


def test_an_error_survives_pickling() -> None:
    """Errors cross process boundaries too."""
    error = refused("weight", "whole number", weight=-1)

    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes

    assert (str(again), again.field, again.rule) == (str(error), "weight", error.rule)


def test_shows_only_what_it_says() -> None:
    """The repr makes the same Info, and is short."""
    info = Info(service_name="echo", addr=ADDR, tags={"a": "b"})

    assert repr(info) == "Info(service_name='echo', addr='10.0.0.1:8888', tags={'a': 'b'})"


@pytest.mark.parametrize(
    "info,field,step",
    [
        (Info(addr=ADDR), "service_name", "basic_info"),
        (Info(service_name="echo"), "addr", "such as"),
        (Info(service_name="echo", addr="0.0.0.0:80"), "addr.host", "every interface"),
        (Info(service_name="echo", addr="[::]:80"), "addr.host", "every interface"),
        (Info(service_name="echo", addr="224.0.0.1:80"), "addr.host", "multicast"),
        (Info(service_name="echo", addr="[fe80::1]:80"), "addr.host", "zone"),
        ("echo", "info", "enlist.Info"),
    ],
)
def test_refuses_to_publish_what_is_incomplete(info: Info, field: str, step: str) -> None:
    """What nobody could call is refused before anything is sent, with what to do."""
    with pytest.raises(InvalidInfoError, match=step) as caught:
        check_complete(info)
    assert caught.value.field == field


def test_takes_a_complete_info_for_complete() -> None:
    """A zone makes a link-local address usable, and a unix socket needs nothing more."""
    for addr in (ADDR, "[fe80::1%eth0]:80", "unix:/run/echo.sock", "echo.example:80"):
        info = Info(service_name="echo", addr=addr)
        check_complete(info)
        assert info.identity == ("echo", Address.parse(addr))


# Lone surrogates among the characters, and numbers that Python itself refuses to print.
ANY_TEXT = st.text(st.characters(exclude_categories=()))
ANY_NUMBER = st.integers() | st.integers(4_300, 6_000).map(lambda digits: 10**digits)
ANY_ADDRESS = st.one_of(
    st.builds("{}:{}".format, ANY_TEXT, st.integers()),
    st.builds("[{}]:{}".format, ANY_TEXT | st.ip_addresses(v=6), st.integers(0, 65_536)),
    st.builds("unix:/{}".format, ANY_TEXT),
    st.integers(4_300, 6_000).map(lambda digits: f"host:{'9' * digits}"),
)
ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    ANY_NUMBER,
    st.floats(),
    ANY_TEXT,
    ANY_ADDRESS,
    st.binary(),
    st.datetimes(timezones=st.none() | st.timezones()),
    st.timedeltas(),
    st.dictionaries(ANY_TEXT | ANY_NUMBER, ANY_TEXT | ANY_NUMBER, max_size=70),
    st.lists(ANY_TEXT),
)
FIELDS = (
    "service_name",
    "addr",
    "payload_codec",
    "weight",
    "start_time",
    "warm_up",
    "tags",
    "skip_listen_addr",
)


@given(st.dictionaries(st.sampled_from(FIELDS), ANYTHING))
def test_takes_or_refuses_anything_with_one_kind_of_error(fields: dict[str, object]) -> None:
    """Hostile values make an Info or an InvalidInfoError of one line, never anything else."""
    made: Info | InvalidInfoError
    try:
        made = Info(**fields)  # type: ignore[arg-type]  # hostile on purpose
    except InvalidInfoError as exc:
        made = exc
    if isinstance(made, Info):
        assert made == Info(**{name: getattr(made, name) for name in FIELDS})
        assert repr(made).isprintable()
    else:
        assert made.field.partition(".")[0].partition("[")[0] in FIELDS
        assert str(made).isprintable()


@given(st.text(string.ascii_letters, min_size=1, max_size=255))
def test_keeps_an_ordinary_name_as_it_is(name: str) -> None:
    """Names keep their case: Echo and echo are two services."""
    assert Info(service_name=name).service_name == name
