"""`mien web`: the page as static files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli.option_groups import AnswerOptions, with_groups
from mien.cli.options import MODEL_HELP, UnsealedOption, open_bundle, registered
from mien.cli.output import say


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: mien web public_html/faces")(with_groups(web))


def web(
    out: Annotated[Path, typer.Argument(help="Folder to write; it must be empty or not exist.")],
    *,
    model: Annotated[
        str,
        typer.Option("--model", help=f"What visitors' browsers run. {MODEL_HELP}", callback=registered),
    ] = "default",
    unsealed: UnsealedOption = False,
    answers: AnswerOptions,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files in the folder.")] = False,
) -> None:
    """Write the page as static files that any web server can host; pictures are read in the visitor's browser."""
    from mien.web.export import write_site

    bundle = open_bundle(model, unsealed)
    written = write_site(out, model=bundle, answer=answers.answer, prior=answers.expected_mix(), overwrite=overwrite)
    size = sum(path.stat().st_size for path in written) / 1e6
    say(f"{len(written)} files, {size:.1f} MB, in {out}; README.txt there says which headers to send")
