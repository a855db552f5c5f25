"""The command line: argument parsing only, one module a command group."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points
from typing import Any

import typer
from typer.core import TyperGroup

from mien._version import __version__
from mien.cli import audit, compare, data, evaluate, live, models, predict, registry, serve, web
from mien.cli.output import tell
from mien.cli.remedies import worded
from mien.cli.terminal import Interrupted, leave_stdout, prepare_terminal
from mien.errors import MienError, reason


class _Commands(TyperGroup):
    """Hands Ctrl-C to `main`, which says what is kept; the library of command lines would end without a word."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise Interrupted(error) from error


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


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version and exit.", is_eager=True)) -> None:
    if version:
        typer.echo(f"mien {__version__}")
        raise typer.Exit


predict.register(app)
live.register(app)
evaluate.register(app)
compare.register(app)
audit.register(app)
models.register(app)
data.register(app)
registry.register(app)
serve.register(app)
web.register(app)
for _command in entry_points(group="mien.commands"):  # those of training, and whatever else is installed
    _command.load()(app)


def main() -> None:
    """Entry point: exit 0 done, 1 finished with failed items, 2 wrong use or unreadable input, 130 interrupted."""
    prepare_terminal()
    try:
        app()
    except MienError as error:
        tell(worded(error))
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
