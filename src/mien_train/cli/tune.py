"""`mien tune`: a search over recipes. The work is done by `mien_train`, imported late: it needs torch and Optuna."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.options import MOST_THREADS, TIME, labeled_data, seconds
from mien.cli.output import name_items, say, say_text
from mien.cli.progress import progress
from mien.errors import TrainingError
from mien_train.cli.extras import named_extra

if TYPE_CHECKING:
    from rich.table import Table

    from mien.report.study import Study, Trial

EXAMPLES = """Examples:

mien tune data/fer2013 --out studies/first --trials 40 --epochs 12

mien tune data/fer2013 --out studies/wide --space wide.toml --recipe large-1 --workers 2 --timeout 8:00:00"""

ROWS = 12
"""So many finished trials are shown live, the best."""


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
    exclude: Annotated[
        Path | None, typer.Option(help="CSV with a column path: pictures to leave out, as `mien audit --fix` writes.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole study as JSON.")] = False,
) -> None:
    """Search for a better recipe, the network's modules among it; go on by giving the same command again.

    Leaves best.toml, for `mien train --recipe`, and the page study.html in --out.

    Exit code: 0 done, 1 some trials failed (each is named), 2 wrong use, or no trial succeeded.
    """
    with named_extra():
        from mien_train.tuning.tune import tune as search

    with _Screen(out, as_json=as_json) as screen:
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


class _Screen:
    """A live table on stderr where that is a terminal; every finished trial as a line on stdout; the page.

    Where the table is live, the lines come at the end: the two would cross.
    """

    def __init__(self, out: Path, *, as_json: bool) -> None:
        from rich.console import Console
        from rich.live import Live

        self._out, self._as_json = out, as_json
        self._study: Study | None = None
        self._written, self._told = -1, set[int]()
        console = Console(stderr=True)
        self._bar = progress()
        self._decoding = self._bar.add_task("decoding", total=None, note="", visible=False)
        self._is_live = console.is_terminal
        self._live = Live(
            console=console, get_renderable=self._table, transient=True, refresh_per_second=2, redirect_stdout=False
        )

    def __enter__(self) -> _Screen:
        return self

    def __exit__(self, *about: object) -> None:
        self._bar.stop()
        self._live.stop()
        if self._study:
            self._tell(self._study)

    def update(self, what: str, done: int, total: int | None = None, note: str = "") -> None:
        """Progress of the pictures."""
        self._bar.start()
        self._bar.update(self._decoding, description=what, completed=done, total=total, visible=True)
        if done == total:
            self._bar.stop()

    def show(self, study: Study) -> None:
        """What is known now."""
        self._study = study
        if len(study.finished) != self._written:
            self._written = len(study.finished)
            _write_page(study, self._out / "study.html")
        if self._is_live:
            self._live.start()
        else:
            self._tell(study)

    def _tell(self, study: Study) -> None:
        from mien.report.study_text import HEADER, trial_line

        new = [t for t in study.finished if t.number not in self._told]
        if self._as_json or not new:
            return
        if not self._told:
            say(HEADER)
        for trial in new:
            say(trial_line(trial))
            self._told.add(trial.number)

    def _table(self) -> Table:
        from rich.table import Table

        study = self._study
        if study is None:
            return Table()
        best = study.best
        title = f"{len(study.finished)} of {study.wanted} finished, {len(study.of_state('pruned'))} stopped early, "
        title += f"{len(study.of_state('failed'))} failed"
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        for heading in ("trial", "state", "accuracy", "epoch", "time"):
            table.add_column(heading, justify="left" if heading == "state" else "right", no_wrap=True)
        table.add_column("values", overflow="ellipsis", no_wrap=True)
        ranked = sorted(study.finished, key=lambda t: (t.state != "complete", -(t.accuracy or 0.0)))
        for trial in [*study.of_state("running"), *ranked[:ROWS]]:
            table.add_row(*_cells(trial, study.epochs), style="bold green" if trial is best else None)
        return table


def _cells(trial: Trial, epochs: int) -> list[str]:
    from rich.markup import escape

    from mien.report.study_text import WORDS, duration, values_of

    spent = trial.seconds
    if spent is None and trial.started:
        spent = (datetime.now() - datetime.fromisoformat(trial.started)).total_seconds()
    accuracy = "" if trial.accuracy is None else f"{trial.accuracy:.2%}"
    return [
        str(trial.number), WORDS[trial.state], accuracy, f"{len(trial.curve)}/{epochs}", duration(spent),
        escape(values_of(trial)),
    ]  # fmt: skip


def _write_page(study: Study, path: Path) -> None:
    from mien.files import write_text
    from mien.report.study_page import to_html

    write_text(path, to_html(study))
