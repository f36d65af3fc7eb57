"""The commands by name, and what their errors become: one sentence and an exit status."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Final, NamedTuple

import click

from enlist.cli.advice import with_advice
from enlist.cli.output import complain
from enlist.errors import EnlistError, InvalidError, UnknownBackendError

__all__ = ["COMMANDS", "FAILED", "INTERRUPTED", "MISUSED", "program", "run_program"]

FAILED: Final = 1
MISUSED: Final = 2
INTERRUPTED: Final = 130


class Entry(NamedTuple):
    """Where a command is, and its line in the list of commands.

    Attributes:
        module: the module that has it as ``command``; imported when it is run.
        summary: one sentence.
    """

    module: str
    summary: str


COMMANDS: Final = {
    "run": Entry("enlist.cli.run", "Run a server of any kind, enlisted while it accepts."),
    "ls": Entry("enlist.cli.ls", "List the services, or the instances of one."),
    "watch": Entry("enlist.cli.watch", "Show who comes and goes, live."),
    "check": Entry("enlist.cli.check", "Try a registry step by step, and say what is wrong."),
    "register": Entry("enlist.cli.register", "Hold a record for a server that runs elsewhere."),
    "plugins": Entry("enlist.cli.plugins", "List the backends that are installed."),
    "conformance": Entry(
        "enlist.cli.conformance", "Report which rules a backend keeps, as its users see them."
    ),
    "new-plugin": Entry("enlist.cli.new_plugin", "Write the beginning of a backend of your own."),
}

EPILOG: Final = """
A registry is chosen by one text: a name ("local", "etcd", "zookeeper", "consul"), a URL such as
"etcd://10.0.0.1:2379?ttl=30", or "local:PATH". Without --registry it is what ENLIST_REGISTRY
says, else "local".

\b
Exit status:
  0    done
  1    failed; one sentence on standard error says why, and what to do
  2    the command line cannot be right; nothing was done
  130  interrupted
  'enlist run' returns its command's own: see 'enlist run --help'

\b
Shell completion, in the start-up file of your shell:
  bash   eval "$(_ENLIST_COMPLETE=bash_source enlist)"
  zsh    eval "$(_ENLIST_COMPLETE=zsh_source enlist)"
  fish   _ENLIST_COMPLETE=fish_source enlist | source
"""


class LazyGroup(click.Group):
    """Imports the module of a command when that command is run, and for no list of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - what click passes
        """Return the names in the order in which they are listed."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - what click passes
        """Import the command, or return None where there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name].module).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - what click passes
        """List the commands from the table alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    epilog=EPILOG,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96},
)
@click.version_option(
    None, "-V", "--version", package_name="enlist", message="%(prog)s %(version)s"
)
@click.pass_context
def program(context: click.Context) -> None:
    """Enlist servers in a service registry, and see who is there.

    \b
    Examples:
      enlist run --service web --port 8000 -- python3 -m http.server 8000
      enlist ls web
      enlist watch web
      enlist check etcd://10.0.0.1:2379
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def run_program(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status; an error becomes one sentence.

    Args:
        arguments: without the program's name; None for those of the process.
    """
    try:
        given = None if arguments is None else list(arguments)
        status = program.main(given, prog_name="enlist", standalone_mode=False)
    except click.UsageError as exc:
        return _misused(exc)
    except EnlistError as exc:
        misused = isinstance(exc, InvalidError | UnknownBackendError)  # these say what is right
        complain(str(exc) if misused else with_advice(exc))
        return MISUSED if misused else FAILED
    except click.Abort:
        return INTERRUPTED
    return int(status or 0)


def _misused(error: click.UsageError) -> int:
    path = error.ctx.command_path if error.ctx is not None else "enlist"
    message = error.format_message().rstrip()
    stop = "" if message.endswith((".", "?", "!")) else "."
    complain(f"{message}{stop} See '{path} --help'.")
    return error.exit_code
