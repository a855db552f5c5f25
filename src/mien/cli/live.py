"""`mien live`: what faces before a camera show, as it happens."""

from __future__ import annotations

import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.option_groups import AnswerOptions, DetectorOptions, LimitOptions, Without, with_groups
from mien.cli.options import TIME, DeviceOption, ModelOption, ThreadsOption, UnsealedOption, open_bundle
from mien.cli.options import seconds as parse_seconds
from mien.cli.output import say

if TYPE_CHECKING:
    from mien.live import Live

EXAMPLES = """Examples:

mien live

mien live rtsp://NAME:PASSWORD@camera.local/stream --out faces.csv

mien live interview.mp4 --seconds 30

mien live camera:1 --json | jq .label"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXAMPLES)(with_groups(live))


def live(
    source: Annotated[
        str, typer.Argument(help="camera:0, camera:/dev/video2, an rtsp:// or http:// stream, or a video file.")
    ] = "camera:0",
    *,
    seconds: Annotated[
        float | None,
        typer.Option(help="End after this time; without it, Ctrl-C ends.", parser=parse_seconds, metavar=TIME),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write a row for each face to FILE.jsonl, .csv, .csv.gz or .parquet.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines, one for each face and frame.")] = False,
    window: Annotated[
        bool, typer.Option("--window", help="Show the pictures in a window, too; q closes it. Not over ssh.")
    ] = False,
    model: ModelOption = "default",
    unsealed: UnsealedOption = False,
    answers: AnswerOptions,
    detectors: DetectorOptions,
    device: DeviceOption = "auto",
    detect_every: Annotated[
        int, typer.Option(help="Look for faces in every n-th frame, and follow their motion in between.", min=1)
    ] = 1,
    limits: Annotated[LimitOptions, Without("max_bytes"), Without("truncated")],
    threads: ThreadsOption = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file of --out.")] = False,
) -> None:
    """Show what the faces before a camera express, until Ctrl-C; then say how long each expression was shown.

    On a terminal a table is kept up to date; else a line is printed for each change. The newest frame is read, and what
    comes meanwhile is dropped. A file is played at its own pace.

    Exit code: 0 done or Ctrl-C, 1 the source was lost, 2 nothing could be read or wrong use.
    """
    from mien.cli.live_view import Window, make_view
    from mien.live import Live, open_live
    from mien.output.writers import open_writer
    from mien.pipeline import Recognizer
    from mien.records import Failure

    if seconds is not None and seconds <= 0:
        raise typer.BadParameter(f"expected --seconds above 0, found {seconds:g}")
    recognizer = Recognizer(
        open_bundle(model, unsealed), detectors.make(device), threads=threads, answer=answers.answer,
        prior=answers.prior, prior_strength=answers.prior_strength, device=device,
    )  # fmt: skip
    pane = Window() if window else None
    lost = False
    with ExitStack() as stack:
        writer = stack.enter_context(open_writer(out, recognizer.classes, overwrite=overwrite)) if out else None
        newest = stack.enter_context(closing(open_live(source, seconds=seconds, limits=limits.limits())))
        idle = pane.is_open if pane else lambda: True
        reading = Live(recognizer, newest, detect_every=detect_every, seconds=seconds, idle=idle)
        view = make_view(reading, source, as_json=as_json)
        try:
            with view:
                for moment in reading.run():
                    lost = isinstance(moment, Failure)
                    if writer:
                        writer.add(0, moment if isinstance(moment, Failure) else moment.result)
                    view.show(moment)
                    if pane and not isinstance(moment, Failure):
                        pane.show(moment)
                        if not pane.is_open():
                            break
        except KeyboardInterrupt:
            lost = False
    _summarize(reading, out, err=as_json or not sys.stdout.isatty())
    if lost:
        raise typer.Exit(1 if reading.frames else 2)


def _summarize(reading: Live, out: Path | None, *, err: bool) -> None:
    totals = reading.finish()
    if totals:
        say(f"{'expression':10}  {'seconds':>8}  {'episodes':>8}  {'faces':>5}", bold=True, err=err)
    for total in totals:
        say(f"{total.label:10}  {total.seconds:8.1f}  {total.episodes:8}  {total.faces:5}", err=err)
    where = f"; rows in {out}" if out else ""
    say(f"{reading.frames} frames read, {reading.dropped} dropped, {reading.faces} faces{where}", err=True)
