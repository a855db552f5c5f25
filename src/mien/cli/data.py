"""`mien data import`: data sets as published -> labeled folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli.output import name_items, say
from mien.cli.progress import ProgressBar


def register(app: typer.Typer) -> None:
    """Add the command group."""
    group = typer.Typer(
        help="Bring data sets into labeled folders.",
        epilog="Example: mien data import fer2013.csv --votes fer2013new.csv --out data/fer2013",
        no_args_is_help=True,
    )
    group.command("import", epilog="Example: mien data import fer2013.csv --votes fer2013new.csv --out data/fer2013")(
        import_
    )
    app.add_typer(group, name="data")


def import_(
    pixels: Annotated[Path, typer.Argument(help="fer2013.csv (columns emotion, pixels, Usage).")],
    out: Annotated[Path, typer.Option("--out", help="Folder to make: <split>/<class>/*.png, and votes.csv.")],
    votes: Annotated[
        Path | None, typer.Option("--votes", help="FER+'s fer2013new.csv; its votes go into votes.csv.")
    ] = None,
    classes: Annotated[
        str, typer.Option("--classes", help="Take only these classes, separated by commas: happy,neutral,sad.")
    ] = "",
    by_votes: Annotated[
        bool,
        typer.Option(
            "--by-votes",
            help="Take FER+'s eight classes (contempt too) by the majority of its votes; leave out undecided pictures.",
        ),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the train, validation, test and votes.csv that --out holds.")
    ] = False,
) -> None:
    """Turn fer2013.csv into folders: Training -> train, PublicTest -> validation, PrivateTest -> test."""
    from mien.dataset import import_fer2013

    with ProgressBar() as bar:
        wanted = classes.split(",") if classes else None
        report = import_fer2013(pixels, out, votes, bar, wanted, by_votes, overwrite=overwrite)
    for (split, label), count in sorted(report.written.items()):
        say(f"{split:12} {label:10} {count:6}")
    say(f"{report.written.total()} pictures in {out}" + (f", {report.with_votes} with votes" if votes else ""))
    if by_votes:
        say(f"{report.undecided} left out: no class has more than half of the votes")
    name_items("", report.failed)
    if report.failed:
        raise typer.Exit(1)
