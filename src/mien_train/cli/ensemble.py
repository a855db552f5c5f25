"""`mien ensemble`: several bundles -> one that answers with their mean. The work is done by `mien_train`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.options import MODEL_HELP, BundleOutOption, OverwriteOutOption, labeled_data, registered_names
from mien.cli.output import say, say_json
from mien.cli.progress import ProgressBar
from mien_train.cli.extras import named_extra

if TYPE_CHECKING:
    from mien_train.bundles.ensemble import MemberMeasurements


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: mien ensemble first.onnx second.onnx --data data/fer2013 --out both.onnx")(ensemble)


def ensemble(
    bundles: Annotated[
        list[str],
        typer.Argument(
            help=f"Models of the same classes and input, each {MODEL_HELP[:1].lower()}{MODEL_HELP[1:]}",
            callback=registered_names,
        ),
    ],
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            help="The labeled folder that they were trained on.",
            callback=labeled_data,
        ),
    ],
    out: BundleOutOption,
    average_weights: Annotated[
        bool,
        typer.Option(
            "--average-weights",
            help="Average the weights into one network, as fast as each. One bundle must have begun (--init) with the "
            "other's weights.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the measurements as JSON.")] = False,
    overwrite: OverwriteOutOption = False,
) -> None:
    """Put several models into one file that answers with their mean, and show what that gains.

    It is as slow as all of them together: `mien compress` them first. With --average-weights it is as fast as one.
    """
    with named_extra():
        from mien_train.bundles.ensemble import ensemble as make

    with ProgressBar() as bar:
        result = make(bundles, data, out, average_weights=average_weights, overwrite=overwrite, progress=bar)
    if as_json:
        members = [_plain(m) for m in result.members]
        document = {
            "bundle": str(out), "samples": result.samples, "members": members, "together": _plain(result.together)
        }  # fmt: skip
        say_json(document)
        return
    for line in result.lines():
        say(line)
    say(f"written: {out}")


def _plain(measured: MemberMeasurements) -> dict[str, object]:
    qualities = [{**asdict(quality), "value": quality.value._asdict()} for quality in measured.qualities]
    return {**asdict(measured), "qualities": qualities}
