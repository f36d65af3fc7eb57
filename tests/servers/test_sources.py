"""Which mirror of Debian a machine uses, read from its own apt sources."""

from pathlib import Path

import pytest

from tests.servers.sources import debian_mirrors

DEB822 = """\
# the usual one
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
"""


@pytest.fixture
def apt(tmp_path: Path) -> Path:
    """An empty configuration folder of apt."""
    (tmp_path / "sources.list.d").mkdir()
    return tmp_path


def write(apt: Path, name: str, text: str) -> None:
    (apt / name).write_text(text, encoding="utf-8")


def test_mirror_is_read_from_a_deb822_file(apt: Path) -> None:
    """The archive is taken, its security sibling is not."""
    write(apt, "sources.list.d/debian.sources", DEB822)

    assert debian_mirrors({}, apt) == ("http://mirror.example/debian",)


def test_mirror_is_read_from_a_one_line_file(apt: Path) -> None:
    """Options in brackets and comments do not hide the address."""
    write(apt, "sources.list", "deb [arch=amd64 signed-by=/k.gpg] http://m/debian trixie main # x")

    assert debian_mirrors({}, apt) == ("http://m/debian",)


def test_mirror_list_is_handed_to_apt_as_it_stands(apt: Path) -> None:
    """A `mirror+file:` address is apt's to resolve."""
    text = "Types: deb\nURIs: mirror+file:/etc/apt/mirrors/debian.list\n"
    write(apt, "sources.list.d/d.sources", f"{text}Suites: trixie\nComponents:\n main\n contrib\n")

    assert debian_mirrors({}, apt) == ("mirror+file:/etc/apt/mirrors/debian.list",)


@pytest.mark.parametrize(
    "text",
    [
        "# deb http://m/debian trixie main\n",
        "deb-src http://m/debian trixie main\n",
        "deb http://m/ubuntu noble main\n",
        "deb http://m/tool stable stable-tools\n",
        "deb http://m/debian trixie-backports main\n",
    ],
)
def test_mirror_is_not_taken_from_what_is_no_release(apt: Path, text: str) -> None:
    """Comments, sources, other distributions, third parties and additions are passed over."""
    write(apt, "sources.list", text)

    assert debian_mirrors({}, apt) == ()


def test_mirror_is_not_taken_from_a_disabled_stanza(apt: Path) -> None:
    """`Enabled: no` counts."""
    write(apt, "sources.list.d/debian.sources", "Enabled: no\n" + DEB822.partition("\n")[2])

    assert debian_mirrors({}, apt) == ()


def test_mirror_named_in_the_environment_comes_first(apt: Path) -> None:
    """Machines that are no Debian can name a mirror."""
    write(apt, "sources.list.d/debian.sources", DEB822)

    mirrors = debian_mirrors({"ENLIST_DEBIAN_MIRROR": "http://other/debian"}, apt)

    assert mirrors == ("http://other/debian", "http://mirror.example/debian")
