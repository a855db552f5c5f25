"""The command line: argument parsing only, one module a command group."""

from __future__ import annotations

import io
import os
import sys
from importlib.metadata import entry_points

import typer

from mien._version import __version__
from mien.cli import audit, compare, data, evaluate, live, models, predict, registry, serve, web
from mien.cli.printable import printable
from mien.cli.remedies import worded
from mien.errors import MienError, reason

app = typer.Typer(
    name="mien",
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
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that the terminal cannot show must not end the run
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except MienError as error:
        typer.echo(f"mien: {printable(worded(error))}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("mien: interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        # The reader (`head`, say) has what it wanted; keep Python from complaining about stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:  # standard output is full, or a folder was deleted in mid-run
        where = printable(str(error.filename or "output"))
        typer.echo(f"mien: {where}: {printable(reason(error))}", err=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(2)
