"""Every block of every page is proven; a block of a kind that no rule proves fails.

The pages are docs/**/*.md and the other pages of the repository, but for README.md, which
test_readme.py proves, and docs/examples, whose packages have tests of their own. Blocks of one
page run in order, in one temporary folder, with ENLIST_REGISTRY set to a registry of that folder.

- ``python`` runs in this process; the blocks of a page share a namespace. Marked ``raises=ERROR``
  it has to raise that. Marked ``file=NAME`` it is written to that file, for a command to run.
- ``bash`` with ``enlist``, ``gunicorn``, ``python3 FILE``, ``kill``, ``curl`` or ``cat`` runs
  for real. Marked ``background`` its one command goes on while the page does, has to print what
  ``until=TEXT`` says, and must end well; marked ``terminal`` it does so on a terminal of its own.
  Marked ``sees=TEXT`` the newest of those has to print that because of this block. Marked
  ``fails=N`` it has to end with that status.
- ``bash`` with installations and the like is not run: names after ``pip install`` must be
  published by this repository or needed by it or its tests, nox sessions must exist, files that
  systemctl or kubectl are given must stand on the page.
- ``bash`` with ``etcdctl`` must grant what lies below the plugin's own default prefix; that this is
  enough is what the plugin's test of permissions shows.
- ``text`` is what the block before it printed; "..." stands for anything. Marked ``urls`` each
  line is a registry, and is read with the options of its backend.
- ``yaml`` parses; a pod in it has POD_IP and the time that its server needs to stop.
- ``ini`` is a systemd unit: known settings, a command that parses, the time to stop.
- ``dockerfile`` has known instructions, installs what exists, and its command parses.
- ``toml`` parses.
- ``json`` parses; marked ``record=BACKEND:KEY`` the plugin reads it and writes the same bytes.
- ``hcl`` is a policy of Consul: a token that has it registers, finds and removes on a real agent.
- directives such as ``{toctree}`` are proven by the build of the docs.

``needs=etcd`` (zookeeper, consul) gives the page that server, at the address 127.0.0.1 with the
server's usual port, in the place of which the test's own is put.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from docs._ext import command_help, error_rows, rule_rows
from enlist import errors
from enlist.backend_options import options_of
from enlist.choosing.plugins import load
from enlist.cli.program import COMMANDS
from enlist.testing import RULES
from tests import docs_checks
from tests.docs_blocks import Block, blocks_of
from tests.docs_running import PageRun

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(
    {
        *(page for page in DOCS.rglob("*.md") if "examples" not in page.parts),
        *(ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md", "core/README.md")),
        *ROOT.glob("plugins/*/README.md"),
        *ROOT.glob("tests/**/README.md"),
    }
)
ACLS = "consul-acl"
SERVERS = {
    "etcd": "etcd_server",
    "zookeeper": "zookeeper_server",
    "consul": "consul_dev_server",
    ACLS: "consul_acl_server",
}
RUN_FOR_REAL = re.compile(
    r"(enlist|gunicorn|python3 \S+\.py|kill|curl|cat|export|ENLIST_\w+=\S+ enlist)\b"
)


@dataclass(frozen=True)
class Page:
    """A page with its blocks, and the servers that they need."""

    blocks: Sequence[Block]
    servers: Mapping[str, Any]


@pytest.fixture(scope="module", params=PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def page(request: pytest.FixtureRequest) -> Page:
    """One page, with its servers running."""
    blocks = [block for block in blocks_of(request.param) if not block.is_directive]
    needed = {block.marks["needs"] for block in blocks if "needs" in block.marks}
    needed |= {ACLS for block in blocks if block.kind == "hcl"}
    servers = {name: request.getfixturevalue(SERVERS[name]) for name in sorted(needed)}
    return Page(blocks, servers)


@pytest.fixture
def run(page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PageRun]:
    """What the page's blocks share."""
    run = PageRun(tmp_path, {name: server.endpoint for name, server in page.servers.items()})
    monkeypatch.chdir(tmp_path)
    for name, value in run.environ.items():
        monkeypatch.setenv(name, value)
    try:
        yield run
    finally:
        run.end()


@pytest.mark.timeout(180)
def test_page_shows_nothing_that_is_not_proven(page: Page, run: PageRun) -> None:
    """Each block does, prints or says what the page claims."""
    for block in page.blocks:
        prove(block, page, run)


def prove(block: Block, page: Page, run: PageRun) -> None:
    """Prove one block by the rule for its kind."""
    if "file" in block.marks:
        run.keep_file(block)
    elif block.kind == "python":
        run.python(block)
    elif block.kind == "bash":
        prove_bash(block, page.blocks, run)
    elif block.kind == "hcl":
        docs_checks.check_policy(block.text, page.servers[ACLS])
    elif block.kind == "text" and "urls" not in block.marks:
        run.shows(block)
    if (check := CHECKS.get(block.kind)) is not None:
        check(block)
    elif block.kind not in {"python", "bash", "text", "hcl"}:
        pytest.fail(f"{block.place}: no rule proves a block of kind {block.kind!r}")


def prove_bash(block: Block, page: Sequence[Block], run: PageRun) -> None:
    """Run the commands, or check what sets something up."""
    if docs_checks.check_set_up(block, page):
        return
    strangers = [line for line in docs_checks.commands(block.text) if not RUN_FOR_REAL.match(line)]
    assert not strangers, f"{block.place}: no rule proves {strangers}"
    run.bash(block)


CHECKS: dict[str, Callable[[Block], None]] = {
    "yaml": lambda block: docs_checks.check_yaml(block.text),
    "ini": lambda block: docs_checks.check_unit(block.text),
    "dockerfile": lambda block: docs_checks.check_dockerfile(block.text),
    "json": docs_checks.check_json,
    "toml": lambda block: docs_checks.check_toml(block.text),
    "text": lambda block: docs_checks.check_urls(block.text) if "urls" in block.marks else None,
}


def test_errors_page_has_a_row_for_each_error() -> None:
    """No error is without a cause and a next step, and none is listed that does not exist."""
    assert set(error_rows.REMEDIES) == set(errors.__all__)
    assert [row.name for row in error_rows.rows() if not row.meaning] == []


def test_contract_links_each_rule_to_a_test() -> None:
    """Each rule of a backend has a test in the kit, and each rule of serving has some in core."""
    assert [rule for rule in RULES if not rule_rows.kit_tests(rule)] == []
    assert len({rule.id for rule in rule_rows.SERVING_RULES}) == len(rule_rows.SERVING_RULES)
    for test in rule_rows.serving_tests():
        assert test.source.lstrip().startswith(("def ", "@"))


@pytest.mark.parametrize("backend", ["etcd", "zookeeper", "consul"])
def test_readme_of_a_backend_names_each_option(backend: str) -> None:
    """The short table in a plugin's README leaves no option out, and has no other."""
    text = (ROOT / "plugins" / backend / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[^|]*) \|", text, re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert set(named) == {one.name for one in options_of(load(backend).cls.Options)}


def test_command_line_page_has_every_command() -> None:
    """The help of each command stands on the page."""
    text = (DOCS / "reference" / "command-line.md").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert f"## enlist {name}\n\n```{{help}} {name}\n" in text
        assert command_help.help_text([name])


def test_every_page_is_reached_from_the_index() -> None:
    """No page is left out of the tables of contents."""
    listed = {
        line.rpartition("<")[2].rstrip(">").strip()
        for index in DOCS.rglob("*.md")
        for block in blocks_of(index)
        if block.kind == "{toctree}"
        for line in block.text.splitlines()
        if line and not line.startswith(":")
    }
    names = {name.rpartition("/")[2] for name in listed} | {"index"}
    pages = [page for page in DOCS.rglob("*.md") if not {"examples", "decisions"} & set(page.parts)]
    assert [page.name for page in pages if page.stem not in names] == []
