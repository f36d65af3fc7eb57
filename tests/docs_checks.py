"""Proves the blocks of pages that a test cannot run: installations, manifests, units."""

import ast
import configparser
import importlib
import json
import re
import secrets
import shlex
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import click  # noqa: TID253 - its parser is what proves a command line
import yaml

from enlist.backend_options import Target, options_of, read_options
from enlist.choosing.plugins import load
from enlist.cli.program import program
from enlist.durations import parse_duration
from enlist.info import Info
from enlist.opening import open_registry
from enlist.records import compact_json
from tests.docs_blocks import Block
from tests.servers.consul import ConsulServer

ROOT = Path(__file__).resolve().parent.parent
PROJECTS = [ROOT / "core", *sorted((ROOT / "plugins").iterdir())]
DRAIN_S, GRACE_S, CALL_S = 6.0, 10.0, 3.0

_OPTIONS_OF_PIP = {"--upgrade", "--quiet"}
_PLAIN_SET_UP = {"python3 -m venv .venv", ". .venv/bin/activate", "pre-commit install"}
_UNIT_SETTINGS = {
    "Unit": {"Description", "After", "Wants", "Requires"},
    "Service": {
        *("Type", "User", "Group", "Environment", "EnvironmentFile", "ExecStart", "KillMode"),
        *("SuccessExitStatus", "Restart", "RestartSec", "TimeoutStopSec"),
        *("LoadCredential", "RuntimeDirectory"),
    },
    "Install": {"WantedBy"},
}
_GRANTS = {("role", "grant-permission"), ("user", "grant-role")}
_INSTRUCTIONS = {"FROM", "RUN", "COPY", "WORKDIR", "ENTRYPOINT", "CMD", "EXPOSE", "USER", "ENV"}


def check_set_up(block: Block, page: Sequence[Block]) -> bool:
    """Check a bash block whose every line sets something up; return whether it is one."""
    lines = commands(block.text)
    kinds = [_set_up_kind(line) for line in lines]
    if None in kinds:
        return False
    for line, kind in zip(lines, kinds, strict=True):
        words = shlex.split(line)
        if kind == "pip":
            check_installed_names(words[words.index("install") + 1 :])
        elif kind == "nox":
            assert set(words[2:][1::2]) <= sessions() or words[2:] == ["-l"], line
        elif kind == "etcdctl":
            check_etcdctl(words)
        elif kind == "files":
            _check_named_file(words, page)
    return True


def commands(text: str) -> list[str]:
    """Return the lines of a script, each command on one, without comments."""
    lines = text.replace("\\\n", " ").splitlines()
    return [line for line in map(str.strip, lines) if line and not line.startswith("#")]


def _set_up_kind(line: str) -> str | None:
    if line in _PLAIN_SET_UP:
        return "plain"
    if re.match(r"(\S*/)?pip install ", line):
        return "pip"
    if re.match(r"python3 noxfile\.py\b", line):
        return "nox"
    if re.match(r"etcdctl ", line):
        return "etcdctl"
    return "files" if re.match(r"(systemctl|kubectl|docker) ", line) else None


def check_installed_names(words: Iterable[str]) -> None:
    """Check that what is installed is published here, or needed by what is published here."""
    given = iter(words)
    for word in given:
        if word in _OPTIONS_OF_PIP or word == "pip":
            continue
        if word == "--group":
            assert next(given) in _groups()
        elif word == "-e":
            path, _, extras = next(given).rstrip("]").partition("[")
            _check_extras(_project(ROOT / path), extras)
        else:
            _check_requirement(word)


def _check_requirement(requirement: str) -> None:
    name, _, extras = requirement.rstrip("]").partition("[")
    own = {table["name"]: table for table in map(_project, PROJECTS)}
    if name in own:
        _check_extras(own[name], extras)
        return
    tested = [one for one in _groups()["test"] if isinstance(one, str)]
    needed = {_bare(one) for one in tested}
    for table in own.values():
        needed |= {_bare(one) for one in table["dependencies"]}
        needed |= {_bare(one) for one in chain.from_iterable(_extras(table).values())}
    assert name in needed, f"{name} is neither published by this repository nor needed by it"


def _check_extras(table: Mapping[str, Any], extras: str) -> None:
    unknown = set(filter(None, extras.split(","))) - _extras(table).keys()
    assert not unknown, f"{table['name']} has no extra {unknown}"


def _bare(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement)[0]


def _groups() -> Mapping[str, Any]:
    table: Mapping[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups: Mapping[str, Any] = table["dependency-groups"]
    return groups


def _project(folder: Path) -> Mapping[str, Any]:
    table: Mapping[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    return table


def _extras(table: Mapping[str, Any]) -> dict[str, list[str]]:
    extras: dict[str, list[str]] = table.get("optional-dependencies", {})
    return extras


def sessions() -> set[str]:
    """Return the names of the sessions that the noxfile has."""
    tree = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and any("nox.session" in ast.unparse(each) for each in node.decorator_list)
    }


def check_etcdctl(words: Sequence[str]) -> None:
    """Check that a role is granted what lies below the plugin's own default prefix."""
    assert tuple(words[1:3]) in {("role", "add"), *_GRANTS}, words
    if words[2] == "grant-permission":
        (prefix,) = (
            one.default for one in options_of(load("etcd").cls.Options) if one.name == "prefix"
        )
        assert words[4:] == ["readwrite", "--prefix=true", f"{prefix}/"]


def _check_named_file(words: Sequence[str], page: Sequence[Block]) -> None:
    files = {block.marks["file"] for block in page if "file" in block.marks}
    named = {words[-1], f"{words[-1]}.service"}
    assert words[0] == "docker" or named & files, f"{words[-1]} is no file of this page: {files}"


def check_enlist_command(words: Sequence[str]) -> Mapping[str, Any]:
    """Have the command line's own parser read a command; return its values. Runs nothing."""
    assert Path(words[0]).name == "enlist", words
    context = click.Context(program)
    command = program.get_command(context, words[1])
    assert command is not None, f"enlist has no command {words[1]}"
    return command.make_context(words[1], list(words[2:])).params


def stop_s(words: Sequence[str]) -> float:
    """Return how long a server takes to stop at most, by its own options."""
    if Path(words[0]).name != "enlist":
        return DRAIN_S + GRACE_S + CALL_S
    params = check_enlist_command(words)
    if "drain" not in params:
        return CALL_S
    return float(params["drain"].total_seconds()) + GRACE_S + CALL_S


def check_yaml(text: str) -> None:
    """Check that YAML parses, and that a pod knows its address and has the time to stop."""
    for document in yaml.safe_load_all(text):
        assert isinstance(document, dict)
        pod = document.get("spec", {}).get("template", {}).get("spec")
        if pod is not None:
            _check_pod(pod)


def _check_pod(pod: Mapping[str, Any]) -> None:
    needed = 0.0
    told = False
    for container in pod["containers"]:
        assert {"name", "image"} <= container.keys(), container
        variables = {one["name"]: one for one in container.get("env", [])}
        if "POD_IP" in variables:
            source = variables["POD_IP"]["valueFrom"]["fieldRef"]["fieldPath"]
            assert source == "status.podIP"
            told = True
            needed = max(needed, stop_s(container.get("command", ["server"])))
    assert told, "no container is told its address by POD_IP"
    assert pod.get("terminationGracePeriodSeconds", 30) > needed


def check_unit(text: str) -> None:
    """Check the sections and settings of a systemd unit, its command, and its time to stop."""
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # as configparser documents
    parser.read_string(text)
    for section in parser.sections():
        unknown = set(parser[section]) - _UNIT_SETTINGS[section]
        assert not unknown, f"[{section}] has {unknown}"
    words = shlex.split(parser["Service"]["ExecStart"])
    assert words[0].startswith("/"), "systemd wants the whole path of the program"
    patience = parse_duration(parser["Service"].get("TimeoutStopSec", "90"))
    assert patience is not None
    assert patience.total_seconds() > stop_s(words)


def check_dockerfile(text: str) -> None:
    """Check instructions, what is installed, and the command of an image."""
    for line in commands(text):
        instruction, _, rest = line.partition(" ")
        assert instruction in _INSTRUCTIONS, instruction
        if instruction == "RUN":
            words = shlex.split(rest)
            assert words[:2] == ["pip", "install"], line
            check_installed_names(word for word in words[2:] if word != "--no-cache-dir")
        if instruction in {"ENTRYPOINT", "CMD"}:
            words = json.loads(rest)
            if words[0] == "enlist":
                check_enlist_command(words)


def check_urls(text: str) -> None:
    """Have each line read as a registry, with the options of its backend."""
    for line in text.splitlines():
        target = Target.parse(line)
        read_options(load(target.name).cls.Options, target, {}, {})


def check_json(block: Block) -> None:
    """Check that JSON parses, and that a record is what its plugin reads and writes."""
    value = json.loads(block.text)
    if place := block.marks.get("record"):
        backend, _, key = place.partition(":")
        if backend == "consul":
            check_consul_record(value)
            return
        name, _, address = key.rpartition("/")
        check_record(backend, name.rpartition("/")[2], address, value)


def check_consul_record(body: Mapping[str, Any]) -> None:
    """Check that the plugin registers with this very body."""
    records = importlib.import_module("enlist_consul.records")
    options = importlib.import_module("enlist_consul.options").ConsulOptions()
    tags = (tag.partition(":") for tag in body["Tags"] if ":" in tag)
    info = Info(
        service_name=body["Name"],
        addr=f"{body['Address']}:{body['Port']}",
        weight=body["Weights"]["Passing"],
        tags={key: value for key, _, value in tags},
        payload_codec="protobuf",
    )
    assert records.encode(info, body["Meta"]["enlist_owner"], options) == body


def check_policy(rules: str, server: ConsulServer) -> None:
    """Give a token what a policy says, and register, find and remove with it."""
    policy = {"Name": f"docs-{secrets.token_hex(4)}", "Rules": rules}
    policy_id = server.call("PUT", "/v1/acl/policy", policy)["ID"]
    token = server.call("PUT", "/v1/acl/token", {"Policies": [{"ID": policy_id}]})["SecretID"]
    named = re.search(r'service "([^"]+)"', rules)
    name = named[1] if named else f"docs-{secrets.token_hex(4)}"
    info = Info(service_name=name, addr="10.0.0.7:8888")
    with open_registry(f"consul://{server.endpoint}", token=token) as registry:
        registry.register(info)
        assert registry.resolve(info.service_name) == (info,)
        registry.deregister(info)
        assert registry.resolve(info.service_name) == ()


def check_record(backend: str, name: str, address: str, value: object) -> None:
    """Decode a record as its plugin does, and encode it again."""
    records = importlib.import_module(f"enlist_{backend}.records")
    data = compact_json(value).encode()
    record = records.decode(name, address, data)
    assert records.encode(record.info, record.owner) == data


def check_toml(text: str) -> None:
    """Check that a project file can be read."""
    assert tomllib.loads(text)
