"""Records: the bytes that Kitex reads, and everything that comes back from them."""

import contextlib
import datetime as dt
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enlist.errors import InvalidInfoError
from enlist.info import Info
from enlist.records import MalformedRecordError
from enlist_zookeeper.names import fault_in
from enlist_zookeeper.records import Paths, check, decode, encode, is_address, owner_of

OWNER = "00112233445566778899aabbccddeeff"

TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
ADDRESSES = st.one_of(
    st.builds("10.0.{}.{}:{}".format, *[st.integers(0, 255)] * 2, st.integers(1, 65_535)),
    st.builds("[2001:db8::{:x}]:{}".format, st.integers(1, 0xFFFF), st.integers(1, 65_535)),
    st.builds("host-{}.example:{}".format, st.integers(0, 99), st.integers(1, 65_535)),
)
INFOS = st.builds(
    Info,
    service_name=st.just("echo"),
    addr=ADDRESSES,
    payload_codec=st.sampled_from(["", "thrift", "protobuf"]),
    weight=st.integers(0, 65_535),
    start_time=st.none() | st.datetimes(timezones=st.just(dt.UTC), min_value=dt.datetime(1, 1, 2)),  # noqa: DTZ001 - hypothesis adds the zone
    warm_up=st.timedeltas(dt.timedelta(0), dt.timedelta(days=365)),
    tags=st.none() | st.dictionaries(TEXT.filter(bool), TEXT, max_size=8),
)


def test_encode_writes_kitex_s_bytes_and_one_member() -> None:
    """What is written is what it was in every release before: other programs read it."""
    info = Info(
        service_name="echo",
        addr="10.0.0.1:8888",
        weight=7,
        tags={"zone": "a", "größe": "<&>", "b": ""},
        payload_codec="Thrift",
        start_time=dt.datetime(2023, 11, 14, 22, 13, 20, tzinfo=dt.UTC),
        warm_up=dt.timedelta(seconds=30),
    )

    assert (
        encode(info, OWNER)
        == (
            '{"Weight":7,"Tags":{"b":"","größe":"\\u003c\\u0026\\u003e","zone":"a"},'
            f'"enlist":{{"v":1,"owner":"{OWNER}","codec":"thrift","start_ms":1700000000000,"warm_up_ms":30000}}}}'
        ).encode()
    )


def test_encode_writes_no_tags_as_kitex_does() -> None:
    """Tags that were not given are null, and no default is left out."""
    info = Info(service_name="echo", addr="10.0.0.1:8888")

    assert encode(info, OWNER) == (
        f'{{"Weight":10,"Tags":null,"enlist":{{"v":1,"owner":"{OWNER}"}}}}'.encode()
    )


@pytest.mark.parametrize(
    "root, addr, path",
    [
        ("", "10.0.0.1:8888", "/echo/10.0.0.1:8888"),
        ("", "[::1]:8888", "/echo/[::1]:8888"),
        ("/a/b", "h.example:1", "/a/b/echo/h.example:1"),
        ("", "unix:/run/a b/é.sock", "/echo/unix:%2Frun%2Fa%20b%2F%C3%A9.sock"),
    ],
)
def test_path_is_kitex_s(root: str, addr: str, path: str) -> None:
    """A record lies where Kitex looks, with brackets round IPv6; a unix path is one segment."""
    info = Info(service_name="echo", addr=addr)

    assert Paths(root).of(info) == path
    assert decode("echo", path.rpartition("/")[2], encode(info, OWNER)).info == info


@given(INFOS)
def test_decode_returns_what_was_encoded(info: Info) -> None:
    """Nothing is lost or changed on the way, for any Info."""
    segment = Paths("").of(info).rpartition("/")[2]

    record = decode("echo", segment, encode(info, OWNER))

    assert (record.info, record.owner) == (info, OWNER)


@pytest.mark.parametrize(
    "data, weight, tags",
    [
        (b'{"Weight":10,"Tags":null}', 10, {}),
        (b'{"Weight":0,"Tags":{"a":"b"}}', 0, {"a": "b"}),
        (b'{"weight":3,"TAGS":{"a":null}}', 3, {"a": ""}),
        (b'{"Tags":{},"other":[1]}', 0, {}),
    ],
)
def test_decode_reads_kitex_s_own(data: bytes, weight: int, tags: dict[str, str]) -> None:
    """Kitex's records are read as Go reads them, and belong to nobody that we know."""
    record = decode("echo", "10.0.0.1:80", data)

    assert record.info == Info(service_name="echo", addr="10.0.0.1:80", weight=weight, tags=tags)
    assert record.owner == ""


@pytest.mark.parametrize(
    "segment, data",
    [
        ("10.0.0.1:80", b""),
        ("10.0.0.1:80", b"null"),
        ("10.0.0.1:80", b"\xff"),
        ("10.0.0.1:80", b'{"Weight":10.0}'),
        ("10.0.0.1:80", b'{"Weight":"10"}'),
        ("10.0.0.1:80", b'{"Weight":-1}'),
        ("10.0.0.1:80", b'{"Tags":{"a":1}}'),
        ("10.0.0.1:80", b'{"enlist":[]}'),
        ("10.0.0.1", b'{"Weight":10}'),
        ("::1", b'{"Weight":10}'),
        ("1::2::3:80", b'{"Weight":10}'),
    ],
)
def test_decode_refuses_what_cannot_be_read(segment: str, data: bytes) -> None:
    """A record that Go could not read either is malformed, as is an address without a port."""
    with pytest.raises(MalformedRecordError):
        decode("echo", segment, data)


def test_decode_reads_an_ipv6_address_without_brackets() -> None:
    """Kitex's own node is called so, and its own reader fails on it."""
    record = decode("echo", "2001:db8::7:8888", b'{"Weight":10,"Tags":null}')

    assert str(record.info.addr) == "[2001:db8::7]:8888"


@given(st.binary(max_size=200), st.text(max_size=30))
def test_decode_fails_in_one_way_only(data: bytes, segment: str) -> None:
    """Whatever stands in a tree, reading it gives a record or is malformed."""
    with contextlib.suppress(MalformedRecordError):
        assert decode("echo", segment, data).info.service_name == "echo"


def test_owner_of_a_stranger_s_record_is_nobody() -> None:
    """Records of Kitex, and those that cannot be read, carry no owner."""
    mine = encode(Info(service_name="echo", addr="10.0.0.1:80"), OWNER)

    owners = [owner_of(data) for data in (mine, b'{"Weight":1}', b"", b"[]", b'{"enlist":1}')]

    assert owners == [OWNER, "", "", "", ""]


@pytest.mark.parametrize("segment", ["10.0.0.1:80", "[::1]:80", "h:1", "unix:%2Frun%2Fa.sock"])
def test_addresses_are_told_from_folders(segment: str) -> None:
    """What is called like an address is meant as a record."""
    assert is_address(segment)
    assert not is_address(segment.replace(":", ""))


@pytest.mark.parametrize(
    "name, told",
    [
        ("echo-\ue000", "U+E000"),
        ("echo-\uf8ff", "U+F8FF"),
        ("echo-\ufff0", "U+FFF0"),
        ("echo-\uffff", "U+FFFF"),
        ("echo-\U0001f388", "U+1F388"),
        ("zookeeper", "ZooKeeper's own node"),
    ],
)
def test_check_refuses_names_that_zookeeper_cannot_carry(name: str, told: str) -> None:
    """The error names the field and the limit."""
    info = Info(service_name=name, addr="10.0.0.1:80")

    with pytest.raises(InvalidInfoError, match=told.replace("+", r"\+")) as refused:
        check(info, root="", kitex_compatible=True)

    assert refused.value.field == "service_name"


def test_check_lets_the_system_s_name_pass_below_a_root() -> None:
    """Only at the top of the tree is there a node of that name."""
    check(Info(service_name="zookeeper", addr="10.0.0.1:80"), root="/a", kitex_compatible=True)


def test_check_refuses_unix_sockets_that_kitex_fails_on() -> None:
    """They are a declared limit, which an option lifts."""
    info = Info(service_name="echo", addr="unix:/run/echo.sock")

    with pytest.raises(InvalidInfoError, match="kitex_compatible=false") as refused:
        check(info, root="", kitex_compatible=True)
    check(info, root="", kitex_compatible=False)

    assert refused.value.field == "addr"


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=10))
def test_fault_in_never_fails(segment: str) -> None:
    """Any text is judged, and a fault is said in words."""
    assert fault_in(segment) is None or " " in str(fault_in(segment))


def test_encode_is_json_that_names_the_owner_once() -> None:
    """The added member is the only place that holds what Kitex does not store."""
    fields = json.loads(encode(Info(service_name="echo", addr="10.0.0.1:80"), OWNER))

    assert list(fields) == ["Weight", "Tags", "enlist"]
