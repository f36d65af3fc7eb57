"""What works with what, read from the project files and from what the tests start."""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from tests.interop.building import CONSUL, module_versions
from tests.servers.fetch import KINDS

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("core", "plugins/etcd", "plugins/zookeeper", "plugins/consul", "plugins/prometheus")
USED_WITH = {
    "eventlet": "refused, in a sentence",
    "fastapi": "uvicorn, hypercorn",
    "gevent": "refused, in a sentence",
    "grpcio": "servers and clients of gRPC",
    "grpcio-health-checking": "`health=True` of a gRPC server",
    "gunicorn": "WSGI servers",
    "httpx": "clients over HTTP",
    "hypercorn": "ASGI servers",
    "starlette": "uvicorn, hypercorn",
    "thriftpy2": "servers and clients of Thrift",
    "uvicorn": "ASGI servers",
    "waitress": "WSGI servers under `enlist run`",
}
_PYTHON = "Programming Language :: Python :: 3."

Table: TypeAlias = tuple[Sequence[str], Sequence[Sequence[str]]]


def project(package: str) -> Mapping[str, Any]:
    """Return the table ``project`` of a package's project file."""
    table: Mapping[str, Any] = _settings(package)["project"]
    return table


def _settings(folder: str) -> Mapping[str, Any]:
    return tomllib.loads((ROOT / folder / "pyproject.toml").read_text(encoding="utf-8"))


def packages() -> Table:
    """Return each package with its version, its Pythons and what it needs."""
    return ("package", "version", "CPython", "needs"), [_package_row(one) for one in PACKAGES]


def _package_row(package: str) -> Sequence[str]:
    table = project(package)
    pythons = [one.removeprefix(_PYTHON) for one in table["classifiers"] if one.startswith(_PYTHON)]
    needs = [f"`{one}`" for one in table["dependencies"]]
    for extra, more in table.get("optional-dependencies", {}).items():
        needs += [f"`{one}` (extra `{extra}`)" for one in more]
    listed = ", ".join(f"3.{minor}" for minor in pythons)
    return f"`{table['name']}`", table["version"], listed, ", ".join(needs)


def frameworks() -> Table:
    """Return what servers and clients are made with, by the lowest version in the tests."""
    group = map(str, _settings(".")["dependency-groups"]["test"])
    lowest = dict(one.split(">=") for one in group if ">=" in one)
    rows = [(f"`{name}`", lowest[name], use) for name, use in USED_WITH.items()]
    return ("package", "from version", "for"), rows


def servers() -> Table:
    """Return the server software that the tests start, by the version that they are made with."""
    rows = []
    for name, kind in KINDS.items():
        version = kind.packages[0].version.partition("-")[0].partition("+")[0]
        if name == "consul":
            version += f" and {module_versions(CONSUL)['github.com/hashicorp/consul']}"
        oldest = ".".join(map(str, kind.oldest)) if kind.version_arguments else "not looked for"
        rows.append((f"`{name}`", version, oldest))
    return ("server", "tested with", "oldest taken from PATH by the tests"), rows


TABLES: Mapping[str, Callable[[], Table]] = {
    "packages": packages,
    "frameworks": frameworks,
    "servers": servers,
}
