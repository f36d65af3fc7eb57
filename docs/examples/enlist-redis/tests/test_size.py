"""A reader can follow the plugin from top to bottom."""

import ast
import io
import tokenize
from pathlib import Path

import enlist_redis

LAYOUT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef)
FEWER_THAN = 150


def lines_of_code(text: str) -> int:
    """Count the lines that are no comment, no docstring and not empty."""
    prose: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node) is not None:
            first = node.body[0]
            prose.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in LAYOUT and token.string:
            code.update(range(token.start[0], token.end[0] + 1))
    return len(code - prose)


def test_the_plugin_is_short() -> None:
    """It has under 150 lines of code, what it has Redis run among them."""
    folder = Path(enlist_redis.__file__).parent
    lines = [
        lines_of_code((folder / name).read_text(encoding="utf-8"))
        for name in ("plugin.py", "scripts.py")
    ]
    assert sum(lines) < FEWER_THAN, lines
