import base64
import datetime as dt
import json
from collections.abc import Mapping
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enlist.address import Address
from enlist.info import Info
from enlist.records import MalformedRecordError
from enlist_consul.options import ConsulOptions
from enlist_consul.records import (
    check_id,
    decode,
    encode,
    entry_of,
    is_dead,
    is_live,
    owner_of,
    service_id,
)

OWNER = "0123456789abcdef0123456789abcdef"
DEFAULTS = ConsulOptions()
INFO = Info(
    service_name="echo",
    addr="10.0.0.1:8888",
    payload_codec="thrift",
    weight=20,
    start_time=dt.datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=dt.UTC),
    warm_up=dt.timedelta(seconds=30),
    tags={"zone": "a:1", "x:y": "z"},
)
BLOB = (
    b'{"v":1,"owner":"0123456789abcdef0123456789abcdef","codec":"thrift",'
    b'"start_ms":1767323045678,"warm_up_ms":30000,"tags":{"x:y":"z"}}'
)


def read_back(body: Mapping[str, Any]) -> Info:
    """Decode what is registered, as the catalogue gives it back."""
    service = {**body, "Service": body["Name"]}
    return decode(entry_of(service, body["Checks"], "192.0.2.1")).info


def test_body_is_kitex_own_with_one_tag_more() -> None:
    """The bytes that are sent are these and stay these: Kitex and older versions read them."""
    blob = "enlist." + base64.urlsafe_b64encode(BLOB).decode().rstrip("=")
    assert json.dumps(encode(INFO, OWNER, DEFAULTS)) == json.dumps(
        {
            "ID": "echo:10.0.0.1:8888",
            "Name": "echo",
            "Address": "10.0.0.1",
            "Port": 8888,
            "Tags": ["zone:a:1", blob],
            "Meta": {"enlist_owner": OWNER},
            "Weights": {"Passing": 20, "Warning": 20},
            "Checks": [
                {
                    "CheckID": f"enlist:{OWNER}:echo:10.0.0.1:8888",
                    "Name": "enlist",
                    "TTL": "15s",
                    "Status": "passing",
                    "DeregisterCriticalServiceAfter": "60s",
                }
            ],
        }
    )


def test_weight_0_is_kept_from_whoever_asks_for_passing_instances() -> None:
    """It begins in the state warning, where its weight is 0."""
    idle = Info(service_name="echo", addr="10.0.0.1:8888", weight=0)
    body: Any = encode(idle, OWNER, DEFAULTS)
    assert body["Weights"] == {"Passing": 1, "Warning": 0}
    (check,) = body["Checks"]
    assert check["Status"] == "warning"
    assert check["CheckID"] == f"enlist:{OWNER}:echo:10.0.0.1:8888#idle"
    assert read_back(body).weight == 0


@pytest.mark.parametrize(
    "check, wanted",
    [
        ("tcp", {"TCP": "[::1]:80"}),
        ("http", {"HTTP": "http://[::1]:80/live"}),
        ("https", {"HTTP": "https://[::1]:80/live"}),
        ("grpc", {"GRPC": "[::1]:80/echo.Echo"}),
    ],
)
def test_check_by_the_agent_comes_beside_our_own(
    check: Literal["tcp", "http", "https", "grpc"], wanted: dict[str, str]
) -> None:
    """The sign of life stays, so that an owner and its death are known with every check."""
    options = ConsulOptions(check=check, check_path="/live", check_service="echo.Echo")
    body: Any = encode(Info(service_name="echo", addr="[::1]:80"), OWNER, options)
    ours, theirs = body["Checks"]
    assert ours["TTL"] == "15s"
    assert theirs == {
        "CheckID": f"enlist-{check}:{OWNER}:echo:[::1]:80",
        "Name": f"enlist {check}",
        **wanted,
        "Interval": "10s",
        "Timeout": "5s",
        "Status": "passing",
    }


def test_names_that_differ_in_case_have_ids_that_differ_in_more() -> None:
    """Consul's catalogue takes IDs that differ in case alone for one."""
    ids = [
        service_id(Info(service_name=name, addr="10.0.0.1:80")) for name in ("echo", "Echo", "ECHO")
    ]
    assert ids[0] == "echo:10.0.0.1:80"
    assert len({one.lower() for one in ids}) == len(ids)


def test_ids_tell_a_name_from_an_ipv6_address() -> None:
    """What looks alike without brackets is two services."""
    one = Info(service_name="x:a", addr="[b::1]:80")
    other = Info(service_name="x", addr="[a:b::1]:80")
    assert service_id(one) != service_id(other)


def test_check_id_names_its_owner() -> None:
    """Whoever takes over brings another check, so that the older owner's beat meets none."""
    assert check_id(INFO, OWNER) == f"enlist:{OWNER}:echo:10.0.0.1:8888"


def test_service_of_kitex_is_read() -> None:
    """A record of registry-consul has no Meta, and weights like ours."""
    service = {
        "ID": "echo:10.0.0.1:8888",
        "Service": "echo",
        "Address": "10.0.0.1",
        "Port": 8888,
        "Tags": ["zone:a:b", "bare"],
        "Weights": {"Passing": 7, "Warning": 7},
        "Meta": None,
    }
    record = decode(entry_of(service, [{"Status": "passing"}], "192.0.2.1"))
    wanted = Info(service_name="echo", addr="10.0.0.1:8888", weight=7, tags={"zone": "a:b"})
    assert (record.info, record.owner) == (wanted, "")


def test_service_without_an_address_is_at_its_node() -> None:
    """Consul's own way to say "on this machine", which Kitex's reader passes over."""
    service = {"Service": "db", "Address": "", "Port": 5432, "Tags": None, "Weights": None}
    record = decode(entry_of(service, [], "192.0.2.7"))
    assert record.info == Info(service_name="db", addr="192.0.2.7:5432", weight=1)


def test_service_in_the_state_warning_has_its_warning_weight() -> None:
    """As Consul's own DNS counts it."""
    service = {
        "Service": "db",
        "Address": "10.0.0.1",
        "Port": 1,
        "Weights": {"Passing": 9, "Warning": 2},
    }
    checks = [{"Status": "passing"}, {"Status": "warning"}]
    assert decode(entry_of(service, checks)).info.weight == 2


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"Port": 0}, "addr.port=0"),
        ({"Address": "not a host"}, "addr.host"),
        ({"Tags": ["enlist.?"]}, "not base64"),
        ({"Tags": ["enlist.e30x"]}, "not JSON"),
        ({"Tags": ["enlist." + base64.b64encode(b'{"codec":1}').decode()]}, "'codec' is not text"),
        ({"Tags": ["enlist." + base64.b64encode(b'{"tags":1}').decode()]}, "'tags' is not"),
        ({"Weights": {"Passing": 70_000}}, "weight"),
    ],
)
def test_malformed_service_says_why(changed: dict[str, object], message: str) -> None:
    """The warning that names it is of use."""
    service = {"Service": "db", "Address": "10.0.0.1", "Port": 1, **changed}
    with pytest.raises(MalformedRecordError, match=message):
        decode(entry_of(service))


def test_member_that_a_later_version_adds_is_passed_over() -> None:
    """Fields that are not known today spoil nothing."""
    blob = base64.urlsafe_b64encode(b'{"v":2,"owner":"x","new":[1],"codec":"thrift"}').decode()
    service = {"Service": "db", "Address": "10.0.0.1", "Port": 1, "Tags": [f"enlist.{blob}"]}
    assert decode(entry_of(service)).info.payload_codec == "thrift"


@pytest.mark.parametrize("meta", [None, {}, {"enlist_owner": ""}, {"other": "x"}])
def test_owner_of_other_services_is_nobody(meta: object) -> None:
    """What does not say that it is ours is not."""
    assert owner_of({"Meta": meta}) == ""


def test_own_record_lives_by_its_sign_of_life_alone() -> None:
    """A port that cannot be called hides an instance, and does not give it to another owner."""
    sign = {"CheckID": f"enlist:{OWNER}:echo:1", "Status": "passing"}
    call = {"CheckID": f"enlist-tcp:{OWNER}:echo:1", "Status": "critical"}
    assert is_live([sign, call])
    assert not is_live([{**sign, "Status": "critical"}, {**call, "Status": "passing"}])
    assert not is_live([{"CheckID": "service:echo", "Status": "critical"}])
    assert is_live([])


SIGN = f"enlist:{OWNER}:echo:1"
CALL = f"enlist-tcp:{OWNER}:echo:1"
LEFT = "enlist:99999999999999999999999999999999:echo:1"


@pytest.mark.parametrize(
    "owner, outputs, dead",
    [
        (OWNER, {SIGN: "TTL expired"}, True),
        (OWNER, {SIGN: ""}, False),  # of an agent that has just been started
        (OWNER, {CALL: "connection refused"}, True),  # somebody has removed its sign of life
        (OWNER, {LEFT: "TTL expired", "service:echo": "connection refused"}, False),
        ("", {"service:echo": "connection refused"}, True),
        ("", {"service:echo": ""}, False),  # it was not called yet
        ("", {LEFT: "TTL expired"}, False),
        ("", {}, False),
    ],
)
def test_who_has_a_record_is_dead_by_own_checks_alone(
    owner: str, outputs: Mapping[str, str], *, dead: bool
) -> None:
    """Neither what an earlier owner has left there counts, nor what nobody has looked at yet."""
    checks = [
        {"CheckID": check, "Status": "critical", "Output": output}
        for check, output in outputs.items()
    ]
    assert is_dead({"Meta": {"enlist_owner": owner}}, checks) is dead
    assert not is_dead(
        {"Meta": {"enlist_owner": owner}}, [{**one, "Status": "passing"} for one in checks]
    )


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
keys = texts.filter(bool)


names = (
    st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1)
    .map(str.strip)
    .filter(lambda name: name not in {"", ".", ".."} and len(name.encode()) <= 255)
)
addresses = st.builds(
    Address.tcp,
    st.ip_addresses()
    .filter(lambda ip: not (ip.is_unspecified or ip.is_multicast or ip.is_link_local))
    .map(str),
    st.integers(1, 65_535),
)
infos = st.builds(
    Info,
    service_name=names,
    addr=addresses,
    weight=st.integers(0, 65_535),
    tags=st.none() | st.dictionaries(keys, texts, max_size=10),
    payload_codec=st.sampled_from(["", "thrift", "Protobuf", "é"]),
    start_time=st.none() | st.datetimes(timezones=st.just(dt.UTC)),
    warm_up=st.timedeltas(dt.timedelta(0), dt.timedelta(days=365)),
)


@given(info=infos)
def test_every_info_comes_back_equal(info: Info) -> None:
    """Nothing that an Info says is lost or changed, and JSON can carry it."""
    assert read_back(json.loads(json.dumps(encode(info, OWNER, DEFAULTS)))) == info
