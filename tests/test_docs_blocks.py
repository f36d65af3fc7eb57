"""The blocks of a page are found as a reader sees them."""

from pathlib import Path

import pytest

from tests.docs_blocks import blocks_of
from tests.docs_checks import check_installed_names, check_unit, check_yaml


def page(folder: Path, text: str) -> Path:
    """A page with this text."""
    path = folder / "page.md"
    path.write_text(text, encoding="utf-8")
    return path


def test_blocks_of_gives_kind_text_and_marks(tmp_path: Path) -> None:
    """A block has its kind, its text without indentation, its line, and the comment's marks."""
    text = (
        '- a\n\n  <!-- block: file=a.py until="two words" -->\n  ```python\n  x\n\n    y\n  ```\n'
    )
    (block,) = blocks_of(page(tmp_path, text))

    assert (block.kind, block.text, block.line) == ("python", "x\n\n  y\n", 4)
    assert block.marks == {"file": "a.py", "until": "two words"}


def test_blocks_of_takes_a_comment_for_the_next_block_alone(tmp_path: Path) -> None:
    """A comment further up, or one about something else, marks nothing."""
    text = "<!-- block: background -->\n```bash\na\n```\n\n<!-- a remark -->\n```bash\nb\n```\n"

    assert [block.marks for block in blocks_of(page(tmp_path, text))] == [{"background": ""}, {}]


def test_blocks_of_tells_directives_from_blocks(tmp_path: Path) -> None:
    """A longer fence may hold a shorter one, and a name in braces is Sphinx's business."""
    text = "````{note}\n```bash\nx\n```\n````\n"
    (block,) = blocks_of(page(tmp_path, text))

    assert block.is_directive
    assert block.text == "```bash\nx\n```\n"


@pytest.mark.parametrize(
    "text, message",
    [
        ("```bash\nx\n", "never closed"),
        ("<!-- block: skip -->\n```bash\nx\n```\n", "no such mark: skip"),
    ],
)
def test_blocks_of_refuses_what_would_prove_nothing(
    tmp_path: Path, text: str, message: str
) -> None:
    """A fence that is never closed and a mark that nobody reads are errors."""
    with pytest.raises(ValueError, match=message):
        blocks_of(page(tmp_path, text))


def test_check_installed_names_refuses_a_stranger() -> None:
    """A name that this repository neither publishes nor needs must not stand after pip install."""
    check_installed_names(["enlist[cli]", "enlist-etcd", "grpcio"])
    with pytest.raises(AssertionError, match="enlist-nosuch"):
        check_installed_names(["enlist-nosuch"])
    with pytest.raises(AssertionError, match="no extra"):
        check_installed_names(["enlist[nosuch]"])


def test_check_unit_refuses_too_short_a_stop() -> None:
    """A unit has to leave the time for one call, the drain and the grace."""
    command = "/bin/enlist run --service a --port 1 --drain {} -- x"
    unit = f"[Service]\nExecStart={command}\nTimeoutStopSec=20\n"
    check_unit(unit.format("6s"))
    with pytest.raises(AssertionError):
        check_unit(unit.format("8s"))


def test_check_yaml_refuses_a_pod_without_its_address() -> None:
    """A pod that runs a server is told its address."""
    pod = "spec: {template: {spec: {containers: [{name: a, image: b}]}}}"
    with pytest.raises(AssertionError, match="POD_IP"):
        check_yaml(pod)
