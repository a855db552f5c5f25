"""Where the results of `mien predict` go: the options that say so, and the sinks they ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.output import tell
from mien.cli.predict_text import JsonLines, Summary, Table

if TYPE_CHECKING:
    from mien.media import Item
    from mien.output.annotated import AnnotationWriter
    from mien.output.eaf import EafFile
    from mien.output.sink import Sink
    from mien.output.writers import RowStyle
    from mien.run import Run


@dataclass(frozen=True)
class ResultOptions:
    """What is written of each picture."""

    out: Annotated[
        str | None,
        typer.Option(
            help="Write a row for each face to FILE.jsonl, .csv, .csv.gz or .parquet; with --engine: a folder or "
            "address."
        ),
    ] = None
    annotate: Annotated[
        Path | None, typer.Option(help="Draw boxes, labels and bars into this folder; a video gives an MP4.")
    ] = None
    blur_faces: Annotated[bool, typer.Option("--blur-faces", help="Make the faces unrecognizable in --annotate.")] = (
        False
    )
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON lines, one for each face, instead of a table.")
    ] = False

    @property
    def file(self) -> Path | None:
        """The file of rows."""
        return Path(self.out) if self.out else None

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is printed for each picture, so that a progress bar may be shown."""
        return not self.as_json and bool(self.out or self.annotate)

    def shared_on_resume(self) -> dict[str, object]:
        """What a resumed run must share with the first: the pictures of a run are all alike."""
        return {"annotate": str(self.annotate or ""), "blur_faces": self.blur_faces}


@dataclass(frozen=True)
class VideoOptions:
    """What is written of a whole video."""

    summary: Annotated[
        bool,
        typer.Option("--summary", help="For a video: say how long and how often each face shows each expression."),
    ] = False
    eaf: Annotated[
        Path | None, typer.Option(help="For one video: write who shows what and when to FILE.eaf, for ELAN.")
    ] = None
    timeline: Annotated[
        Path | None, typer.Option(help="For one video: draw who shows what and when to FILE.html or FILE.svg.")
    ] = None
    no_thumbnails: Annotated[bool, typer.Option("--no-thumbnails", help="Leave the faces out of --timeline.")] = False


@dataclass(frozen=True)
class RunOptions:
    """How a run goes on, and what its rows look like."""

    resume: Annotated[bool, typer.Option("--resume", help="Go on where an unfinished run into --out stopped.")] = False
    dedupe: Annotated[
        bool, typer.Option("--dedupe", help="Leave out files that are byte for byte copies of others.")
    ] = False
    no_face_rows: Annotated[
        bool | None,
        typer.Option(
            "--no-face-rows/--face-rows-only",
            help="In --out and --json: a row for each picture or frame without a face, too; default: in videos.",
        ),
    ] = None
    spreadsheet: Annotated[
        bool,
        typer.Option("--spreadsheet", help="In .csv: an apostrophe before text that a spreadsheet would compute."),
    ] = False
    profile: Annotated[bool, typer.Option("--profile", help="Say at the end where the time went.")] = False
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace output that exists.")] = False

    def row_style(self) -> RowStyle:
        """The rows as they were asked for."""
        from mien.output.writers import RowStyle

        return RowStyle(self.no_face_rows, self.spreadsheet)


def refused_for_shards(
    results: ResultOptions, video: VideoOptions, running: RunOptions, threads: int
) -> dict[str, object]:
    """The options that a run in shards does not obey, and what was given.

    --resume is none of them: a run in shards always goes on with what is there.
    """
    return {
        "--annotate": results.annotate, "--blur-faces": results.blur_faces, "--json": results.as_json,
        "--summary": video.summary, "--eaf": video.eaf, "--timeline": video.timeline,
        "--no-thumbnails": video.no_thumbnails, "--dedupe": running.dedupe, "--profile": running.profile,
        "--overwrite": running.overwrite, "--threads": threads, "--no-face-rows": running.no_face_rows,
        "--spreadsheet": running.spreadsheet,
    }  # fmt: skip


def check_results(results: ResultOptions, running: RunOptions) -> None:
    """Refuse options that need others."""
    from mien.files import is_stream

    if results.blur_faces and not results.annotate:
        raise typer.BadParameter("--blur-faces changes the pictures of --annotate; name a folder for them")
    if running.resume and not (results.file and not is_stream(results.file)):
        raise typer.BadParameter("--resume goes on with a file of results; name it with --out")


def is_complete(run: Run, results: ResultOptions, running: RunOptions) -> bool:
    """Whether a run that is to be resumed has been finished before."""
    if not (running.resume and results.file):
        return False
    return run.is_finished(results.file, also=results.shared_on_resume(), style=running.row_style())


@dataclass(frozen=True)
class PredictSinks:
    """The sinks that have something to say when they are closed."""

    video: VideoOptions
    gallery: AnnotationWriter | None
    eaf: EafFile | None

    def tell_notes(self) -> None:
        """Say what was written for videos, and where drawings fall short."""
        for note in self.gallery.notes if self.gallery else ():
            tell(note)
        for what, place in (("timeline", self.video.timeline), ("episodes for ELAN", self.video.eaf)):
            if place and place.exists():
                tell(f"{what} in {place}")
        if self.eaf and self.eaf.episodes == 0:
            tell(f"{self.video.eaf}: it has no tier: no face shows an expression in two frames or more of this video")


def add_sinks(run: Run, results: ResultOptions, video: VideoOptions, running: RunOptions) -> PredictSinks:
    """Add what was asked for. Sinks close in the opposite order: the summary is printed when every file is there."""
    items, overwrite = run.items, running.overwrite
    if video.summary:
        run.add_sink(Summary(items, err=results.as_json))
    if video.timeline:
        # A blurred film must not come with sharp faces.
        thumbnails = not (video.no_thumbnails or results.blur_faces)
        run.add_sink(_timeline_file(items, video.timeline, overwrite=overwrite, thumbnails=thumbnails))
    eaf = _eaf_file(items, video.eaf, overwrite=overwrite) if video.eaf else None
    if eaf:
        run.add_sink(eaf)
    if results.file:
        _add_rows(run, results.file, results, running)
    gallery = _gallery(items, results, running)
    if gallery:
        run.add_drawing(gallery)
    if results.as_json:
        run.add_sink(JsonLines(running.no_face_rows))
    elif not results.out:
        run.add_sink(Table(items))
    return PredictSinks(video, gallery, eaf)


def _add_rows(run: Run, file: Path, results: ResultOptions, running: RunOptions) -> None:
    from mien.files import is_stream

    style = running.row_style()
    if is_stream(file):
        from mien.output.row_stream import RowStream

        run.add_sink(RowStream(file, run.recognizer.classes, style))
    else:
        also = results.shared_on_resume()
        run.add_rows(file, overwrite=running.overwrite, resume=running.resume, also=also, style=style)


def _gallery(items: Sequence[Item], results: ResultOptions, running: RunOptions) -> AnnotationWriter | None:
    if not results.annotate:
        return None
    from mien.output.annotated import AnnotationWriter  # late: who draws nothing starts without it

    return AnnotationWriter(
        results.annotate, items, overwrite=running.overwrite or running.resume, blur=results.blur_faces
    )


def _timeline_file(items: Sequence[Item], path: Path, *, overwrite: bool, thumbnails: bool) -> Sink:
    from mien.report.timeline_page import TimelineFile

    if len(items) > 1 or not (items[0].path or items[0].is_live):
        raise typer.BadParameter(f"--timeline draws one video, found {len(items)} sources")
    return TimelineFile(path, overwrite=overwrite, thumbnails=thumbnails)


def _eaf_file(items: Sequence[Item], path: Path, *, overwrite: bool) -> EafFile:
    from mien.output.eaf import EafFile

    if items[0].is_live:
        raise typer.BadParameter("--eaf refers to a video's file, and what is live has none; record it first")
    if len(items) > 1 or items[0].path is None:
        raise typer.BadParameter(f"--eaf describes one video, found {len(items)} sources")
    return EafFile(items[0].path, path, overwrite=overwrite)
