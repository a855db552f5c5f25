"""The command line: argument parsing only, one module a command group."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from mien._version import __version__
from mien.cli.output import tell
from mien.cli.plugins import add_plugins
from mien.cli.remedies import worded
from mien.cli.terminal import Interrupted, leave_stdout, prepare_terminal
from mien.errors import MienError, reason

HOMES = {
    "predict": "predict",
    "live": "live",
    "evaluate": "evaluate",
    "compare": "compare",
    "audit": "audit",
    "verify": "models",
    "show": "models",
    "data": "data",
    "registry": "registry",
    "serve": "serve",
    "web": "web",
}
"""Each command or group of ours, and its module; in the order in which `--help` shows them."""


SWITCH_S = 0.001
"""How long a thread that has found faces may wait for one that runs Python; by default it is five times that."""


class _Commands(TyperGroup):
    """Hands Ctrl-C to `main`, which says what is kept; the library of command lines would end without a word."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise Interrupted(error) from error


def command_line(arguments: Sequence[str] = ()) -> typer.Typer:
    """The command line with the command that `arguments` begin with; with every command, if they name none of ours.

    To make them all takes longer than to read a photo.
    """
    app = typer.Typer(
        name="mien",
        cls=_Commands,
        help="Finds faces and reads the expression they show. We report the expression shown, never the emotion felt.",
        epilog="Example: mien predict photo.jpg --annotate annotated/",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
    )
    app.callback(invoke_without_command=True)(_root)
    wanted = HOMES.get(arguments[0]) if arguments else None
    for home in [wanted] if wanted else dict.fromkeys(HOMES.values()):
        import_module(f"mien.cli.{home}").register(app)
    if not wanted:
        add_plugins(app)
    return app


def __getattr__(name: str) -> typer.Typer:
    if name != "app":
        raise AttributeError(f"module 'mien.cli' has no attribute {name!r}")
    return globals().setdefault("app", command_line())


def _root(version: bool = typer.Option(False, "--version", help="Print the version and exit.", is_eager=True)) -> None:
    if version:
        typer.echo(f"mien {__version__}")
        raise typer.Exit


def main() -> None:
    """Entry point: exit 0 done, 1 finished with failed items, 2 wrong use or unreadable input, 130 interrupted."""
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")  # to look for some, it would read all that is installed
    sys.setswitchinterval(SWITCH_S)
    prepare_terminal()
    app = command_line(sys.argv[1:])
    try:
        app()
    except MienError as error:
        tell(worded(error, _options(app, sys.argv[1:])))
        sys.exit(2)
    except Interrupted as interrupted:
        tell(str(interrupted))
        sys.exit(130)
    except BrokenPipeError:
        leave_stdout()  # its reader (`head`, say) has what it wanted
    except OSError as error:  # standard output is full, or a folder was deleted in mid-run
        tell(f"{error.filename or 'output'}: {reason(error)}")
        leave_stdout()
        sys.exit(2)


def _options(app: typer.Typer, arguments: Sequence[str]) -> set[str]:
    """The options of the command that the arguments name."""
    command: Any = typer.main.get_command(app)
    for argument in arguments:
        command = getattr(command, "commands", {}).get(argument, command)
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
