"""`mien compare`: two models on the same labeled data -> which is better, and whether that is more than chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.option_groups import LimitOptions, ReportOptions, Without, with_groups
from mien.cli.options import (
    MODEL_HELP,
    AnswerOption,
    ExcludeOption,
    LabeledDataArgument,
    LabelMapOption,
    PhotoDetectorOption,
    PriorOption,
    PriorStrengthOption,
    SplitOption,
    ThreadsOption,
    UnsealedOption,
    open_bundle,
    registered,
)
from mien.cli.output import name_items, say_passed_over, say_text, write_charts
from mien.cli.progress import ProgressBar
from mien.printable import escaped

if TYPE_CHECKING:
    from mien.measure.compare import Comparison
    from mien.model.session import Session

EXAMPLES = """Examples:

mien compare default mine.onnx data/fer2013 --html comparison.html

mien compare old.onnx new.onnx images --split test --json comparison.json

mien compare default default data/fer2013 --prior-b even"""


@dataclass(frozen=True)
class PairedAnswerOptions:
    """Which answers of the two models to take, and which mixes of classes to expect."""

    answer: AnswerOption = None
    answer_b: Annotated[str | None, typer.Option(help="The answer of B, if it differs from --answer.")] = None
    prior: PriorOption = "training"
    prior_b: Annotated[str | None, typer.Option(help="The prior of B, if it differs from --prior.")] = None
    prior_strength: PriorStrengthOption = 1.0

    def session(self, model: str, *, is_b: bool, threads: int, unsealed: bool) -> Session:
        """One of the two models, ready to answer."""
        from mien.model.prior import as_prior
        from mien.model.session import Session

        answer = (self.answer_b if is_b else None) or self.answer
        prior = (self.prior_b if is_b else None) or self.prior
        bundle = open_bundle(model, unsealed)
        return Session(bundle, threads, answer=answer, prior=as_prior(prior, self.prior_strength))


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXAMPLES)(with_groups(compare))


def compare(
    a: Annotated[str, typer.Argument(help=MODEL_HELP, callback=registered)],
    b: Annotated[str, typer.Argument(help="The other one; differences are B minus A.", callback=registered)],
    data: LabeledDataArgument,
    *,
    answers: PairedAnswerOptions,
    split: SplitOption = "validation",
    reports: ReportOptions,
    detector: PhotoDetectorOption = None,
    exclude: ExcludeOption = None,
    shared_only: Annotated[
        bool, typer.Option("--shared-only", help="Leave out classes that one of the models does not know.")
    ] = False,
    label_map: LabelMapOption = "",
    threads: ThreadsOption = 0,
    limits: Annotated[LimitOptions, Without("truncated")],
    unsealed: UnsealedOption = False,
) -> None:
    """Compare two models on the same labeled pictures: a paired test, where they disagree, and on which faces.

    Exit code: 0 done, 1 some pictures could not be read (each is named), 2 wrong use or unusable data.
    """
    from mien.dataset import exclude as without
    from mien.dataset import open_dataset, read_label_map, relabeled
    from mien.detect import make_detector
    from mien.measure.compare import compare as measure

    first, second = (
        answers.session(name, is_b=is_b, threads=threads, unsealed=unsealed) for name, is_b in ((a, False), (b, True))
    )
    labeled = open_dataset(data, split)
    say_passed_over([labeled])
    labeled = without(labeled, exclude) if exclude else labeled
    if label_map:
        labeled = relabeled(labeled, read_label_map(label_map))
    with ProgressBar() as bar:
        result = measure(
            first,
            second,
            labeled,
            detector=make_detector(detector) if detector else None,
            shared_only=shared_only,
            limits=limits.limits(),
            progress=bar,
        )
    _report(result, reports)
    if result.failures:
        raise typer.Exit(1)


def _report(result: Comparison, reports: ReportOptions) -> None:
    from mien.report import comparison_to_html, comparison_to_json, comparison_to_text
    from mien.report.figures import comparison_figures

    say_text(comparison_to_text(escaped(result)))
    reports.write(lambda: comparison_to_json(result), lambda: comparison_to_html(result))
    if reports.figures:
        write_charts(comparison_figures(result), reports.figures)
    name_items("no face found", [str(s.path) for s in result.missed])
    name_items("", list(result.failures))
