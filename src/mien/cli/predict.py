"""`mien predict`: pictures in, expressions out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.option_groups import AnswerOptions, DetectorOptions, LimitOptions, with_groups
from mien.cli.options import (
    TIME,
    DeviceOption,
    FullSizeOption,
    ModelOption,
    ThreadsOption,
    UnsealedOption,
    seconds,
    tell_seal,
)
from mien.cli.output import tell
from mien.cli.predict_sinks import (
    ResultOptions,
    RunOptions,
    VideoOptions,
    add_sinks,
    check_results,
    is_complete,
    refused_for_shards,
)
from mien.cli.predict_text import print_counts, print_profile
from mien.cli.progress import ProgressBar
from mien.cli.shards import ShardOptions, predict_shards
from mien.cli.weight_options import WeightOptions, bundle_of

if TYPE_CHECKING:
    from mien.media import Clip

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


@dataclass(frozen=True)
class FrameOptions:
    """Which frames of a video are read."""

    every: Annotated[
        float | None,
        typer.Option(help="In a video: read one frame every so many seconds.", parser=seconds, metavar=TIME),
    ] = None
    fps: Annotated[
        float | None, typer.Option(help="In a video: read so many frames a second, instead of --every.", min=0.001)
    ] = None
    start: Annotated[
        float | None,
        typer.Option(help="In a video: begin here, such as 90, 90s or 1:30.", parser=seconds, metavar=TIME),
    ] = None
    end: Annotated[
        float | None,
        typer.Option(
            help="In a video: end here; in a live stream, counted from its first frame.", parser=seconds, metavar=TIME
        ),
    ] = None
    detect_every: Annotated[
        int,
        typer.Option(help="In a video: look for faces in every n-th frame, and follow their motion in between.", min=1),
    ] = 1

    def clip(self) -> Clip:
        """The part of a video to read, and how often."""
        from mien.media import Clip

        if self.every and self.fps:
            raise typer.BadParameter("--every and --fps say the same thing; give one of them")
        return Clip(self.start or 0.0, self.end, 1 / self.fps if self.fps else self.every)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXAMPLES)(with_groups(predict))


def predict(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="Pictures, videos, folders, archives, patterns, camera:0, rtsp:// or http:// video, or - for stdin."
        ),
    ],
    *,
    results: ResultOptions,
    model: ModelOption = "default",
    answers: AnswerOptions,
    detectors: DetectorOptions,
    device: DeviceOption = "auto",
    full_size: FullSizeOption = False,
    frames: FrameOptions,
    video: VideoOptions,
    threads: ThreadsOption = 0,
    shards: ShardOptions,
    running: RunOptions,
    limits: LimitOptions,
    unsealed: UnsealedOption = False,
    weights: WeightOptions,
) -> None:
    """Find faces and read the expression each one shows.

    Exit code: 0 done, 1 some pictures failed (each is named), 2 nothing could be read or wrong use.
    """
    from mien.batch import Job
    from mien.media import list_items
    from mien.run import Run

    shards.check(refused_for_shards(results, video, running, threads))
    job = Job(
        model, detectors.name, detectors.min_face, detectors.min_score, detectors.detector_model,
        1 if shards.engine else threads, frames.clip(), frames.detect_every, unsealed=unsealed, answer=answers.answer,
        prior=answers.expected_mix(), turned=detectors.turned, device=device, limits=limits.limits(),
        full_size=full_size,
    )  # fmt: skip
    if shards.engine:
        with bundle_of(model, weights) as path:
            predict_shards(sources, results.out, replace(job, model=path), shards)
        return
    check_results(results, running)
    items = list_items(sources, tell)
    if running.resume and any(item.is_live for item in items):
        raise typer.BadParameter("--resume reads again what was not read to its end; what is live cannot be")
    with (
        bundle_of(model, weights) as path,
        Run(
            items,
            replace(job, model=path),
            workers=shards.workers or 1,
            dedupe=running.dedupe,
            sources=sources,
            tell=tell,
        ) as run,
    ):
        session = run.recognizer.session
        if is_complete(run, results, running):
            tell(f"{results.out} is complete; nothing is left to do")
            print_counts(run.counts, results.file, results.annotate, session)
            raise typer.Exit(run.counts.exit_code)
        tell_seal(session.bundle, model)
        sinks = add_sinks(run, results, video, running)
        before = run.counts.pictures
        long = len(items) > FEW or any(item.is_video for item in items)
        with ProgressBar(shown=long and results.is_quiet) as bar:
            counts = run.read(bar)
    sinks.tell_notes()
    if running.profile:
        print_profile(run.recognizer.clock, counts.pictures - before)
    print_counts(counts, results.file, results.annotate, session)
    if counts.exit_code:
        raise typer.Exit(counts.exit_code)
