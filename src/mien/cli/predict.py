"""`mien predict`: pictures in, expressions out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.progress import progress
from mien.errors import OutputError

if TYPE_CHECKING:
    from mien.media import Item
    from mien.records import Failure, FrameReadings, Reading

EXAMPLES = """Examples:

mien predict photo.jpg

mien predict holiday/ --out faces.csv --annotate annotated/

mien predict interview.mp4 --fps 5 --start 1:30 --out faces.parquet

curl -s https://example.org/photo.jpg | mien predict - --json"""

FEW = 3
"""Up to this many pictures no progress bar is shown."""

NAME_WIDTH = 44

TIME = "TIME"

Consumer = Callable[[int, "FrameReadings | Failure"], None]
"""Takes the number of the item and what was read in one of its frames."""


def seconds(text: str) -> float:
    """A time as people write it, 90, 90s, 1:30 or 1:02:03.5, in seconds."""
    value = 0.0
    try:
        for part in text.removesuffix("s").split(":"):
            value = value * 60 + float(part)
        if not math.isfinite(value):
            raise ValueError
    except ValueError:
        raise typer.BadParameter(f"expected a time such as 90, 0.5s or 1:30, found {text!r}") from None
    return value


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXAMPLES)(predict)


def predict(
    sources: Annotated[list[str], typer.Argument(help="Pictures, videos, folders, patterns, or - for bytes on stdin.")],
    out: Annotated[Path | None, typer.Option(help="Write a row a face to FILE.jsonl, .csv or .parquet.")] = None,
    annotate: Annotated[Path | None, typer.Option(help="Draw boxes, labels and bars into this folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines, one a face, instead of a table.")] = False,
    model: Annotated[str, typer.Option(help="A bundled model's name, or a .onnx file.")] = "default",
    detector: Annotated[str | None, typer.Option(help="libface (default), haar, yunet or whole.")] = None,
    detector_model: Annotated[Path | None, typer.Option(help="The detector's own file: yunet's, or a cascade.")] = None,
    min_face: Annotated[
        float | None, typer.Option(help="Smallest face wanted, in pixels; default: 2 % of the longer side.", min=1)
    ] = None,
    min_score: Annotated[
        float | None, typer.Option(help="Least confidence of the detector, 0-1.", min=0, max=1)
    ] = None,
    every: Annotated[
        float | None, typer.Option(help="In a video: one frame every so many seconds.", parser=seconds, metavar=TIME)
    ] = None,
    fps: Annotated[
        float | None, typer.Option(help="In a video: so many frames a second; instead of --every.", min=0.001)
    ] = None,
    start: Annotated[
        float | None, typer.Option(help="In a video: from here on, as 90, 90s or 1:30.", parser=seconds, metavar=TIME)
    ] = None,
    end: Annotated[float | None, typer.Option(help="In a video: up to here.", parser=seconds, metavar=TIME)] = None,
    detect_every: Annotated[
        int, typer.Option(help="In a video: look for faces in every n-th frame, and go by their motion between.", min=1)
    ] = 1,
    summary: Annotated[
        bool, typer.Option("--summary", help="Of a video: how long and how often each person shows each expression.")
    ] = False,
    eaf: Annotated[
        Path | None, typer.Option(help="Of one video: write what is shown when to FILE.eaf, for ELAN.")
    ] = None,
    threads: Annotated[int, typer.Option(help="CPU threads; 0 takes every core.", min=0)] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace output that exists.")] = False,
) -> None:
    """Find faces and read the expression each one shows.

    Exit code: 0 done, 1 some pictures failed (each is named), 2 nothing could be read or wrong use.
    """
    from mien.detect import default_detector_name, make_detector
    from mien.media import Clip, list_items, read_item
    from mien.pipeline import Recognizer
    from mien.results import open_writer

    if every and fps:
        raise typer.BadParameter("--every and --fps say the same thing; give one of them")
    clip = Clip(start or 0.0, end, 1 / fps if fps else every)
    items = list_items(sources)
    finder = make_detector(
        detector or default_detector_name(), min_face=min_face, min_score=min_score, model=detector_model
    )
    recognizer = Recognizer(model, finder, threads=threads)
    watch = _Watch(items, eaf, overwrite) if summary or eaf else None
    with ExitStack() as stack:
        consumers: list[Consumer] = []
        if out:
            writer = stack.enter_context(open_writer(out, recognizer.classes, overwrite=overwrite))
            consumers.append(lambda _, result: writer.write(result))
        if annotate:
            consumers.append(_Gallery(annotate, items, overwrite).add)
        if as_json:
            consumers.append(_print_json)
        elif not out:
            consumers.append(_Table(items).add)
        if watch:
            consumers.append(watch.add)
        seen = _run(
            items,
            lambda item: recognizer.read_all(
                read_item(item, max_pixels=recognizer.max_pixels, clip=clip), detect_every=detect_every
            ),
            consumers,
            show_progress=len(items) > FEW and bool(out or annotate),
        )
    if watch:
        watch.close(show=summary, err=as_json)
    _report(seen, out, annotate)
    if seen["failed"]:
        raise typer.Exit(1 if seen["pictures"] else 2)


def _run(
    items: Sequence[Item],
    read: Callable[[Item], Iterable[FrameReadings | Failure]],
    consumers: Sequence[Consumer],
    *,
    show_progress: bool,
) -> Counter[str]:
    from mien.records import Failure

    seen: Counter[str] = Counter()
    with progress(disable=not show_progress) as bar:
        task = bar.add_task("reading", total=len(items), note="")
        for number, item in enumerate(items):
            for result in read(item):
                if isinstance(result, Failure):
                    seen["failed"] += 1
                    typer.echo(f"mien: {result.message}", err=True)
                else:
                    seen["pictures"] += 1
                    seen["faces"] += len(result.readings)
                for consume in consumers:
                    consume(number, result)
            bar.update(task, advance=1, note=f"{seen['faces']} faces")
    return seen


def _print_json(number: int, result: FrameReadings | Failure) -> None:
    from mien.results import json_line, rows_of

    for row in rows_of(result):
        typer.echo(json_line(row), nl=False)


def _report(seen: Counter[str], out: Path | None, annotate: Path | None) -> None:
    failed = f", {seen['failed']} failed" if seen["failed"] else ""
    places = "".join(
        f"; {what} in {place}" for what, place in (("rows", out), ("annotated pictures", annotate)) if place
    )
    typer.echo(f"{_count(seen['pictures'], 'picture')}, {_count(seen['faces'], 'face')}{failed}{places}", err=True)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


class _Table:
    """Lines that align without knowing what comes: the picture's column is as wide as the longest name."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.width = min(max(max(len(i.source) for i in items), len("picture")), NAME_WIDTH)
        typer.secho(
            f"{'picture':{self.width}}  face  expression         next                  box x1 y1 x2 y2", bold=True
        )

    def add(self, number: int, result: FrameReadings | Failure) -> None:
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


class _Watch:
    """What is shown from when to when in each video of a run."""

    def __init__(self, items: Sequence[Item], eaf: Path | None, overwrite: bool) -> None:
        from mien.episodes import Observer

        if eaf and (len(items) > 1 or items[0].path is None):
            raise typer.BadParameter(f"--eaf describes one video, found {len(items)} sources")
        if eaf and eaf.exists() and not overwrite:
            raise OutputError(f"{eaf}: exists already; choose another name, or replace it with --overwrite")
        self.items, self.eaf, self.overwrite = items, eaf, overwrite
        self.observers = [Observer() for _ in items]

    def add(self, number: int, result: FrameReadings | Failure) -> None:
        from mien.records import Failure

        if not isinstance(result, Failure):
            self.observers[number].add(result)

    def close(self, *, show: bool, err: bool) -> None:
        """Write, and show on stdout or (`err`) beside it."""
        from mien.elan import write_elan
        from mien.episodes import totals

        for item, observer in zip(self.items, self.observers, strict=True):
            episodes = observer.finish()
            if self.eaf and item.path:
                write_elan(episodes, item.path, self.eaf, overwrite=self.overwrite)
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


class _Gallery:
    """The annotated pictures of a run: names that do not clash, chosen before the first is written."""

    def __init__(self, folder: Path, items: Sequence[Item], overwrite: bool) -> None:
        used: set[str] = set()  # lower case: some file systems do not tell A.jpg from a.jpg
        self.paths: list[Path] = []
        for item in items:
            stem = Path(item.source).stem if item.path else "stdin"
            names = chain([stem], (f"{stem}-{number}" for number in count(2)))
            name = next(name for name in names if name.lower() not in used)
            used.add(name.lower())
            self.paths.append(folder / f"{name}.jpg")
        existing = [p for p in self.paths if p.exists()]
        if existing and not overwrite:
            raise OutputError(f"{existing[0]} exists already; choose another folder, or replace it with --overwrite")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: expected a folder to write pictures into ({error.strerror})") from error

    def add(self, number: int, result: FrameReadings | Failure) -> None:
        from mien.draw import annotate, write_picture
        from mien.records import Failure

        if isinstance(result, Failure):
            return
        path = self.paths[number]
        if result.frame.time_s is not None:
            path = path.with_name(f"{path.stem}-{result.frame.index:05d}.jpg")
        write_picture(annotate(result.frame.image, result.readings), path)
