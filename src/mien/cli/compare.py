"""`mien compare`: two models on the same labeled data -> which is better, and whether that is more than chance."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli.options import (
    MEGABYTES,
    MEGAPIXELS,
    MODEL_HELP,
    AnswerOption,
    LabelMapOption,
    MaxBytesOption,
    MaxPixelsOption,
    PriorOption,
    PriorStrengthOption,
    ThreadsOption,
    UnsealedOption,
    labeled_data,
    limits_of,
    registered,
)
from mien.cli.output import name_items, say_passed_over, say_text, write_charts, write_file
from mien.cli.progress import ProgressBar
from mien.printable import escaped

EXAMPLES = """Examples:

mien compare default mine.onnx data/fer2013 --html comparison.html

mien compare old.onnx new.onnx images --split test --json comparison.json

mien compare default default data/fer2013 --prior-b even"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXAMPLES)(compare)


def compare(
    a: Annotated[str, typer.Argument(help=MODEL_HELP, callback=registered)],
    b: Annotated[str, typer.Argument(help="The other one; differences are B minus A.", callback=registered)],
    data: Annotated[
        Path,
        typer.Argument(
            help="<split>/<class>/ or <class>/ folders, or a CSV: path,label[,split,...].", callback=labeled_data
        ),
    ],
    answer: AnswerOption = None,
    answer_b: Annotated[str | None, typer.Option(help="The answer of B, if it differs from --answer.")] = None,
    prior: PriorOption = "training",
    prior_b: Annotated[str | None, typer.Option(help="The prior of B, if it differs from --prior.")] = None,
    prior_strength: PriorStrengthOption = 1.0,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "validation",
    as_json: Annotated[Path | None, typer.Option("--json", help="Write every number to this file.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write one self-contained page to this file.")] = None,
    figures: Annotated[
        Path | None, typer.Option("--figures", help="Write each chart as SVG and PDF into this folder.")
    ] = None,
    detector: Annotated[
        str | None, typer.Option(help="The pictures are whole photos: find the face with yunet, haar or opencv-yunet.")
    ] = None,
    exclude: Annotated[Path | None, typer.Option(help="CSV with a column path: pictures to leave out.")] = None,
    shared_only: Annotated[
        bool, typer.Option("--shared-only", help="Leave out classes that one of the models does not know.")
    ] = False,
    label_map: LabelMapOption = "",
    threads: ThreadsOption = 0,
    max_pixels: MaxPixelsOption = MEGAPIXELS,
    max_bytes: MaxBytesOption = MEGABYTES,
    unsealed: UnsealedOption = False,
) -> None:
    """Compare two models on the same labeled pictures: a paired test, where they disagree, and on which faces.

    Exit code: 0 done, 1 some pictures could not be read (each is named), 2 wrong use or unusable data.
    """
    from mien.dataset import exclude as without
    from mien.dataset import open_dataset, read_label_map, relabeled
    from mien.detect import make_detector
    from mien.measure.compare import compare as measure
    from mien.model.bundle import load_bundle
    from mien.model.prior import as_prior
    from mien.model.session import Session
    from mien.report import comparison_to_html, comparison_to_json, comparison_to_text
    from mien.report.figures import comparison_figures

    asked = ((a, answer, prior), (b, answer_b or answer, prior_b or prior))
    first, second = (
        Session(load_bundle(name, unsealed=unsealed), threads, answer=wanted, prior=as_prior(mix, prior_strength))
        for name, wanted, mix in asked
    )
    found = open_dataset(data, split)
    say_passed_over([found])
    found = without(found, exclude) if exclude else found
    if label_map:
        found = relabeled(found, read_label_map(label_map))
    with ProgressBar() as bar:
        result = measure(
            first,
            second,
            found,
            detector=make_detector(detector) if detector else None,
            shared_only=shared_only,
            limits=limits_of(max_pixels, max_bytes),
            progress=bar,
        )
    say_text(comparison_to_text(escaped(result)))
    for path, write in ((as_json, comparison_to_json), (html, comparison_to_html)):
        if path:
            write_file(path, write(result))
    if figures:
        write_charts(comparison_figures(result), figures)
    name_items("no face found", [str(s.path) for s in result.missed])
    name_items("", list(result.failures))
    if result.failures:
        raise typer.Exit(1)
