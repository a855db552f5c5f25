"""What `mien tune` shows while it searches: a live table, a line for each finished trial, the page."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mien.cli.output import say
from mien.cli.progress import progress

if TYPE_CHECKING:
    from rich.table import Table

    from mien.report.study import Study, Trial

ROWS = 12
"""So many finished trials are shown live, the best."""


class StudyScreen:
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

    def __enter__(self) -> StudyScreen:
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
