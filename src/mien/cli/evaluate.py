"""`mien evaluate`: a model on labeled data -> the course's lines, a table, JSON, a page."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.option_groups import AnswerOptions, LimitOptions, ReportOptions, Without, with_groups
from mien.cli.options import (
    DeviceOption,
    ExcludeOption,
    LabeledDataArgument,
    LabelMapOption,
    ModelOption,
    PhotoDetectorOption,
    SplitOption,
    ThreadsOption,
    UnsealedOption,
    open_bundle,
)
from mien.cli.output import name_items, say_passed_over, say_text, write_charts
from mien.cli.progress import ProgressBar
from mien.cli.weight_options import WeightOptions, bundle_of
from mien.errors import DatasetError
from mien.printable import escaped

if TYPE_CHECKING:
    from mien.dataset import Split
    from mien.measure.evaluate import Evaluation

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


@dataclass(frozen=True)
class MeasureOptions:
    """What is measured, and how."""

    detector: PhotoDetectorOption = None
    weights: Annotated[
        str | None, typer.Option(help="Weights of the recalls, such as happy=1,sad=2; default: each class's support.")
    ] = None
    by: Annotated[str, typer.Option(help="Measure each value of this CSV column separately, too.")] = ""
    tta: Annotated[Tta | None, typer.Option(help="flip: average each face with its mirror image.")] = None
    corrupt: Annotated[
        bool,
        typer.Option(
            "--corrupt", help="Measure under damage too: each kind at five strengths, each as long as without."
        ),
    ] = False


@dataclass(frozen=True)
class PictureOptions:
    """Which pictures and classes count."""

    exclude: ExcludeOption = None
    shared_only: Annotated[
        bool, typer.Option("--shared-only", help="Leave out classes that the model does not know.")
    ] = False
    label_map: LabelMapOption = ""
    repeats: Annotated[bool, typer.Option(help="Count the pictures that also stand in the training split.")] = True

    def open(self, data: Path, split: str) -> tuple[Split, Split | None]:
        """The pictures to measure on, and those of the training split where repeats of it are to be found."""
        from mien.dataset import exclude as without
        from mien.dataset import open_dataset, read_label_map, relabeled, training_split

        found, train = open_dataset(data, split), training_split(data, split) if self.repeats else None
        say_passed_over([found])
        if self.exclude:
            # A training run leaves out what is listed too: it is no repeat that the model saw.
            found, train = without(found, self.exclude), without(train, self.exclude) if train else None
        if self.label_map:
            found = relabeled(found, read_label_map(self.label_map))
        return found, train


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXAMPLES)(with_groups(evaluate))


def evaluate(
    data: LabeledDataArgument,
    *,
    split: SplitOption = "validation",
    model: ModelOption = "default",
    answers: AnswerOptions,
    format: Annotated[
        Format, typer.Option(help="table: all measures; course: the two lines of the course SI100B.")
    ] = Format.table,
    reports: ReportOptions,
    measuring: MeasureOptions,
    pictures: PictureOptions,
    threads: ThreadsOption = 0,
    device: DeviceOption = "auto",
    limits: Annotated[LimitOptions, Without("truncated")],
    unsealed: UnsealedOption = False,
    weights: WeightOptions,
) -> None:
    """Measure a model on labeled pictures: classes with intervals, calibration, and the commonest confusions.

    Exit code: 0 done, 1 some pictures could not be read (each is named), 2 wrong use or unusable data.
    """
    from mien.detect import make_detector
    from mien.measure.evaluate import evaluate as measure
    from mien.model.session import Session

    labeled, train = pictures.open(data, split)
    with bundle_of(model, weights, labeled.classes) as path, ProgressBar() as bar:
        bundle = open_bundle(path, unsealed)
        result = measure(
            Session(bundle, threads, answer=answers.answer, prior=answers.expected_mix(), device=device),
            labeled,
            detector=make_detector(measuring.detector, device=device) if measuring.detector else None,
            train=train,
            weights=_parse_weights(measuring.weights) if measuring.weights is not None else None,
            shared_only=pictures.shared_only,
            flip=measuring.tta is Tta.flip,
            by=measuring.by,
            corruptions=measuring.corrupt,
            limits=limits.limits(),
            progress=bar,
        )
    _report(result, reports, format)
    if result.failures:
        raise typer.Exit(1)


def _report(result: Evaluation, reports: ReportOptions, format: Format) -> None:
    from mien.report import course_text, to_html, to_json, to_text
    from mien.report.figures import evaluation_figures

    shown = escaped(result)
    say_text(course_text(shown) if format is Format.course else to_text(shown))
    reports.write(lambda: to_json(result), lambda: to_html(result))
    if reports.figures:
        write_charts(evaluation_figures(result), reports.figures)
    name_items("no face found", [str(s.path) for s in result.missed])
    name_items("", list(result.failures))


def _parse_weights(text: str) -> dict[str, float]:
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        try:
            weights[name.strip()] = float(value)
        except ValueError:
            raise DatasetError(f"--weights: expected name=number,name=number, found {part.strip()!r}") from None
    return weights
