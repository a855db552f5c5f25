"""`mien tune`: a search over recipes. The work is done by `mien_train`, imported late: it needs torch and Optuna."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.options import MOST_THREADS, TIME, ExcludeFromTrainingOption, labeled_data, seconds
from mien.cli.output import name_items, say, say_text
from mien.errors import TrainingError
from mien_train.cli.extras import named_extra
from mien_train.cli.tune_screen import StudyScreen

if TYPE_CHECKING:
    from mien.report.study import Study

EXAMPLES = """Examples:

mien tune data/fer2013 --out studies/first --trials 40 --epochs 12

mien tune data/fer2013 --out studies/wide --space wide.toml --recipe large-1 --workers 2 --timeout 8:00:00"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXAMPLES)(tune)


def tune(
    data: Annotated[
        Path,
        typer.Argument(
            help="Labeled folder with train/<class>/ and validation/<class>/.",
            callback=labeled_data,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the study; an interrupted study in it goes on.")],
    space: Annotated[
        Path | None, typer.Option(help="What is searched, in TOML (docs/train/tune.md); without it, the bundled space.")
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="Recipe in TOML for what is not searched; without it, the defaults.")
    ] = None,
    trials: Annotated[
        int, typer.Option(help="Stop when so many trials are finished, those of earlier calls included.", min=1)
    ] = 20,
    epochs: Annotated[int | None, typer.Option(help="Epochs of each trial, instead of the recipe's.", min=1)] = None,
    timeout: Annotated[
        float | None,
        typer.Option(help="Start no trial after this time, such as 3600 or 8:00:00.", parser=seconds, metavar=TIME),
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes; each has its share of the threads.", min=1)] = 1,
    threads: Annotated[
        int,
        typer.Option(
            help="CPU threads of all workers; 0 takes every core.",
            min=0,
            max=MOST_THREADS,
        ),
    ] = 0,
    storage: Annotated[
        str,
        typer.Option(
            help="Database that several machines may share: postgresql://user@host/name; without it, a file in --out."
        ),
    ] = "",
    name: Annotated[str, typer.Option(help="Name of the study in --storage; default: the name of --out.")] = "",
    seed: Annotated[int, typer.Option(help="Random seed of the search; each recipe has its own.", min=0)] = 0,
    startup: Annotated[
        int, typer.Option(help="So many trials come first, drawn at random and never stopped early.", min=1)
    ] = 5,
    exclude: ExcludeFromTrainingOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole study as JSON.")] = False,
) -> None:
    """Search for a better recipe, the network's modules among it; go on by giving the same command again.

    Leaves best.toml, for `mien train --recipe`, and the page study.html in --out.

    Exit code: 0 done, 1 some trials failed (each is named), 2 wrong use, or no trial succeeded.
    """
    with named_extra():
        from mien_train.tuning.tune import tune as search

    with StudyScreen(out, as_json=as_json) as screen:
        study = search(
            data, out, space=space, recipe=recipe, epochs=epochs, trials=trials, workers=workers, threads=threads,
            timeout_s=timeout, storage=storage, name=name, seed=seed, startup=startup, without=exclude,
            progress=screen, on_change=screen.show,
        )  # fmt: skip
    _finish(study, out, as_json=as_json)


def _finish(study: Study, out: Path, *, as_json: bool) -> None:
    from mien.report.study_text import summary_lines, to_json

    failed = study.of_state("failed")
    if as_json:
        say_text(to_json(study))
    else:
        for line in summary_lines(study):
            say(line)
        if study.best and (out / study.best.folder / "weights.pt").exists():
            say(f"run: {out / study.best.folder}")
        say(f"page: {out / 'study.html'}")
        if study.command:
            say(f"next: {study.command}")
    name_items("", [f"trial {t.number} failed: {t.reason}" for t in failed])
    if failed and study.best is None:
        raise TrainingError(f"none of {len(study.finished)} trials succeeded; change the space or the recipe")
    if failed:
        raise typer.Exit(1)
