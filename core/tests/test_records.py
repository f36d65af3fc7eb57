"""What every record has in common: the added member, Go's field names, one warning for rubbish."""

import datetime as dt
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enlist import Address, Info
from enlist.records import (
    Decoded,
    Extra,
    MalformedRecordError,
    Record,
    compact_json,
    from_text,
    json_object,
    member,
    record_address,
    to_text,
)

ADDR = Address.tcp("10.0.0.1", 80)
FULL = Info(
    service_name="echo",
    addr=ADDR,
    payload_codec="thrift",
    weight=7,
    start_time=dt.datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=dt.UTC),
    warm_up=dt.timedelta(seconds=30),
    tags={"zone": "a"},
)


def test_writes_the_member_in_a_fixed_order() -> None:
    """The bytes of a record do not depend on how an Info was made."""
    written = compact_json(Extra.of(FULL, "f" * 32).to_json())

    assert written == (
        '{"v":1,"owner":"ffffffffffffffffffffffffffffffff","codec":"thrift",'
        '"start_ms":1767323045678,"warm_up_ms":30000}'
    )


def test_leaves_out_what_says_nothing() -> None:
    """A plain server costs two fields."""
    assert Extra(owner="f").to_json() == {"v": 1, "owner": "f"}


def test_reads_back_what_it_wrote() -> None:
    """Every field that Kitex drops comes back."""
    extra = Extra.of(FULL, "o")

    assert Extra.from_json(extra.to_json()) == extra
    assert extra.info("echo", ADDR, weight=7, tags={"zone": "a"}) == FULL


def test_takes_a_record_without_the_member_for_somebody_elses() -> None:
    """Kitex's own record has no owner and no times."""
    assert Extra.from_json(None) == Extra()
    assert Extra.from_json({"v": 9, "owner": "o", "new": [1]}) == Extra(owner="o")


@pytest.mark.parametrize(
    "value,reason",
    [
        ("text", "not an object"),
        ({"owner": 1}, "'owner' is not text"),
        ({"start_ms": "1"}, "'start_ms' is not a whole number"),
        ({"start_ms": True}, "'start_ms' is not a whole number"),
        ({"start_ms": 1.5}, "'start_ms' is not a whole number"),
        ({"start_ms": 10**20}, "out of range"),
        ({"warm_up_ms": 10**30}, "out of range"),
    ],
)
def test_refuses_a_member_of_the_wrong_shape(value: object, reason: str) -> None:
    """The reason names the field."""
    with pytest.raises(MalformedRecordError, match=reason):
        Extra.from_json(value)


def test_refuses_values_that_no_info_has() -> None:
    """A record of somebody else's may be well formed and still say the impossible."""
    with pytest.raises(MalformedRecordError, match="weight=70000"):
        Extra().info("echo", ADDR, weight=70_000)


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"[1]", b"null", b"1", b"[" * 100_000])
def test_refuses_what_is_no_json_object(raw: bytes) -> None:
    """Neither rubbish nor deep nesting gets further."""
    with pytest.raises(MalformedRecordError):
        json_object(raw)


def test_finds_fields_as_go_does() -> None:
    """Case does not count, and of several the last one wins; null is as good as missing."""
    record = {"weight": 1, "WEIGHT": 2, "Tags": None}

    assert member(record, "Weight", int, 10) == 2
    assert member(record, "tags", dict, None) is None
    assert member(record, "network", str, "tcp") == "tcp"
    assert member({"addreß": "b"}, "address", str, "") == ""
    assert member({"WEIGHT": 3, "taġs": 4, "TAG\u017f": 5}, "tags", int, 0) == 5


@pytest.mark.parametrize(
    "value,kind,reason",
    [
        ("1", int, "a whole number"),
        (1.0, int, "a whole number"),
        (1, str, "text"),
        ([], dict, "an object"),
    ],
)
def test_refuses_a_field_of_another_kind(value: object, kind: type, reason: str) -> None:
    """Go fails on these too, so nobody relies on them."""
    with pytest.raises(MalformedRecordError, match=f"'x' is not {reason}"):
        member({"x": value}, "x", kind, None)


def decode(key: str, raw: bytes) -> Record:
    fields = json_object(raw)
    return Record(Extra().info(key, ADDR, weight=member(fields, "weight", int, 10)), "o")


def test_decodes_only_what_changed() -> None:
    """A list of thousands in which one changed costs one decoding."""
    calls: list[str] = []

    def counting(key: str, raw: bytes) -> Record:
        calls.append(key)
        return decode(key, raw)

    decoded = Decoded(counting)
    first = decoded.update([("a", b"{}"), ("b", b"{}")])
    second = decoded.update([("a", b"{}"), ("b", b'{"weight":3}'), ("c", b"{}")])

    assert calls == ["a", "b", "b", "c"]
    assert second[0] is first[0]
    assert [record.info.weight for record in second] == [10, 3, 10]


def test_warns_once_about_each_malformed_record(caplog: pytest.LogCaptureFixture) -> None:
    """The others are returned, and the log names the one that was left out."""
    decoded = Decoded(decode)

    with caplog.at_level(logging.WARNING):
        lists = [decoded.update([("good", b"{}"), ("bad", b"{")]) for _ in range(3)]

    assert [[record.info.service_name for record in one] for one in lists] == [["good"]] * 3
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "skipped the malformed record bad"
    ]


def test_reads_a_record_that_was_mended() -> None:
    """A new value is a new chance."""
    decoded = Decoded(decode)
    decoded.update([("a", b"{")])

    assert len(decoded.update([("a", b"{}")])) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_reads_any_member_or_calls_it_malformed(value: object) -> None:
    """Nothing in a foreign record raises anything else."""
    try:
        extra = Extra.from_json(value)
        extra.info("echo", ADDR)
    except MalformedRecordError:
        return
    assert isinstance(extra, Extra)


def test_reads_back_the_text_of_a_whole_record() -> None:
    """A backend without a format of its own loses nothing, and can see the owner at the start."""
    text = to_text(FULL, "o" * 32)

    assert from_text("any key", text) == Record(FULL, "o" * 32)
    assert from_text("any key", text.encode()).info == FULL
    assert text.startswith('{"owner":"' + "o" * 32 + '"')


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"addr":"10.0.0.1:80"}',
        '{"service_name":"echo"}',
        '{"service_name":"echo","addr":"nowhere"}',
        '{"service_name":"a/b","addr":"10.0.0.1:80"}',
        '{"service_name":"echo","addr":"10.0.0.1:80","weight":"many"}',
        '{"service_name":"echo","addr":"10.0.0.1:80","tags":[]}',
    ],
)
def test_calls_a_text_malformed_that_says_no_info(text: str) -> None:
    """Whatever somebody has written there, it is one bad record and no other error."""
    with pytest.raises(MalformedRecordError):
        from_text("any key", text)


@pytest.mark.parametrize(
    "text, read",
    [
        ("10.0.0.1:80", "10.0.0.1:80"),
        ("[2001:db8::7]:80", "[2001:db8::7]:80"),
        ("2001:db8::7:80", "[2001:db8::7]:80"),
        ("::1:80", "[::1]:80"),
        ("unix:/run/a:b:1", "unix:/run/a:b:1"),
    ],
)
def test_record_address_is_read_with_and_without_brackets(text: str, read: str) -> None:
    """What follows the last colon is the port; a unix socket's path keeps its colons."""
    assert str(record_address(text)) == read


@pytest.mark.parametrize("text", ["", ":80", "::1", "1::2::3:80", "2001:db8::7:", "[::1]"])
def test_record_address_refuses_what_names_no_port_of_a_host(text: str) -> None:
    """Whatever else has colons in it is malformed."""
    with pytest.raises(MalformedRecordError):
        record_address(text)
