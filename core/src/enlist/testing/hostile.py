"""Infos that real plugins have lost, changed or refused: every field at its edges."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from enlist.info import Info

__all__ = ["ALIKE", "CASES", "Hostile", "longest_name"]

_MOST_NAME_BYTES: Final = 255
_UTC: Final = dt.UTC


@dataclass(frozen=True, slots=True)
class Hostile:
    """One difficult Info.

    Attributes:
        id: what the test is called.
        ending: what the service name ends with, after what makes it unique.
        fields: the other fields.
    """

    id: str
    ending: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)

    def info(self, plain: Info) -> Info:
        """Return it, made of one that is plain and whose name has the ending already."""
        return replace(plain, **self.fields)


def _names() -> list[Hostile]:
    endings = {
        "latin": "-Grüße",
        "cjk": "-注册中心",
        "right-to-left": "-שלום-مرحبا",
        "beyond-bmp": "-🎈\U0001d518",
        "combining": "-e\u0301",
        "composed": "-\u00e9",
        "private-use": "-\ue000",
        "percent": "-%2F-%-%25-%00",
        "colon": "-a:b::c",
        "dots": "-..a...b.",
        "space": "- a  b",
        "no-break-space": "-a\u00a0b",
        "query": "-?a=b&c#d",
        "quotes": "-'a'\"b\"`",
        "backslash": "-\\a\\n",
        "brackets": "-[a]{b}(c)<d>",
        "wildcards": "-*a$^|+~!",
        "at-comma-semicolon": "-@a,b;c",
        "upper-case": "-ABC",
    }
    return [Hostile(f"name-{name}", ending) for name, ending in endings.items()]


def _tags() -> list[Hostile]:
    tags = {
        "none": {},
        "empty-value": {"a": ""},
        "blank": {" ": "  ", "\t": "\t"},
        "colon": {"a:b": "c:d", "a": "b:c:d", ":": ":"},
        "separators": {"a=b": "c;d", "e,f": "g|h", "i/j": "k\\l", "m&n": "o?p#q"},
        "percent": {"%": "%%", "%2F": "%00", "a%20b": "100%"},
        "quotes": {'"': '\\"', "'": "''", "`": "${a}"},
        "json": {'{"a":1}': '["b",null]'},
        "line-breaks": {"a\nb": "c\r\nd\n", "e": "\u2028\u2029\x85"},
        "controls": {"a\x01b": "\x00\x01\x1f\x7f", "\x00": "z"},
        "unicode": {"schlüssel": "größe", "鍵": "値", "ключ": "🎈\U0001d518"},
        "right-to-left": {"שלום": "مرحبا", "\u202e": "\u200f"},
        "combining": {"e\u0301": "decomposed", "\u00e9": "composed"},
        "not-characters": {"\uffff": "\ufffe", "\ue000": "\ufeff"},
        "case": {"Zone": "A", "zone": "a", "ZONE": "Ａ"},  # noqa: RUF001 - a full-width letter
        "reserved": {"enlist": "1", "owner": "me", "weight": "x", "ID": "y", "addr": "z"},
        "number-like": {"1": "01", "true": "null", "1e3": "1.0"},
        "longest-key": {"k" * 128: "v"},
        "longest-value": {"k": "v" * 1_024},
        "longest-value-in-utf-8": {"k": "é" * 512},
        "most": {f"key-{number}": f"value-{number}" for number in range(64)},
        "largest": {f"{number}": "v" * 1_023 for number in range(8)},
    }
    return [Hostile(f"tags-{name}", fields={"tags": pairs}) for name, pairs in tags.items()]


def _others() -> list[Hostile]:
    fields: dict[str, dict[str, Any]] = {
        "addr-ipv6": {"addr": "[2001:db8::1]:443"},
        "addr-ipv6-zone": {"addr": "[fe80::1%eth0]:8888"},
        "addr-host-name": {"addr": "echo_1.internal.example:65535"},
        "addr-port-1": {"addr": "10.1.2.3:1"},
        "addr-unix": {"addr": "unix:/run/echo.sock"},
        "addr-unix-odd": {"addr": "unix:/run/a b/%2F:é.sock"},
        "weight-0": {"weight": 0},
        "weight-1": {"weight": 1},
        "weight-65535": {"weight": 65_535},
        "codec": {"payload_codec": "protobuf"},
        "codec-odd": {"payload_codec": "grpc+proto; v=1 é"},
        "start-now": {"start_time": dt.datetime(2026, 2, 28, 23, 59, 59, 999_000, tzinfo=_UTC)},
        "start-epoch": {"start_time": dt.datetime(1970, 1, 1, tzinfo=_UTC)},
        "start-before-epoch": {"start_time": dt.datetime(1969, 12, 31, 23, 59, 59, tzinfo=_UTC)},
        "start-first": {"start_time": dt.datetime(1, 1, 1, 0, 0, 0, 1_000, tzinfo=_UTC)},
        "start-last": {"start_time": dt.datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=_UTC)},
        "warm-up-1-ms": {"warm_up": dt.timedelta(milliseconds=1)},
        "warm-up-365-days": {"warm_up": dt.timedelta(days=365)},
        "everything": {
            "payload_codec": "thrift",
            "weight": 1,
            "start_time": dt.datetime(2026, 1, 1, tzinfo=_UTC),
            "warm_up": dt.timedelta(seconds=90),
            "tags": {"zone": "eu:1", "a/b": "c%d"},
        },
    }
    return [Hostile(name, fields=values) for name, values in fields.items()]


def longest_name(prefix: str) -> str:
    """Return a service name as long as names may be, which begins with ``prefix``."""
    return prefix + "n" * (_MOST_NAME_BYTES - len(prefix.encode()))


CASES: Final = (*_names(), *_tags(), *_others())
"""Every difficult Info."""

ALIKE: Final = (
    ("-a b", "-a+b", "-a%20b", "-a_b", "-a-b", "-a.b"),
    ("-x", "-X", "-x.", "-x-", "-x:x", "-x%3Ax", "-x%3ax"),
    ("-\u00e9", "-e\u0301", "-%C3%A9", "-%c3%a9", "-e"),
    ("-%", "-%25", "-%2525", "-\\", "-%5C", "-%2F"),
)
"""Endings of names that a careless encoding makes one; each group is registered together."""
