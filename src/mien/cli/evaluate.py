"""`mien evaluate`: a model on labeled data -> the course's lines, a table, JSON, a page."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from mien.cli.options import (
    MEGABYTES,
    MEGAPIXELS,
    AnswerOption,
    DeviceOption,
    LabelMapOption,
    MaxBytesOption,
    MaxPixelsOption,
    ModelOption,
    PriorOption,
    PriorStrengthOption,
    ThreadsOption,
    UnsealedOption,
    labeled_data,
    limits_of,
)
from mien.cli.output import name_items, say_passed_over, say_text, write_charts, write_file
from mien.cli.progress import ProgressBar
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
from mien.errors import DatasetError
from mien.printable import escaped

EXAMPLES = """Examples:

mien evaluate data/fer2013 --split test --html report.html

mien evaluate images --model mine.onnx --weights happy=1,sad=2 --json report.json

mien evaluate photos --label-map happiness=happy,anger=angry

mien evaluate images --model face_expression.pth --module my_net/classify.py:makeEmotionNet"""


class Tta(str, Enum):
    """Test-time augmentation."""

    flip = "flip"


class Format(str, Enum):
    """What is printed."""

    table = "table"
    course = "course"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXAMPLES)(evaluate)


def evaluate(
    data: Annotated[
        Path,
        typer.Argument(
            help="<split>/<class>/ or <class>/ folders, or a CSV: path,label[,split,...].", callback=labeled_data
        ),
    ],
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "validation",
    model: ModelOption = "default",
    answer: AnswerOption = None,
    prior: PriorOption = "training",
    prior_strength: PriorStrengthOption = 1.0,
    format: Annotated[
        Format, typer.Option(help="table: all measures; course: the two lines of the course SI100B.")
    ] = Format.table,
    as_json: Annotated[Path | None, typer.Option("--json", help="Write every number to this file.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write one self-contained page to this file.")] = None,
    figures: Annotated[
        Path | None, typer.Option("--figures", help="Write each chart as SVG and PDF into this folder.")
    ] = None,
    detector: Annotated[
        str | None, typer.Option(help="The pictures are whole photos: find the face with yunet, haar or opencv-yunet.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="Weights of the recalls, such as happy=1,sad=2; default: each class's support.")
    ] = None,
    by: Annotated[str, typer.Option(help="Measure each value of this CSV column separately, too.")] = "",
    tta: Annotated[Tta | None, typer.Option(help="flip: average each face with its mirror image.")] = None,
    corrupt: Annotated[
        bool, typer.Option("--corrupt", help="Measure under 8 kinds of damage too; takes 40 times as long.")
    ] = False,
    exclude: Annotated[Path | None, typer.Option(help="CSV with a column path: pictures to leave out.")] = None,
    shared_only: Annotated[
        bool, typer.Option("--shared-only", help="Leave out classes that the model does not know.")
    ] = False,
    label_map: LabelMapOption = "",
    repeats: Annotated[bool, typer.Option(help="Count the pictures that also stand in the training split.")] = True,
    threads: ThreadsOption = 0,
    device: DeviceOption = "auto",
    max_pixels: MaxPixelsOption = MEGAPIXELS,
    max_bytes: MaxBytesOption = MEGABYTES,
    unsealed: UnsealedOption = False,
    network: NetworkOption = "",
    module: ModuleOption = "",
    classes: ClassesOption = "",
    size: SizeOption = "",
    color: ColorOption = None,
    mean: MeanOption = "",
    std: StdOption = "",
) -> None:
    """Measure a model on labeled pictures: classes with intervals, calibration, and the commonest confusions.

    Exit code: 0 done, 1 some pictures could not be read (each is named), 2 wrong use or unusable data.
    """
    from mien.dataset import exclude as without
    from mien.dataset import open_dataset, read_label_map, relabeled, training_split
    from mien.detect import make_detector
    from mien.measure.evaluate import evaluate as measure
    from mien.model.bundle import load_bundle
    from mien.model.prior import as_prior
    from mien.model.session import Session
    from mien.report import course_text, to_html, to_json, to_text
    from mien.report.figures import evaluation_figures

    found, train = open_dataset(data, split), training_split(data, split) if repeats else None
    say_passed_over([found])
    if exclude:
        # A training run leaves out what is listed too: it is no repeat that the model saw.
        found, train = without(found, exclude), without(train, exclude) if train else None
    if label_map:
        found = relabeled(found, read_label_map(label_map))
    about = WeightOptions(network, module, classes, size, color, mean, std)
    limits = limits_of(max_pixels, max_bytes)
    with bundle_of(model, about, found.classes) as path, ProgressBar() as bar:
        result = measure(
            Session(
                load_bundle(path, unsealed=unsealed),
                threads,
                answer=answer,
                prior=as_prior(prior, prior_strength),
                device=device,
            ),
            found,
            detector=make_detector(detector, device=device) if detector else None,
            train=train,
            weights=_parse_weights(weights) if weights is not None else None,
            shared_only=shared_only,
            flip=tta is Tta.flip,
            by=by,
            corruptions=corrupt,
            limits=limits,
            progress=bar,
        )
    shown = escaped(result)
    say_text(course_text(shown) if format is Format.course else to_text(shown))
    for path, write in ((as_json, to_json), (html, to_html)):
        if path:
            write_file(path, write(result))
    if figures:
        write_charts(evaluation_figures(result), figures)
    name_items("no face found", [str(s.path) for s in result.missed])
    name_items("", list(result.failures))
    if result.failures:
        raise typer.Exit(1)


def _parse_weights(text: str) -> dict[str, float]:
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        try:
            weights[name.strip()] = float(value)
        except ValueError:
            raise DatasetError(f"--weights: expected name=number,name=number, found {part.strip()!r}") from None
    return weights
