"""The interop table of docs/how-to/kitex.md, as a run of these tests measured it.

`python -m tests.interop.table` fails where the page shows another table than the last run
found; with `--write` it writes that table into the page.
"""

import json
import re
import sys
from pathlib import Path
from typing import Final

from tests.interop.building import CACHE, module_versions

MEASURED: Final = CACHE / "measured.json"
PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "kitex.md"
COLUMNS: Final = {"etcd": "etcd", "zookeeper": "ZooKeeper", "consul": "Consul"}
ROWS: Final = {
    "go-calls-python-thrift": "a Kitex client calls a Python server: Thrift, framed",
    "go-calls-python-grpc": "a Kitex client calls a Python server: gRPC",
    "python-calls-go-thrift": "a Python client calls a Kitex server: Thrift, framed",
    "python-calls-go-grpc": "a Python client calls a Kitex server: gRPC",
    "go-sees": "Kitex sees the weight and the tags of a Python server",
    "python-sees": "enlist sees the weight and the tags of a Kitex server",
    "mixed": "a service of both: each side finds both, Kitex calls them by their weights",
    "go-calls-python-ipv6": "a Kitex client calls a Python server on `[::1]`",
    "python-calls-go-ipv6": "a Python client calls a Kitex server on `[::1]`",
    "killed": "a Python server that dies by `kill -9` leaves Kitex's view",
    "left": "a Kitex server that stops leaves enlist's view",
    "weight-zero": "`weight=0` keeps Kitex's calls away from a Python server",
    "weight-zero-theirs": "enlist reads a weight of 0 that Kitex's plugin wrote",
    "null-tags": "enlist reads a Kitex record without tags",
    "wildcard": "Kitex's plugin publishes `0.0.0.0`, which nobody else can call",
    "colon-tag": "Kitex sees a Python server's tag whose key has a colon",
    "spoilt": "one unbracketed IPv6 record beside a good one",
}
_BEGIN: Final = "<!-- measured: begin -->"
_END: Final = "<!-- measured: end -->"
_PLUGINS: Final = ("kitex", "registry-etcd", "registry-zookeeper", "registry-consul")


def table(measured: dict[str, dict[str, str]]) -> str:
    """Return the table as Markdown, with the versions that it holds for.

    Raises:
        KeyError: If a cell was not measured.
    """
    rows = [("", *COLUMNS.values()), ("---",) * (len(COLUMNS) + 1)]
    rows += [(text, *(measured[row][column] for column in COLUMNS)) for row, text in ROWS.items()]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([f"{versions()}\n", *lines])


def versions() -> str:
    """Return what was measured, as a sentence, from what go.mod requires."""
    found = {name.rpartition("/")[2]: version for name, version in module_versions().items()}
    return f"Measured with {', '.join(f'{name} {found[name]}' for name in _PLUGINS)}."


def main(arguments: list[str]) -> int:
    """Compare the page with what was measured, or write it there."""
    found = table(json.loads(MEASURED.read_text(encoding="utf-8")))
    page = PAGE.read_text(encoding="utf-8")
    part = re.compile(f"{_BEGIN}.*{_END}", re.DOTALL)
    wanted = part.sub(lambda _: f"{_BEGIN}\n{found}\n{_END}", page)
    if wanted == page:
        sys.stdout.write(f"{PAGE.name} shows what was measured.\n")
        return 0
    if arguments == ["--write"]:
        PAGE.write_text(wanted, encoding="utf-8")
        sys.stdout.write(f"{PAGE.name} was rewritten.\n")
        return 0
    sys.stdout.write(
        f"{PAGE.name} shows another table than was measured, which is:\n\n{found}\n\n"
        "Write it there with `python3 noxfile.py -s interop -- --write-table`.\n"
    )
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
