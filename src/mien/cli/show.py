"""What `mien predict` prints: a table, JSON lines, and what a video shows from when to when."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mien.output.files import check_free

if TYPE_CHECKING:
    from mien.media import Item
    from mien.records import Failure, FrameReadings, Reading

NAME_WIDTH = 44


def print_json(number: int, result: FrameReadings | Failure) -> None:
    """One line a face, or a failure."""
    from mien.output.rows import json_line, rows_of

    for row in rows_of(result):
        typer.echo(json_line(row), nl=False)


class Table:
    """Lines that align without knowing what comes: the picture's column is as wide as the longest name."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.width = min(max(max(len(i.source) for i in items), len("picture")), NAME_WIDTH)
        typer.secho(
            f"{'picture':{self.width}}  face  expression         next                  box x1 y1 x2 y2", bold=True
        )

    def add(self, number: int, result: FrameReadings | Failure) -> None:
        """Print what was read in one frame."""
        from mien.records import Failure

        if isinstance(result, Failure):
            return
        frame = result.frame
        name = frame.source if frame.time_s is None else f"{frame.source} @{frame.time_s:.2f}s"
        name = name.encode("utf-8", "backslashreplace").decode()  # a name need not be text
        name = name if len(name) <= self.width else "..." + name[3 - self.width :]
        if not result.readings:
            typer.echo(f"{name:{self.width}}     -  no face found")
        for index, reading in enumerate(result.readings):
            typer.echo(f"{name if index == 0 else '':{self.width}}  {index + 1:4}  {_describe(reading)}")


def _describe(reading: Reading) -> str:
    ranked = sorted(reading.expression.as_dict().items(), key=lambda pair: -pair[1])
    (first, p1), (second, p2) = ranked[0], ranked[1]
    box = " ".join(f"{round(v):4}" for v in reading.face.box_xyxy)
    return f"{first:10} {p1:6.1%}  {second:10} {p2:6.1%}  {box}"


class Watch:
    """What is shown from when to when in each video of a run."""

    def __init__(
        self, items: Sequence[Item], eaf: Path | None, timeline: Path | None, *, overwrite: bool, thumbnails: bool
    ) -> None:
        from mien.temporal.episodes import Observer
        from mien.temporal.timeline import Recorder

        if timeline:
            from mien.report.timeline_page import check_timeline_path

            if len(items) > 1 or not (items[0].path or items[0].is_live):
                raise typer.BadParameter(f"--timeline draws one video, found {len(items)} sources")
            check_timeline_path(timeline, overwrite=overwrite)
        if eaf and items[0].is_live:
            raise typer.BadParameter("--eaf refers to a video's file, and what is live has none; record it first")
        if eaf and (len(items) > 1 or items[0].path is None):
            raise typer.BadParameter(f"--eaf describes one video, found {len(items)} sources")
        if eaf:
            check_free(eaf, overwrite=overwrite)
        self.items, self.eaf, self.overwrite = items, eaf, overwrite
        self.timeline = timeline
        self.recorder = Recorder(thumbnails=thumbnails) if timeline else None
        self.observers = [self.recorder] if self.recorder else [Observer() for _ in items]

    def add(self, number: int, result: FrameReadings | Failure) -> None:
        """Take what was read in one frame of item `number`."""
        from mien.records import Failure

        if not isinstance(result, Failure):
            self.observers[number].add(result)

    def close(self, *, show: bool, err: bool) -> None:
        """Write, and show on stdout or (`err`) beside it."""
        from mien.output.eaf import write_elan
        from mien.temporal.episodes import totals

        for item, observer in zip(self.items, self.observers, strict=True):
            episodes = observer.finish()
            if self.eaf and item.path:
                write_elan(episodes, item.path, self.eaf, overwrite=self.overwrite)
            if self.timeline and self.recorder:
                from mien.report.timeline_page import write_timeline

                write_timeline(self.recorder.timeline(), self.timeline, overwrite=self.overwrite)
            if show and episodes:
                typer.secho(
                    f"{item.source}\n{'track':>5}  expression  seconds  episodes    first     last", bold=True, err=err
                )
                for t in totals(episodes):
                    typer.echo(
                        f"{t.track:5}  {t.label:10}  {t.seconds:7.1f}  {t.episodes:8}  {t.first_s:7.1f}  "
                        f"{t.last_s:7.1f}",
                        err=err,
                    )
