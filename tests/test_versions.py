"""The pages name the versions of servers that the tests are made with, and no others."""

import re
from pathlib import Path

from docs._ext.versions import servers

PAGE = Path(__file__).resolve().parent.parent / "docs" / "backends" / "consul.md"


def test_page_of_consul_names_both_versions() -> None:
    """Debian's Consul and the one that is built with Go stand on the page as they are run."""
    _, rows = servers()
    (tested,) = [row[1] for row in rows if row[0] == "`consul`"]

    named = re.findall(r"\b(\d+\.\d+\.\d+)(?=, which is (?:Debian's|built))", words(PAGE))

    assert tested == " and ".join(named)


def words(page: Path) -> str:
    """The text of a page without its line ends."""
    return " ".join(page.read_text(encoding="utf-8").split())
