"""The fenced blocks of a Markdown page, and what a comment before one says about its test.

A comment ``<!-- block: MARK MARK=VALUE -->`` on the line before a fence is invisible to readers
and tells the test how the block is proven; CONTRIBUTING.md lists the marks.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

MARKS = frozenset(
    {
        "file",
        "raises",
        "background",
        "until",
        "terminal",
        "sees",
        "fails",
        "needs",
        "urls",
        "record",
    }
)
_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,})(?P<info>[^`]*)$")
_COMMENT = re.compile(r"^ *<!-- block: (?P<marks>.*?) *-->$")
_MARK = re.compile(r'(?P<name>[a-z]+)(?:=(?:"(?P<quoted>[^"]*)"|(?P<bare>\S+)))?')


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        page: the file that it stands in.
        line: the number of the line that opens it.
        kind: what stands behind the fence, such as "python"; empty where nothing does.
        text: what is between the fences, without their indentation.
        marks: from the comment before it; a mark without a value has an empty one.
    """

    page: Path
    line: int
    kind: str
    text: str
    marks: Mapping[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """Where it stands, for messages."""
        return f"{self.page.name}:{self.line}"

    @property
    def is_directive(self) -> bool:
        """Whether it is a directive of Sphinx, which the build of the docs proves."""
        return self.kind.startswith("{")


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of a page, in order, directives included.

    Raises:
        ValueError: a fence is never closed, or a mark is none of `MARKS`.
    """
    return list(_blocks(page, page.read_text(encoding="utf-8").splitlines()))


def _blocks(page: Path, lines: Sequence[str]) -> Iterator[Block]:
    opened: re.Match[str] | None = None
    first = 0
    for number, line in enumerate(lines, 1):
        found = _FENCE.match(line)
        if opened is None and found is not None:
            opened, first = found, number
        elif opened is not None and found is not None and _closes(found, opened):
            indent = len(opened["indent"])
            text = "".join(f"{each[indent:]}\n" for each in lines[first : number - 1])
            marks = _marks(lines[first - 2] if first > 1 else "", f"{page.name}:{first}")
            yield Block(page, first, opened["info"].strip(), text, marks)
            opened = None
    if opened is not None:
        raise ValueError(f"{page.name}:{first}: this fence is never closed")


def _closes(found: re.Match[str], opened: re.Match[str]) -> bool:
    return not found["info"].strip() and len(found["ticks"]) >= len(opened["ticks"])


def _marks(line: str, place: str) -> dict[str, str]:
    comment = _COMMENT.match(line)
    if comment is None:
        return {}
    marks = {
        found["name"]: found["quoted"] or found["bare"] or ""
        for found in _MARK.finditer(comment["marks"])
    }
    if unknown := marks.keys() - MARKS:
        raise ValueError(f"{place}: no such mark: {', '.join(sorted(unknown))}")
    return marks
