"""`mien compress`: a bundle -> a smaller and faster one. The work is done by `mien_train`, imported late."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.models import BundleArgument
from mien.cli.options import MOST_THREADS, BundleOutOption, OverwriteOutOption, labeled_data
from mien.cli.output import say, say_json
from mien.cli.progress import ProgressBar
from mien.errors import TrainingError
from mien_train.cli.extras import named_extra

if TYPE_CHECKING:
    from mien_train.bundles.compress import ModelMeasurements

EXAMPLES = """Examples:

mien compress large --data data/fer2013 --out large-int8.onnx

mien compress mine.onnx --data data/fer2013 --out mine-int8.onnx --prune 0.3 --epochs 4"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXAMPLES)(compress)


def compress(
    bundle: BundleArgument,
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            help="The labeled folder that the model was trained on.",
            callback=labeled_data,
        ),
    ],
    out: BundleOutOption,
    int8: Annotated[
        bool, typer.Option("--int8/--no-int8", help="Turn the convolutions, except the first, into 8-bit integers.")
    ] = True,
    prune: Annotated[
        float,
        typer.Option(help="Drop this share of the channels inside each block, then fine-tune.", min=0, max=0.9),
    ] = 0.0,
    epochs: Annotated[int, typer.Option(help="With --prune: epochs of fine-tuning.", min=1)] = 4,
    max_drop: Annotated[
        float, typer.Option(help="Write nothing if accuracy drops by more points than this.", min=0)
    ] = 2.0,
    threads: Annotated[
        int, typer.Option(help="CPU threads to fine-tune on; 0 takes every core.", min=0, max=MOST_THREADS)
    ] = 0,
    exclude: Annotated[
        Path | None, typer.Option(help="CSV with a column path: pictures to leave out, as in training.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the measurements as JSON.")] = False,
    overwrite: OverwriteOutOption = False,
) -> None:
    """Make a model smaller and faster, and show what that costs: accuracy, calibration, size and speed.

    Exit code: 0 written, 2 wrong use, or more than --max-drop points lost: then nothing is written.
    """
    with named_extra():
        from mien_train.bundles.compress import compress as make

    with ProgressBar() as bar:
        result = make(
            bundle, data, out, int8=int8, share=prune, epochs=epochs, max_drop=max_drop, threads=threads,
            without=exclude, overwrite=overwrite, progress=bar,
        )  # fmt: skip
    if as_json:
        document = {
            "bundle": str(out) if result.bundle else None, "steps": result.steps, "samples": result.samples,
            "before": _plain(result.before), "after": _plain(result.after), "lost_points": result.lost,
            "max_drop": max_drop,
        }  # fmt: skip
        say_json(document)
    else:
        for line in result.lines():
            say(line)
    if result.bundle is None:
        raise TrainingError(
            f"{result.lost:.2f} points of accuracy lost, at most {max_drop:g} allowed; nothing is written (prune less, "
            "fine-tune longer, or allow more with --max-drop)"
        )
    if not as_json:
        say(f"written: {out}")


def _plain(measured: ModelMeasurements) -> dict[str, object]:
    qualities = [{**asdict(quality), "value": quality.value._asdict()} for quality in measured.qualities]
    return {**asdict(measured), "qualities": qualities}
