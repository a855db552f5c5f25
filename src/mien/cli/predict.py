"""`mien predict`: pictures in, expressions out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.options import (
    MEGABYTES,
    MEGAPIXELS,
    MOST_THREADS,
    TIME,
    AnswerOption,
    DetectorModelOption,
    DetectorOption,
    DeviceOption,
    FullSizeOption,
    MaxBytesOption,
    MaxPixelsOption,
    MinFaceOption,
    MinScoreOption,
    ModelOption,
    PriorOption,
    PriorStrengthOption,
    ThreadsOption,
    TruncatedOption,
    TurnedOption,
    UnsealedOption,
    limits_of,
    seconds,
)
from mien.cli.output import say, tell
from mien.cli.progress import ProgressBar
from mien.cli.shards import EngineName, predict_shards, refuse_for_engine
from mien.cli.show import JsonLines, Summary, Table
from mien.cli.weight_options import (
    ClassesOption,
    ColorOption,
    MeanOption,
    ModuleOption,
    NetworkOption,
    SizeOption,
    StdOption,
    WeightOptions,
    bundle_of,
)

if TYPE_CHECKING:
    from mien.media import Item
    from mien.model.session import Session
    from mien.output.eaf import EafFile
    from mien.output.sink import Sink
    from mien.run import Counts
    from mien.timing import Stopwatch

EXAMPLES = """Examples:

mien predict photo.jpg

mien predict holiday/ --out faces.csv --annotate annotated/

mien predict interview.mp4 --fps 5 --start 1:30 --out faces.parquet

mien predict rtsp://NAME:PASSWORD@camera.local/stream --fps 5 --end 10:00 --out faces.csv

mien predict archive/ --out faces.parquet --workers 2 --resume

mien predict s3://photos/2025 --out s3://results/2025 --engine local --workers 8

curl -s https://example.org/photo.jpg | mien predict - --json"""

FEW = 3
"""Up to this many pictures no progress bar is shown."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXAMPLES)(predict)


def predict(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="Pictures, videos, folders, archives, patterns, camera:0, rtsp:// or http:// video, or - for stdin."
        ),
    ],
    out: Annotated[
        str | None,
        typer.Option(
            help="Write a row for each face to FILE.jsonl, .csv or .parquet; with --engine: a folder or address."
        ),
    ] = None,
    annotate: Annotated[
        Path | None, typer.Option(help="Draw boxes, labels and bars into this folder; a video gives an MP4.")
    ] = None,
    blur_faces: Annotated[
        bool, typer.Option("--blur-faces", help="Make the faces unrecognizable in --annotate.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON lines, one for each face, instead of a table.")
    ] = False,
    model: ModelOption = "default",
    answer: AnswerOption = None,
    prior: PriorOption = "training",
    prior_strength: PriorStrengthOption = 1.0,
    detector: DetectorOption = None,
    detector_model: DetectorModelOption = None,
    min_face: MinFaceOption = None,
    min_score: MinScoreOption = None,
    turned: TurnedOption = False,
    device: DeviceOption = "auto",
    full_size: FullSizeOption = False,
    every: Annotated[
        float | None,
        typer.Option(help="In a video: read one frame every so many seconds.", parser=seconds, metavar=TIME),
    ] = None,
    fps: Annotated[
        float | None, typer.Option(help="In a video: read so many frames a second, instead of --every.", min=0.001)
    ] = None,
    start: Annotated[
        float | None,
        typer.Option(help="In a video: begin here, such as 90, 90s or 1:30.", parser=seconds, metavar=TIME),
    ] = None,
    end: Annotated[
        float | None,
        typer.Option(
            help="In a video: end here; in a live stream, counted from its first frame.", parser=seconds, metavar=TIME
        ),
    ] = None,
    detect_every: Annotated[
        int,
        typer.Option(help="In a video: look for faces in every n-th frame, and follow their motion in between.", min=1),
    ] = 1,
    summary: Annotated[
        bool,
        typer.Option("--summary", help="For a video: say how long and how often each face shows each expression."),
    ] = False,
    eaf: Annotated[
        Path | None, typer.Option(help="For one video: write who shows what and when to FILE.eaf, for ELAN.")
    ] = None,
    timeline: Annotated[
        Path | None, typer.Option(help="For one video: draw who shows what and when to FILE.html or FILE.svg.")
    ] = None,
    no_thumbnails: Annotated[bool, typer.Option("--no-thumbnails", help="Leave the faces out of --timeline.")] = False,
    threads: ThreadsOption = 0,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes that read pictures; default: 1, and with --engine one a core.", min=1, max=MOST_THREADS
        ),
    ] = None,
    engine: Annotated[
        EngineName | None,
        typer.Option(help="Read one folder, s3:// address or table of keys in shards; give it again to go on."),
    ] = None,
    column: Annotated[
        str | None, typer.Option(help="With --engine and a table: the column that holds the keys.")
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(help="With --engine ray: the address of a running cluster; without it, Ray starts here."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an unfinished run into --out stopped.")] = False,
    dedupe: Annotated[
        bool, typer.Option("--dedupe", help="Leave out files that are byte for byte copies of others.")
    ] = False,
    no_face_rows: Annotated[
        bool | None,
        typer.Option(
            "--no-face-rows/--face-rows-only",
            help="In --out and --json: a row for each picture or frame without a face, too; default: in videos.",
        ),
    ] = None,
    spreadsheet: Annotated[
        bool,
        typer.Option("--spreadsheet", help="In .csv: an apostrophe before text that a spreadsheet would compute."),
    ] = False,
    profile: Annotated[bool, typer.Option("--profile", help="Say at the end where the time went.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace output that exists.")] = False,
    max_pixels: MaxPixelsOption = MEGAPIXELS,
    max_bytes: MaxBytesOption = MEGABYTES,
    truncated: TruncatedOption = False,
    unsealed: UnsealedOption = False,
    network: NetworkOption = "",
    module: ModuleOption = "",
    classes: ClassesOption = "",
    size: SizeOption = "",
    color: ColorOption = None,
    mean: MeanOption = "",
    std: StdOption = "",
) -> None:
    """Find faces and read the expression each one shows.

    Exit code: 0 done, 1 some pictures failed (each is named), 2 nothing could be read or wrong use.
    """
    from mien.batch import Job
    from mien.detect import default_detector_name
    from mien.files import is_stream
    from mien.media import Clip, list_items
    from mien.model.prior import as_prior
    from mien.output.writers import RowStyle
    from mien.run import Run

    if engine:
        # --resume changes nothing here: a run in shards always goes on with what is there.
        refuse_for_engine({
            "--annotate": annotate, "--blur-faces": blur_faces, "--json": as_json, "--summary": summary, "--eaf": eaf,
            "--timeline": timeline, "--no-thumbnails": no_thumbnails, "--dedupe": dedupe, "--profile": profile,
            "--overwrite": overwrite, "--threads": threads, "--no-face-rows": no_face_rows,
            "--spreadsheet": spreadsheet,
        })  # fmt: skip
    elif column or ray_address:
        raise typer.BadParameter("--column and --ray-address belong to --engine")
    if every and fps:
        raise typer.BadParameter("--every and --fps say the same thing; give one of them")
    clip = Clip(start or 0.0, end, 1 / fps if fps else every)
    name, limits = detector or default_detector_name(), limits_of(max_pixels, max_bytes, truncated)
    about = WeightOptions(network, module, classes, size, color, mean, std)
    job = Job(
        model, name, min_face, min_score, detector_model, 1 if engine else threads, clip, detect_every,
        unsealed=unsealed, answer=answer, prior=as_prior(prior, prior_strength), turned=turned, device=device,
        limits=limits, full_size=full_size,
    )  # fmt: skip
    if engine:
        with bundle_of(model, about) as path:
            predict_shards(sources, out, replace(job, model=path), engine, column, ray_address, workers or 0)
        return
    file = Path(out) if out else None
    if blur_faces and not annotate:
        raise typer.BadParameter("--blur-faces changes the pictures of --annotate; name a folder for them")
    if resume and not (file and not is_stream(file)):
        raise typer.BadParameter("--resume goes on with a file of results; name it with --out")
    items = list_items(sources, tell)
    if resume and any(item.is_live for item in items):
        raise typer.BadParameter("--resume reads again what was not read to its end; what is live cannot be")
    gallery, elan, before = None, None, 0
    style = RowStyle(no_face_rows, spreadsheet)
    drawn = {"annotate": str(annotate or ""), "blur_faces": blur_faces}  # the pictures of a run are all alike
    with (
        bundle_of(model, about) as path,
        Run(
            items,
            replace(job, model=path),
            workers=workers or 1,
            dedupe=dedupe,
            sources=sources,
            tell=tell,
        ) as run,
    ):
        if resume and file and run.is_finished(file, also=drawn, style=style):
            tell(f"{out} is complete; nothing is left to do")
            _report(run.counts, file, annotate, run.recognizer.session)
            raise typer.Exit(run.counts.exit_code)
        if not run.recognizer.session.bundle.vouched:
            tell(f"{model}: no seal, taken as it is (--unsealed): nothing shows whether it was altered")
        # They close in the opposite order: the summary is printed when every file is there.
        if summary:
            run.add_sink(Summary(items, err=as_json))
        if timeline:
            thumbnails = not (no_thumbnails or blur_faces)  # a blurred film must not come with sharp faces
            run.add_sink(_timeline_file(items, timeline, overwrite=overwrite, thumbnails=thumbnails))
        if eaf:
            elan = _eaf_file(items, eaf, overwrite=overwrite)
            run.add_sink(elan)
        if file and is_stream(file):
            from mien.output.row_stream import RowStream

            run.add_sink(RowStream(file, run.recognizer.classes, style))
        elif file:
            run.add_rows(file, overwrite=overwrite, resume=resume, also=drawn, style=style)
            before = run.counts.pictures
        if annotate:
            from mien.output.annotated import Gallery

            gallery = Gallery(annotate, items, overwrite=overwrite or resume, blur=blur_faces)
            run.add_drawing(gallery)
        if as_json:
            run.add_sink(JsonLines(no_face_rows))
        elif not out:
            run.add_sink(Table(items))
        long = len(items) > FEW or any(item.is_video for item in items)
        with ProgressBar(shown=long and not as_json and bool(out or annotate)) as bar:
            counts = run.read(bar)
    for note in gallery.notes if gallery else ():
        tell(note)
    for what, place in (("timeline", timeline), ("episodes for ELAN", eaf)):
        if place and place.exists():
            tell(f"{what} in {place}")
    if elan and elan.episodes == 0:
        tell(f"{eaf}: it has no tier: no face shows an expression in two frames or more of this video")
    if profile:
        _print_profile(run.recognizer.clock, counts.pictures - before)
    _report(counts, file, annotate, run.recognizer.session)
    if counts.exit_code:
        raise typer.Exit(counts.exit_code)


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


def _print_profile(clock: Stopwatch, pictures: int) -> None:
    total = sum(clock.seconds.values())
    say(f"{'stage':10} {'seconds':>9} {'share':>7} {'ms/picture':>11}", bold=True, err=True)
    for name, spent in sorted(clock.seconds.items(), key=lambda pair: -pair[1]):
        share, each = spent / (total or 1), 1000 * spent / max(pictures, 1)
        say(f"{name:10} {spent:9.2f} {share:7.1%} {each:11.2f}", err=True)


def _report(counts: Counts, out: Path | None, annotate: Path | None, session: Session) -> None:
    failed = f", {counts.failed} failed" if counts.failed else ""
    failed += f", {_count(counts.unread, 'source')} not read" if counts.unread else ""
    left_out = f", {_count(counts.copies, 'copy', 'copies')} left out" if counts.copies else ""
    places = "".join(
        f"; {what} in {place}" for what, place in (("rows", out), ("annotated pictures", annotate)) if place
    )
    read = f"{_count(counts.pictures, 'picture')}, {_count(counts.faces, 'face')}"
    told = session.answer.name and f"; answer {session.answer.name}"
    told += "" if session.prior.is_training else f"; prior {session.prior}"
    say(f"{read}{failed}{left_out}{told}{places}", err=True)


def _count(number: int, noun: str, plural: str = "") -> str:
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
