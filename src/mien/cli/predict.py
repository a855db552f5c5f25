"""`mien predict`: pictures in, expressions out."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.options import (
    TIME,
    DetectorModelOption,
    DetectorOption,
    MinFaceOption,
    MinScoreOption,
    ModelOption,
    ThreadsOption,
    seconds,
)
from mien.cli.progress import progress
from mien.cli.show import Table, Watch, print_json

if TYPE_CHECKING:
    from mien.batch import Job
    from mien.media import Item
    from mien.output.writers import ResultWriter
    from mien.pipeline import Recognizer
    from mien.records import Failure, FrameReadings
    from mien.timing import Stopwatch

EXAMPLES = """Examples:

mien predict photo.jpg

mien predict holiday/ --out faces.csv --annotate annotated/

mien predict interview.mp4 --fps 5 --start 1:30 --out faces.parquet

mien predict rtsp://NAME:PASSWORD@camera.local/stream --fps 5 --end 10:00 --out faces.csv

mien predict archive/ --out faces.parquet --workers 2 --resume

curl -s https://example.org/photo.jpg | mien predict - --json"""

FEW = 3
"""Up to this many pictures no progress bar is shown."""

Consumer = Callable[[int, "FrameReadings | Failure"], None]
"""Takes the number of the item and what was read in one of its frames."""


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
    out: Annotated[Path | None, typer.Option(help="Write a row a face to FILE.jsonl, .csv or .parquet.")] = None,
    annotate: Annotated[
        Path | None, typer.Option(help="Draw boxes, labels and bars into this folder; a video gives an MP4.")
    ] = None,
    blur_faces: Annotated[
        bool, typer.Option("--blur-faces", help="Make the faces unrecognizable in --annotate.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines, one a face, instead of a table.")] = False,
    model: ModelOption = "default",
    detector: DetectorOption = None,
    detector_model: DetectorModelOption = None,
    min_face: MinFaceOption = None,
    min_score: MinScoreOption = None,
    every: Annotated[
        float | None, typer.Option(help="In a video: one frame every so many seconds.", parser=seconds, metavar=TIME)
    ] = None,
    fps: Annotated[
        float | None, typer.Option(help="In a video: so many frames a second; instead of --every.", min=0.001)
    ] = None,
    start: Annotated[
        float | None, typer.Option(help="In a video: from here on, as 90, 90s or 1:30.", parser=seconds, metavar=TIME)
    ] = None,
    end: Annotated[
        float | None,
        typer.Option(
            help="In a video: up to here; of what is live: since its first frame.", parser=seconds, metavar=TIME
        ),
    ] = None,
    detect_every: Annotated[
        int, typer.Option(help="In a video: look for faces in every n-th frame, and go by their motion between.", min=1)
    ] = 1,
    summary: Annotated[
        bool,
        typer.Option("--summary", help="Of a video: how long and how often each face followed shows each expression."),
    ] = False,
    eaf: Annotated[
        Path | None, typer.Option(help="Of one video: write what is shown when to FILE.eaf, for ELAN.")
    ] = None,
    timeline: Annotated[
        Path | None, typer.Option(help="Of one video: draw what everybody shows when to FILE.html or FILE.svg.")
    ] = None,
    no_thumbnails: Annotated[bool, typer.Option("--no-thumbnails", help="No faces in --timeline.")] = False,
    threads: ThreadsOption = 0,
    workers: Annotated[int, typer.Option(help="Processes that read pictures; for many pictures.", min=1)] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an unfinished run into --out stopped.")] = False,
    dedupe: Annotated[
        bool, typer.Option("--dedupe", help="Leave out files that are byte for byte another's copy.")
    ] = False,
    profile: Annotated[bool, typer.Option("--profile", help="Say at the end where the time went.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace output that exists.")] = False,
) -> None:
    """Find faces and read the expression each one shows.

    Exit code: 0 done, 1 some pictures failed (each is named), 2 nothing could be read or wrong use.
    """
    from mien.batch import Job, read_items
    from mien.detect import default_detector_name
    from mien.media import Clip, list_items
    from mien.output.annotated import Gallery
    from mien.output.writers import is_complete, open_writer

    if every and fps:
        raise typer.BadParameter("--every and --fps say the same thing; give one of them")
    if blur_faces and not annotate:
        raise typer.BadParameter("--blur-faces changes the pictures of --annotate; name a folder for them")
    if resume and not out:
        raise typer.BadParameter("--resume goes on with a file of results; name it with --out")
    if resume and out and is_complete(out):
        typer.echo(f"{out} is complete; nothing is left to do", err=True)
        return
    clip = Clip(start or 0.0, end, 1 / fps if fps else every)
    items = list_items(sources)
    live = any(item.is_live for item in items)
    if live and resume:
        raise typer.BadParameter("--resume reads again what was not read to its end; what is live cannot be")
    name = detector or default_detector_name()
    job = Job(model, name, min_face, min_score, detector_model, threads, clip, detect_every, ahead=not live)
    recognizer = job.recognizer()
    watch = None
    if summary or eaf or timeline:
        thumbnails = not (no_thumbnails or blur_faces)  # a blurred film must not come with sharp faces
        watch = Watch(items, eaf, timeline, overwrite=overwrite, thumbnails=thumbnails)
    with ExitStack() as stack:
        consumers: list[Consumer] = []
        writer = None
        if out:
            pictures = {"annotate": str(annotate or ""), "blur_faces": blur_faces}  # those of a run are all alike
            about = None if live else _about(sources, items, job, recognizer) | {"dedupe": dedupe, **pictures}
            writer = open_writer(out, recognizer.classes, overwrite=overwrite, run=about, resume=resume)
            stack.enter_context(writer)
        if annotate:
            gallery = stack.enter_context(Gallery(annotate, items, overwrite=overwrite or resume, blur=blur_faces))
            job = replace(job, gallery=gallery)
        if as_json:
            consumers.append(print_json)
        elif not out:
            consumers.append(Table(items).add)
        if watch:
            consumers.append(watch.add)
        begin = writer.items if writer else 0
        numbered = islice(enumerate(items), begin, None)
        copies = _Copies(numbered) if dedupe else None
        results = read_items(copies or numbered, job, recognizer, workers)
        long = len(items) > FEW or any(item.is_video for item in items)
        show_progress = long and not as_json and bool(out or annotate)
        seen: Counter[str] = Counter()
        try:
            _consume(seen, results, writer, consumers, recognizer.clock, _Bar(len(items), begin, show_progress))
        except KeyboardInterrupt:
            if not items[seen["item"]].is_live:
                raise
            seen["unread"] = len(items) - 1 - seen["item"]
            typer.echo("mien: stopped; what has been read so far is kept", err=True)
    for note in job.gallery.notes if job.gallery else ():
        typer.echo(f"mien: {note}", err=True)
    if watch:
        watch.close(show=summary, err=as_json)
    if profile:
        _print_profile(recognizer.clock, seen["pictures"])
    _report(seen, copies.left_out if copies else 0, out, annotate)
    if seen["failed"] or seen["unread"]:
        raise typer.Exit(1 if seen["pictures"] else 2)


def _consume(
    seen: Counter[str],
    results: Iterable[tuple[int, FrameReadings | Failure]],
    writer: ResultWriter | None,
    consumers: Sequence[Consumer],
    clock: Stopwatch,
    bar: _Bar,
) -> None:
    from mien.records import Failure

    with bar:
        for number, result in results:
            seen["item"] = number
            if isinstance(result, Failure):
                seen["failed"] += 1
                typer.echo(f"mien: {result.message}", err=True)
            else:
                seen["pictures"] += 1
                seen["faces"] += len(result.readings)
            with clock.stage("write"):
                if writer:
                    if number > writer.items:  # whatever came before this item is done
                        writer.done(number)
                    writer.write(result)
                for consume in consumers:
                    consume(number, result)
            bar.reached(number, None if isinstance(result, Failure) else result.frame.time_s, seen)


class _Bar:
    """Progress over the items, with the speed so far."""

    def __init__(self, total: int, begin: int, shown: bool) -> None:
        self._bar = progress(disable=not shown)
        self._task = self._bar.add_task("reading", total=total, completed=begin, note="")
        self._started = time.monotonic()

    def __enter__(self) -> None:
        self._bar.start()

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def reached(self, number: int, time_s: float | None, seen: Counter[str]) -> None:
        """Item `number` is being read, a video up to this time."""
        speed = seen["pictures"] / max(time.monotonic() - self._started, 1e-3)
        at = "" if time_s is None else f"at {int(time_s) // 60}:{time_s % 60:04.1f}, "
        self._bar.update(self._task, completed=number, note=f"{at}{speed:.1f} pictures/s, {seen['faces']} faces")


class _Copies:
    """Items whose bytes have not come before; counts those left out. Holds 16 bytes an item."""

    def __init__(self, items: Iterable[tuple[int, Item]]) -> None:
        self.left_out = 0
        self._items = items

    def __iter__(self) -> Iterator[tuple[int, Item]]:
        from mien.media import item_bytes

        known: set[bytes] = set()
        for number, item in self._items:
            data = item_bytes(item)
            digest = hashlib.blake2b(data, digest_size=16).digest() if data is not None else b""
            if digest in known:
                self.left_out += 1
                continue
            if digest:
                known.add(digest)
            yield number, item


def _about(sources: Sequence[str], items: Sequence[Item], job: Job, recognizer: Recognizer) -> dict[str, object]:
    """What the rows of this run follow from."""
    names = hashlib.sha256("\0".join(item.source for item in items).encode("utf-8", "surrogateescape"))
    return {
        "sources": list(sources),
        "items": len(items),
        "items_sha256": names.hexdigest(),
        "model": recognizer.session.manifest.name,
        "model_sha256": hashlib.sha256(recognizer.session.bundle.model).hexdigest(),
        "detector": job.detector,
        "min_face": job.min_face,
        "min_score": job.min_score,
        "detector_model": str(job.detector_model or ""),
        "clip": [job.clip.start_s, job.clip.end_s, job.clip.every_s],
        "detect_every": job.detect_every,
    }


def _print_profile(clock: Stopwatch, pictures: int) -> None:
    total = sum(clock.seconds.values())
    typer.secho(f"{'stage':10} {'seconds':>9} {'share':>7} {'ms/picture':>11}", bold=True, err=True)
    for name, spent in sorted(clock.seconds.items(), key=lambda pair: -pair[1]):
        share, each = spent / (total or 1), 1000 * spent / max(pictures, 1)
        typer.echo(f"{name:10} {spent:9.2f} {share:7.1%} {each:11.2f}", err=True)


def _report(seen: Counter[str], copies: int, out: Path | None, annotate: Path | None) -> None:
    failed = f", {seen['failed']} failed" if seen["failed"] else ""
    failed += f", {_count(seen['unread'], 'source')} not read" if seen["unread"] else ""
    left_out = f", {_count(copies, 'copy', 'copies')} left out" if copies else ""
    places = "".join(
        f"; {what} in {place}" for what, place in (("rows", out), ("annotated pictures", annotate)) if place
    )
    counts = f"{_count(seen['pictures'], 'picture')}, {_count(seen['faces'], 'face')}"
    typer.echo(f"{counts}{failed}{left_out}{places}", err=True)


def _count(number: int, noun: str, plural: str = "") -> str:
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
