"""An evaluation as text: a table of the classes first, then everything else; and the course's two lines."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

from mien.measure.evaluate import Evaluation
from mien.measure.human_scale import PANELS, HumanScale
from mien.measure.intervals import Estimate
from mien.measure.scores import Scores

COMMONEST = 3
"""At most this many confusions are listed."""


def course_lines(scores: Scores) -> tuple[str, str]:
    """`happy:xx.xx%, neutral:xx.xx%, sad:xx.xx%, total:xx.xx%` for accuracy, and for recall, as SI100B prints them.

    Accuracy of a class is TP / (TP + FP), elsewhere called precision, its total the share of all samples that are
    right; the total of recall is the weighted recall. What is undefined is `nan%`.
    """
    return (
        _line([(c.name, c.precision.value) for c in scores.classes], scores.accuracy.value),
        _line([(c.name, c.recall.value) for c in scores.classes], scores.weighted_recall.value),
    )


def course_text(evaluation: Evaluation) -> str:
    """The two lines of `course_lines`, and what they are."""
    return (
        "\n".join(course_lines(evaluation.scores))
        + "\n(first line: accuracy, TP/(TP+FP) of each class and the share of all that is right; second line: recall)\n"
    )


def to_text(evaluation: Evaluation) -> str:
    """Everything but pictures, the human scale first, then the table of the classes; lines end with a newline."""
    scores = evaluation.scores
    human = [*human_lines(evaluation.human), ""] if evaluation.human else []
    parts: list[Iterable[str]] = [
        human,
        _table(scores),
        [""],
        _totals(scores),
        [""],
        _confusions(scores),
        _remarks(evaluation),
    ]
    return "\n".join(line for part in parts for line in part) + "\n"


def human_lines(human: HumanScale) -> list[str]:
    """The model beside the people who voted, then beside the labels: six lines."""
    panels = ((size, human.panels[size]) for size in PANELS)
    people = ", ".join(f"{size} {percent(found.value)} {interval(found)}" for size, found in panels)
    model, nine = human.cross_entropy, human.people_cross_entropy
    return [
        f"agrees with one person {percent(human.model.value)} {interval(human.model)}: {human.worth}",
        f"people agree with one person: {people}; ceiling {percent(human.ceiling.value)} {interval(human.ceiling)}",
        f"cross-entropy to the votes {model.value:.3f} [{model.low:.3f}, {model.high:.3f}]; nine people's, smoothed, "
        f"{nine.value:.3f} [{nine.low:.3f}, {nine.high:.3f}]",
        f"majority of the votes: strict {percent(human.strict.value)} {interval(human.strict)} of {human.strict_count},"
        f" untied {percent(human.untied.value)} {interval(human.untied)} of {human.untied_count}",
        f"label {percent(human.label_accuracy.value)} {interval(human.label_accuracy)}, mean recall "
        f"{percent(human.mean_recall)}, mean F1 {percent(human.macro_f1)}",
        f"(on {human.count} pictures with votes{', without repeats of training' if human.without_repeats else ''})",
    ]


def remarks(evaluation: Evaluation) -> list[str]:
    """What a reader must know about how the numbers came about, one sentence each."""
    match, found = evaluation.match, list(evaluation.scores.notes)
    if evaluation.answer:
        found.append(
            f"Measured: the answer {evaluation.answer!r} of model {evaluation.model!r}, prior {evaluation.prior}."
        )
    if match.model_only:
        found.append(
            f"The data has no {', '.join(match.model_only)}: the model's probabilities were restricted to "
            f"{', '.join(match.classes)} and renormalized."
        )
    if match.data_only:
        found.append(f"The model does not know {', '.join(match.data_only)}: samples of these were left out.")
    if evaluation.missed:
        found.append(
            f"No face was found in {len(evaluation.missed)} of {evaluation.scores.samples} pictures; each counts as an "
            f"error in accuracy and recall. Of the faces that were found, {percent(found_accuracy(evaluation))} were "
            "read rightly."
        )
    if evaluation.repeats:
        repeats = evaluation.repeats
        found.append(
            f"{repeats.count} pictures stand in the training split too, pixel for pixel; accuracy without them: "
            f"{percent(repeats.accuracy_without.value)} {interval(repeats.accuracy_without)}."
            if repeats.count
            else "No picture stands in the training split too, pixel for pixel."
        )
    if evaluation.annotators:
        people = evaluation.annotators
        found.append(
            f"On {people.count} pictures one class has the most of the annotators' votes: it is the label of "
            f"{percent(people.as_labeled.value)} {interval(people.as_labeled)} of them. The model's answer is the "
            f"label of {percent(people.model_as_labeled.value)} {interval(people.model_as_labeled)}, and the "
            f"annotators' class of {percent(people.model_as_annotators.value)} "
            f"{interval(people.model_as_annotators)}."
        )
    if evaluation.answer == "people" and not evaluation.human:
        found.append(
            "No picture has two votes for these classes: the answer 'people' is compared with the labels, each of "
            "which is one opinion. "
            "Where it differs it may still be what most people would say; the answer by the labels says what a label "
            "would be."
        )
    if evaluation.tta:
        found.append("Each face was read twice, the second time mirrored, and the probabilities averaged.")
    if evaluation.failures:
        found.append(f"{len(evaluation.failures)} pictures could not be read and are in no number.")
    return found


def gap_sentence(evaluation: Evaluation) -> str:
    """How far the best group is from the worst; "" without two groups."""
    gap = evaluation.gap
    if gap is None:
        return ""
    return (
        f"gap in accuracy: {100 * gap.difference:.2f} points, from {gap.best or '(empty)'} (best) to "
        f"{gap.worst or '(empty)'} (worst)"
    )


def found_accuracy(evaluation: Evaluation) -> float:
    """Share of right answers among the faces that were found; NaN without one."""
    confusion = evaluation.scores.confusion
    return float(confusion.trace() / confusion.sum()) if confusion.sum() else math.nan


def data_name(path: str) -> str:
    """How a page calls a data set: its path, or the folder's name where that is only dots (`.`, `../..`)."""
    return path if path.strip("./\\") else Path(path).resolve().name or path


def counted(number: int, noun: str) -> str:
    """`1 pair`, `1,200 pairs`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def percent(value: float) -> str:
    """`12.34%`, or `undefined`."""
    return "undefined" if math.isnan(value) else f"{value:.2%}"


def plain(value: float, *, sign: bool = False) -> str:
    """Four places, or `undefined`."""
    if math.isnan(value):
        return "undefined"
    return f"{round(value, 4) + 0.0:+.4f}" if sign else f"{value:.4f}"


def interval(estimate: Estimate) -> str:
    """`[12.3, 45.6]`, in percent; nothing when there is none."""
    return "" if math.isnan(estimate.low) else f"[{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def _line(values: list[tuple[str, float]], total: float) -> str:
    return ", ".join(f"{name}:{100 * value:.2f}%" for name, value in [*values, ("total", total)])


def _table(scores: Scores) -> Iterator[str]:
    width = max(len("class"), *(len(c.name) for c in scores.classes))
    heads = "".join(f"  {name:>9} {'95 %':<14}" for name in ("precision", "recall", "F1"))
    yield f"{'class':{width}}{heads}  support"
    for c in scores.classes:
        yield f"{c.name:{width}}{_cell(c.precision)}{_cell(c.recall)}{_cell(c.f1)}  {c.support:7}"
    means = "".join(_cell(e) for e in (scores.macro_precision, scores.macro_recall, scores.macro_f1))
    yield f"{'mean':{width}}{means}  {scores.samples:7}"


def _cell(estimate: Estimate) -> str:
    return f"  {percent(estimate.value):>9} {interval(estimate):<14}"


def _totals(scores: Scores) -> Iterator[str]:
    weights = "support" if scores.weights is None else ", ".join(f"{c}={w:g}" for c, w in scores.weights.items())
    note = "; equals accuracy" if scores.weights is None else ""
    yield f"accuracy          {percent(scores.accuracy.value):>9} {interval(scores.accuracy)}"
    yield (
        f"weighted recall   {percent(scores.weighted_recall.value):>9} {interval(scores.weighted_recall)}  "
        f"(weights: {weights}{note})"
    )
    yield f"balanced accuracy {percent(scores.macro_recall.value):>9} {interval(scores.macro_recall)}  (mean recall)"
    yield f"top 2             {percent(scores.top_2):>9}"
    yield f"Cohen's kappa     {plain(scores.cohen_kappa.value):>9}  Matthews {plain(scores.matthews.value)}"
    yield (
        f"calibration error {percent(scores.calibration_error):>9}  log loss {plain(scores.log_loss)}, "
        f"Brier {plain(scores.brier)}"
    )


def _confusions(scores: Scores) -> Iterator[str]:
    worst = scores.confusions(COMMONEST)
    yield "commonest confusions:" + ("" if worst else " none")
    for c in worst:
        yield f"  {c.truth} taken for {c.predicted}: {c.count} ({c.share:.1%} of {c.truth})"


def _remarks(evaluation: Evaluation) -> Iterator[str]:
    if evaluation.slices:
        width = max(len(evaluation.by), *(len(s.value) for s in evaluation.slices))
        yield ""
        yield f"{evaluation.by:{width}}   accuracy 95 %            mean recall  samples"
        for part in evaluation.slices:
            yield (
                f"{part.value:{width}}{_cell(part.scores.accuracy)}  {percent(part.scores.macro_recall.value):>11}  "
                f"{part.scores.samples:7}"
            )
        if evaluation.gap:
            yield gap_sentence(evaluation)
    if evaluation.corrupted:
        yield ""
        yield "accuracy under damage, strength 1-5"
        for kind, values in evaluation.corrupted.accuracies.items():
            yield f"{kind:15}" + "".join(f"  {value:7.2%}" for value in values)
        yield f"mean corruption error {evaluation.corrupted.mean_error:.2%}"
    sentences = remarks(evaluation)
    if sentences:
        yield ""
    yield from sentences
