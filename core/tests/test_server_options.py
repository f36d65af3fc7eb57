"""ServerOptions, and how they become the Info that is published."""

from __future__ import annotations

import copy
import datetime as dt
import pickle
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from enlist.address import Address
from enlist.errors import InvalidInfoError, InvalidOptionError
from enlist.info import Info
from enlist.serving.server_options import (
    EndpointBasicInfo,
    ServerOptions,
    Settings,
    as_options,
    build_info,
)

NOW = dt.datetime(2026, 5, 17, 12, 30, tzinfo=dt.UTC)
EARLIER = NOW - dt.timedelta(hours=1)
LISTEN = Address.parse("10.0.0.1:8888")
ECHO = EndpointBasicInfo(service_name="echo", tags={"zone": "a"})


def built(registry_info: Info | None, basic_info: EndpointBasicInfo | None = ECHO) -> Info:
    options = ServerOptions(basic_info=basic_info, registry_info=registry_info)
    return build_info(options, LISTEN, "thrift", NOW)


# What Kitex's server makes of the same options, field by field; where it differs, why.
KITEX_CASES = [
    ("no registry_info is an empty one", None, "service_name", "echo"),
    ("a service name that is given stays", Info(service_name="other"), "service_name", "other"),
    ("the listen address is published", None, "addr", LISTEN),
    ("the listen address replaces addr", Info(addr="1.2.3.4:5"), "addr", LISTEN),
    (
        "skip_listen_addr keeps addr",
        Info(addr="1.2.3.4:5", skip_listen_addr=True),
        "addr",
        Address.parse("1.2.3.4:5"),
    ),
    ("the codec is that of the kind of server", None, "payload_codec", "thrift"),
    ("a codec that is given stays", Info(payload_codec="Hessian2"), "payload_codec", "hessian2"),
    ("the default weight is 10", None, "weight", 10),
    ("a weight that is given stays", Info(weight=30), "weight", 30),
    ("weight 0 stays 0, where Kitex makes it 10", Info(weight=0), "weight", 0),
    ("tags None come from basic_info", Info(weight=1), "tags", {"zone": "a"}),
    ("tags are not merged", Info(tags={"x": "y"}), "tags", {"x": "y"}),
    ("no tags at all are tags that are given", Info(tags={}), "tags", {}),
    ("nothing sets a start time", None, "start_time", None),
    (
        "a warm-up without a start time starts now",
        Info(warm_up=dt.timedelta(seconds=30)),
        "start_time",
        NOW,
    ),
    (
        "a start time that is given stays",
        Info(warm_up=dt.timedelta(seconds=30), start_time=EARLIER),
        "start_time",
        EARLIER,
    ),
    (
        "the warm-up stays",
        Info(warm_up=dt.timedelta(minutes=1)),
        "warm_up",
        dt.timedelta(minutes=1),
    ),
]


@pytest.mark.parametrize(
    "registry_info,field,expected", [pytest.param(*case[1:], id=case[0]) for case in KITEX_CASES]
)
def test_build_info_follows_kitex(registry_info: Info | None, field: str, expected: object) -> None:
    """Each field comes from where Kitex's server takes it."""
    assert getattr(built(registry_info), field) == expected


def test_build_info_is_pure() -> None:
    """The same options give the same Info, and are left as they were."""
    options = ServerOptions(basic_info=ECHO, registry_info=Info(weight=3, tags={"a": "b"}))
    before = copy.copy(options)

    first, second = (build_info(options, LISTEN, "thrift", NOW) for _ in range(2))

    assert first == second
    assert options == before


def test_build_info_without_service_name_is_refused_at_once() -> None:
    """A missing service name is an error that says where to give it, not one a second later."""
    with pytest.raises(InvalidInfoError, match=r"service_name.*basic_info"):
        built(None, basic_info=None)


def test_build_info_with_skip_listen_addr_and_no_addr_is_refused() -> None:
    """Skipping the listen address without another one is refused, not published as nothing."""
    with pytest.raises(InvalidInfoError, match=r"addr=None.*skip_listen_addr"):
        built(Info(skip_listen_addr=True))


def test_build_info_with_unspecified_address_is_refused() -> None:
    """0.0.0.0 is never published, whichever way it came in."""
    options = ServerOptions(basic_info=ECHO)
    with pytest.raises(InvalidInfoError, match=r"addr\.host='0\.0\.0\.0'"):
        build_info(options, Address.parse("0.0.0.0:8888"), "thrift", NOW)


def test_build_info_needs_no_listen_address_that_is_skipped() -> None:
    """With skip_listen_addr there may be no listen address that could be published."""
    options = ServerOptions(
        basic_info=ECHO, registry_info=Info(addr="[fd00::1]:80", skip_listen_addr=True)
    )
    assert build_info(options, None, "", NOW).addr == Address.parse("[fd00::1]:80")


@pytest.mark.parametrize(
    "field,value",
    [
        ("basic_info", "echo"),
        ("registry_info", {"weight": 3}),
        ("advertise", ""),
        ("advertise", 8888),
        ("ready_timeout", dt.timedelta(0)),
        ("ready_timeout", 30),
        ("drain", dt.timedelta(seconds=-1)),
        ("drain", 6.0),
        ("grace", dt.timedelta(days=2)),
        ("timeout", dt.timedelta(0)),
        ("on_unavailable", "ignore"),
        ("extensions", "enlist_prometheus"),
        ("extensions", 3),
    ],
)
def test_server_options_refuse_naming_the_field(field: str, value: object) -> None:
    """A wrong option is refused when it is given, in its own name."""
    wrong: dict[str, Any] = {field: value}
    with pytest.raises(InvalidOptionError) as caught:
        ServerOptions(**wrong)
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field}=")


def test_server_options_refuse_advertise_with_skip_listen_addr() -> None:
    """Two ways to say the address at once are a mistake that is told."""
    with pytest.raises(InvalidOptionError, match=r"advertise='10\.0\.0\.1'.*skip_listen_addr"):
        ServerOptions(
            advertise="10.0.0.1", registry_info=Info(addr="1.2.3.4:5", skip_listen_addr=True)
        )


def test_server_options_allow_no_drain() -> None:
    """Zero is a wait like another: tests and batch jobs leave at once."""
    assert ServerOptions(drain=dt.timedelta(0), grace=dt.timedelta(0)).drain == dt.timedelta(0)


@pytest.mark.parametrize(
    "wrong,field", [({"service_name": "a/b"}, "service_name"), ({"tags": {"": "x"}}, "tags")]
)
def test_basic_info_refuses_by_the_rules_of_info(wrong: dict[str, Any], field: str) -> None:
    """What would be refused in an Info is refused here already."""
    with pytest.raises(InvalidInfoError) as caught:
        EndpointBasicInfo(**wrong)
    assert caught.value.field == field


def test_basic_info_is_a_value() -> None:
    """It cannot be changed, not through its tags either, and survives pickling and hashing."""
    tags = {"zone": "a"}
    basic = EndpointBasicInfo(service_name="echo", tags=tags)
    tags["zone"] = "b"

    with pytest.raises(FrozenInstanceError):
        basic.service_name = "other"  # type: ignore[misc]  # refused by the checker as well

    assert basic.tags == {"zone": "a"}
    assert pickle.loads(pickle.dumps(basic)) == basic  # noqa: S301 - made on this very line
    assert hash(basic) == hash(EndpointBasicInfo(service_name="echo", tags={"zone": "a"}))


def test_as_options_takes_a_service_name() -> None:
    """A name and keywords are options."""
    options = as_options("echo", tags={"zone": "a"}, registry="etcd", drain=dt.timedelta(0))

    assert options == ServerOptions(
        basic_info=EndpointBasicInfo(service_name="echo", tags={"zone": "a"}),
        registry="etcd",
        drain=dt.timedelta(0),
    )


def test_as_options_lets_keywords_win() -> None:
    """What is given beside the options replaces it in them, and nothing else."""
    given = ServerOptions(basic_info=ECHO, registry="etcd", timeout=dt.timedelta(seconds=9))

    options = as_options(given, registry="consul", tags=None)

    assert (options.registry, options.timeout) == ("consul", dt.timedelta(seconds=9))
    assert options.basic_info == EndpointBasicInfo(service_name="echo")


def test_as_options_leaves_options_alone() -> None:
    """Options without keywords are those very options."""
    given = ServerOptions(basic_info=ECHO)
    assert as_options(given) == given


def test_as_options_refuses_an_unknown_keyword() -> None:
    """A misspelt option is told, with those that there are."""
    wrong: Any = {"drian": dt.timedelta(0)}
    with pytest.raises(InvalidOptionError, match=r"drian=.*there are:.*drain"):
        as_options("echo", **wrong)


@pytest.mark.parametrize("server", [None, 8888, Info(service_name="echo")])
def test_as_options_refuses_what_is_neither_name_nor_options(server: object) -> None:
    """Only a name or options say what a server is."""
    wrong: Any = server
    with pytest.raises(InvalidOptionError, match=r"^server="):
        as_options(wrong)


def test_settings_are_the_fields_of_server_options() -> None:
    """Every option can be given by keyword: the two lists cannot drift apart."""
    assert set(Settings.__annotations__) == {each.name for each in fields(ServerOptions)} | {"tags"}
