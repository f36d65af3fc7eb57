"""The directives of this documentation: tables that are made from the code they describe.

Each writes MyST and has it parsed in place, so that links in it are checked like all others.
"""

import html
import importlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from pygments.lexers.special import TextLexer
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

from docs._ext import command_help, error_rows, rule_rows, versions
from enlist.backend_options import Option, options_of

TABLE_CLASS = "enlist"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """Return a MyST table that becomes a list of cards on a phone."""
    lines = [f":::{{table}}\n:class: {TABLE_CLASS} {kind}\n"]
    lines.append(_row(headings))
    lines.append(_row(["---"] * len(headings)))
    lines.extend(map(_row, rows))
    return "\n".join([*lines, ":::"])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


class Generated(SphinxDirective):
    """A directive whose content is made from the code."""

    def text(self) -> str:
        """Return MyST."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        """Parse it where it stands."""
        holder = nodes.container()
        lines = StringList(self.text().splitlines(), source=f"<{self.name}>")
        self.state.nested_parse(lines, self.content_offset, holder)
        return holder.children


class Options(Generated):
    """The options of a backend: ``{options} etcd enlist_etcd.options:EtcdOptions``."""

    required_arguments = 2

    def text(self) -> str:
        """Return one row for each option."""
        backend, place = self.arguments
        module_name, _, class_name = place.partition(":")
        module: ModuleType = importlib.import_module(module_name)
        rows = [option_row(backend, one) for one in options_of(getattr(module, class_name))]
        return table(("option", "what it is for", "environment"), rows)


def option_row(backend: str, option: Option) -> tuple[str, str, str]:
    """Return an option as a row of the table."""
    purpose = option.help[:1].upper() + option.help[1:] + "."
    purpose = re.sub(r"--[a-z-]+", r"`\g<0>`", purpose)
    if option.url is not None:
        purpose += f" In a URL: its {option.url}."
    if option.secret:
        purpose += " Never in a URL."
    value = option.form[:1].upper() + option.form[1:] + "."
    if option.default:
        value += f" Default: `{option.default}`"
    variables = (option.variable(backend), *option.aliases_env)
    return f"`{option.name}`", f"{purpose} {value}", ", ".join(f"`{name}`" for name in variables)


class Rules(Generated):
    """The rules of one letter, or all: ``{rules} K``."""

    required_arguments = 1

    def text(self) -> str:
        """Return one row for each rule, with its tests."""
        rows = [
            (f"[**{row.id}**]{{#rule-{row.id}}} {row.title}", row.text, ", ".join(row.links))
            for row in rule_rows.rows(self.arguments[0])
        ]
        return table(("rule", "promise", "tests"), rows)


class ServingTests(Generated):
    """The source of each test that holds a rule of serving."""

    def text(self) -> str:
        """Return the promise and the code of each."""
        parts = []
        for test in rule_rows.serving_tests():
            self.env.note_dependency(str(test.path))
            parts += [
                f"[`{test.name}`]{{#{test.anchor}}} in `{test.place}`:\n",
                f"````python\n{test.source}\n````\n",
            ]
        return "\n".join(parts)


class Errors(Generated):
    """Every error with its meaning, its usual cause and what to do."""

    def text(self) -> str:
        """Return one row for each."""
        rows = [
            (f"{{py:exc}}`~enlist.{row.name}`", row.meaning, row.cause, row.next_step)
            for row in error_rows.rows()
        ]
        return table(("error", "what it means", "usual cause", "next step"), rows, "errors")


class Help(Generated):
    """What ``enlist COMMAND --help`` prints: ``{help} run``, or ``{help}`` alone."""

    optional_arguments = 1

    def text(self) -> str:
        """Return it as a block."""
        arguments = self.arguments[:1]
        shown = " ".join(["$ enlist", *arguments, "--help"])
        return f"````text\n{shown}\n{command_help.help_text(arguments)}\n````"


class Versions(Generated):
    """What works with what: ``{versions} packages``, ``{versions} servers``."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {"class": directives.class_option}

    def text(self) -> str:
        """Return the table."""
        kind = self.arguments[0]
        headings, rows = versions.TABLES[kind]()
        return table(headings, rows, kind)


class Picture(SphinxDirective):
    """An SVG that becomes part of the page, so that it has the page's colours; with a caption."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Put the file's text into the page."""
        name, path = self.env.relfn2path(self.arguments[0])
        self.env.note_dependency(name)
        svg = Path(path).read_text(encoding="utf-8")
        caption = html.escape(" ".join(self.content))
        text = f'<figure class="picture">{svg}<figcaption>{caption}</figcaption></figure>'
        return [nodes.raw("", text, format="html")]


def resolve_elsewhere(
    app: Sphinx,  # noqa: ARG001 - what Sphinx passes
    env: BuildEnvironment,
    node: pending_xref,
    contnode: nodes.Element,
) -> nodes.Node | None:
    """Resolve names by their public place, and names of other libraries to plain text.

    A name of another library has to exist: what cannot be imported stays a warning.
    """
    if node.get("refdomain") != "py":
        return None
    domain = env.get_domain("py")
    target = str(node["reftarget"])
    last = target.rpartition(".")[2]
    public = f"enlist.{last}"
    if public in domain.objects and target != public:  # type: ignore[attr-defined]  # of PythonDomain
        return domain.resolve_xref(
            env, str(node["refdoc"]), env.app.builder, "obj", public, node, contnode
        )
    return contnode if exists_elsewhere(target) else None


def exists_elsewhere(target: str) -> bool:
    """Return whether a dotted name can be imported, or is one that annotations abbreviate."""
    module_name, _, attribute = target.partition(".")
    try:
        found: object = importlib.import_module(ABBREVIATED.get(module_name, module_name))
        for name in filter(None, attribute.split(".")):
            found = _member(found, name)
    except (ImportError, AttributeError):
        return False
    return bool(attribute)


def _member(found: object, name: str) -> object:
    if isinstance(found, ModuleType) and not hasattr(found, name):
        return importlib.import_module(f"{found.__name__}.{name}")
    return getattr(found, name)


ABBREVIATED = {"dt": "datetime"}


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directives."""
    for name, directive in {
        "options": Options,
        "rules": Rules,
        "serving-tests": ServingTests,
        "errors": Errors,
        "help": Help,
        "versions": Versions,
        "picture": Picture,
    }.items():
        app.add_directive(name, directive)
    app.add_lexer("hcl", TextLexer)  # the lexer of that name knows other dialects alone
    app.connect("missing-reference", resolve_elsewhere)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
