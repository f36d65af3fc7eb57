"""The help of the command line, as it prints it itself."""

from collections.abc import Sequence

import click

from enlist.cli.program import program

WIDTH = 80


def help_text(arguments: Sequence[str]) -> str:
    """Return the help of ``enlist`` or of one of its commands.

    Raises:
        LookupError: there is no such command.
    """
    names = program.context_settings["help_option_names"]
    context = click.Context(
        program, info_name="enlist", help_option_names=names, max_content_width=WIDTH
    )
    context.terminal_width = WIDTH
    for name in arguments:
        command = program.get_command(context, name)
        if command is None:
            raise LookupError(f"enlist has no command {name!r}")
        context = click.Context(command, info_name=name, parent=context)
        context.terminal_width = WIDTH
    return context.command.get_help(context)
