import datetime as dt
import json
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enlist.address import Address
from enlist.errors import InvalidInfoError
from enlist.info import Info, check_complete
from enlist.records import MalformedRecordError
from enlist_etcd.records import Keys, decode, encode, owner_of

OWNER = "0123456789abcdef0123456789abcdef"
OWNED = b'"enlist":{"v":1,"owner":"0123456789abcdef0123456789abcdef"}}'
KEYS = Keys("kitex/registry-etcd")
START = dt.datetime(2023, 11, 14, 22, 13, 20, 5_000, tzinfo=dt.UTC)


def text(most: int) -> st.SearchStrategy[str]:
    return st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=most)


def infos() -> st.SearchStrategy[Info]:
    """Complete Infos of every kind."""
    hosts = st.one_of(
        st.ip_addresses(v=4).map(str),
        st.ip_addresses(v=6).map(str),
        st.sampled_from(["echo.example", "a-b_c.d", "fe80::1%eth0"]),
    )
    addresses = st.one_of(
        st.builds(Address.tcp, hosts, st.integers(1, 65_535)),
        text(30).map(lambda path: Address.unix(f"/{path}")),
    )
    names = (
        text(60).map(str.strip).filter(lambda name: name not in {"", ".", ".."} and "/" not in name)
    )
    times = st.datetimes(
        dt.datetime(1, 1, 2),  # noqa: DTZ001 - hypothesis wants its bounds without a time zone
        dt.datetime(9999, 12, 30),  # noqa: DTZ001 - as above
        timezones=st.just(dt.UTC),
    )
    return st.builds(
        Info,
        service_name=names,
        addr=addresses,
        payload_codec=text(15),
        weight=st.integers(0, 65_535),
        start_time=st.none() | times,
        warm_up=st.timedeltas(dt.timedelta(0), dt.timedelta(days=365)),
        tags=st.none()
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
            text(40),
            max_size=5,
        ),
    ).filter(_is_complete)


def _is_complete(info: Info) -> bool:
    try:
        check_complete(info)
    except InvalidInfoError:
        return False
    return True


def read_back(info: Info) -> Info:
    parts = KEYS.split(KEYS.of(info))
    assert parts is not None
    return decode(*parts, encode(info, OWNER)).info


@given(infos())
def test_decode_gives_back_every_complete_info(info: Info) -> None:
    """Whatever can be published comes back equal."""
    assert read_back(info) == info


@given(infos())
def test_key_of_an_info_is_one_segment_below_its_service(info: Info) -> None:
    """No service's keys lie among another's, whatever is in its name or address."""
    key = KEYS.of(info)
    folder = KEYS.folder(info.service_name)
    assert key.startswith(folder)
    assert b"/" not in key.removeprefix(folder)


@pytest.mark.parametrize(
    "info, key, value",
    [
        (
            Info(service_name="echo", addr="10.0.0.1:8888"),
            b"kitex/registry-etcd/echo/10.0.0.1:8888",
            b'{"network":"tcp","address":"10.0.0.1:8888","weight":10,"tags":null,' + OWNED,
        ),
        (
            Info(
                service_name="grüße",
                addr="[2001:db8::1]:443",
                payload_codec="Thrift",
                weight=0,
                start_time=START,
                warm_up=dt.timedelta(seconds=30),
                tags={"zone": "<ß&\u2028>", "a": ""},
            ),
            "kitex/registry-etcd/grüße/[2001:db8::1]:443".encode(),
            '{"network":"tcp","address":"[2001:db8::1]:443","weight":0,"tags":{"a":"","zone":"\\u003cß\\u0026\\u2028\\u003e"},'
            '"enlist":{"v":1,"owner":"0123456789abcdef0123456789abcdef","codec":"thrift",'
            '"start_ms":1700000000005,"warm_up_ms":30000}}'.encode(),
        ),
        (
            Info(service_name="echo", addr="unix:/run/a b%.sock", tags={}),
            b"kitex/registry-etcd/echo/unix:%2Frun%2Fa%20b%25.sock",
            b'{"network":"unix","address":"/run/a b%.sock","weight":10,"tags":{},' + OWNED,
        ),
    ],
    ids=["plain", "everything", "unix"],
)
def test_encode_gives_the_golden_bytes(info: Info, key: bytes, value: bytes) -> None:
    """What is in registries today does not change unnoticed."""
    assert KEYS.of(info) == key
    assert encode(info, OWNER) == value
    assert owner_of(value) == OWNER
    assert read_back(info) == info


def test_prefix_may_be_empty_as_in_older_versions_of_kitexs_plugin() -> None:
    """Keys then begin with a slash."""
    keys = Keys("")
    assert keys.of(Info(service_name="echo", addr="10.0.0.1:1")) == b"/echo/10.0.0.1:1"
    assert keys.split(b"/echo/10.0.0.1:1") == ("echo", "10.0.0.1:1")


def kitex(**changes: object) -> bytes:
    """Return a record as Kitex writes it, with changes; None removes a field."""
    fields = {"network": "tcp", "address": "10.0.0.1:8888", "weight": 10, "tags": None, **changes}
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    "value, weight, tags",
    [
        (kitex(), 10, {}),
        (kitex(weight=0), 0, {}),
        (kitex(tags={"a": "b"}), 10, {"a": "b"}),
        (kitex(tags={"a": None}), 10, {"a": ""}),
        (kitex(further={"x": 1}), 10, {}),
        (kitex(addreß="10.0.0.2:80"), 10, {}),
        (b'{"address":"10.0.0.1:8888"}', 10, {}),
        (b'{"NETWORK":"tcp","Address":"10.0.0.1:8888","wEight":7,"TAGS":{"a":"b"}}', 7, {"a": "b"}),
        (b' {"weight":3,"address":"10.0.0.1:8888","Weight":4}\n', 4, {}),
    ],
    ids=[
        "plain",
        "weight 0",
        "tags",
        "null tag",
        "unknown",
        "not the same letters",
        "missing",
        "case",
        "twice",
    ],
)
def test_decode_reads_what_go_reads(value: bytes, weight: int, tags: dict[str, str]) -> None:
    """Kitex's own records are understood as a Go reader understands them, and have no owner."""
    record = decode("echo", "10.0.0.1:8888", value)
    assert record.info == Info(service_name="echo", addr="10.0.0.1:8888", weight=weight, tags=tags)
    assert record.owner == owner_of(value) == ""


@pytest.mark.parametrize(
    "value, reason",
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[]", "not a JSON object"),
        (kitex(weight=10.0), "'weight' is not a whole number"),
        (kitex(weight="10"), "'weight' is not a whole number"),
        (kitex(weight=True), "'weight' is not a whole number"),
        (kitex(weight=-1), "weight=-1"),
        (kitex(tags={"a": 1}), "must be text"),
        (kitex(tags=[]), "'tags' is not an object"),
        (kitex(address="10.0.0.2:8888"), "10.0.0.2:8888 is another than its key's"),
        (kitex(address=""), "addr=''"),
        (kitex(network="unix", address="/run/a"), "another than its key's"),
        (kitex(address="unix:/run/a"), "not of its network"),
        (kitex(network="udp"), "neither 'tcp' nor 'unix'"),
        (kitex(enlist=7), "'enlist' is not an object"),
        (kitex(enlist={"owner": 7}), "'owner' is not text"),
        (kitex(enlist={"start_ms": 10**30}), "out of range"),
    ],
)
def test_decode_refuses_what_cannot_be_right(value: bytes, reason: str) -> None:
    """A record that nobody should call is malformed, and the reason is told."""
    with pytest.raises(MalformedRecordError, match=reason):
        decode("echo", "10.0.0.1:8888", value)


@pytest.mark.parametrize(
    "segment",
    ["10.0.0.1", "::1", "1::2::3:80", "[::1]", "unix:", "unix:%2", "unix:%FF", "unix:run", "%", ""],
)
def test_decode_refuses_a_key_that_is_no_address(segment: str) -> None:
    """Other people's keys among ours are malformed records, not exceptions."""
    with pytest.raises(MalformedRecordError):
        decode("echo", segment, kitex())


@given(
    st.text(max_size=30),
    st.binary(max_size=60)
    | st.dictionaries(
        st.sampled_from(["network", "Address", "weight", "tags", "enlist", "other"]),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats()
            | st.text()
            | st.sampled_from(["tcp", "unix", "10.0.0.1:8888", "/run/a"]),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner),
            max_leaves=5,
        ),
    ).map(lambda fields: json.dumps(fields).encode()),
)
def test_decode_of_anything_is_a_record_or_malformed(segment: str, value: bytes) -> None:
    """Whatever others write, nothing but MalformedRecordError leaves decode."""
    try:
        record = decode("echo", segment, value)
    except MalformedRecordError:
        return
    assert decode("echo", segment, encode(record.info, OWNER)).info == record.info


def test_decode_takes_any_spelling_of_the_same_address() -> None:
    """An address in a key that is only spelled otherwise does not disagree."""
    record = decode("echo", "[0:0::1]:80", kitex(address="[::1]:80"))
    assert str(record.info.addr) == "[::1]:80"


def test_decode_reads_an_ipv6_address_without_brackets() -> None:
    """Kitex joins host and port without brackets, in the key and in the value."""
    record = decode("echo", "2001:db8::7:8888", kitex(address="2001:db8::7:8888"))
    assert str(record.info.addr) == "[2001:db8::7]:8888"


@pytest.mark.parametrize(
    "key",
    [
        b"kitex/registry-etcd/echo",
        b"kitex/registry-etcd/echo/x/10.0.0.1:80",
        b"kitex/registry-etcd/echo/10.0.0.1:80/",
        b"kitex/registry-etcd//10.0.0.1:80",
        b"kitex/registry-etcd/\xff/10.0.0.1:80",
    ],
)
def test_split_leaves_other_peoples_keys_alone(key: bytes) -> None:
    """A key with fewer or more segments, or no name of a service, is somebody else's (V6)."""
    assert KEYS.split(key) is None


def test_split_shows_a_key_that_is_not_text() -> None:
    """A key need not be UTF-8; it can still be named in a warning."""
    assert KEYS.split(b"kitex/registry-etcd/echo/\xff:1") == ("echo", "\\xff:1")


@pytest.mark.parametrize("value", [b"", b"{}", b'{"enlist":null}', b'{"enlist":{"owner":1}}'])
def test_owner_of_a_record_without_one_is_empty(value: bytes) -> None:
    """Kitex's records and broken ones count as another's, never as ours."""
    assert owner_of(value) == ""


def test_unix_path_in_a_key_is_read_back_in_full() -> None:
    """Nothing of a path is lost to the percent-encoding."""
    path = str(PurePosixPath("/run") / "100%25" / "ä?#.sock")
    info = Info(service_name="echo", addr=Address.unix(path))
    assert read_back(info) == info
