"""An evaluation as one HTML page that needs nothing else: style, charts and faces stand inside it.

A new section is a template in `templates/evaluation/` and an entry in `GRID` or `SECTIONS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from mien.measure.evaluate import Evaluation
from mien.measure.human_scale import PANELS
from mien.measure.scores import Scores
from mien.report import charts
from mien.report import thumbnails as faces
from mien.report.evaluation_text import course_lines, data_name, gap_sentence, interval, percent, remarks
from mien.report.html import KeyFigures, Section, decimal, fill, fill_sections, to_page

MANY = 5
"""With more classes, the heads of the confusion matrix stand upright: they would reach into each other."""

Values = Mapping[str, object]


def to_html(evaluation: Evaluation) -> str:
    """The page; under 3 MB whatever the data. Pictures it shows are read from their files again."""
    accuracy, recall = course_lines(evaluation.scores)
    body = fill(
        "evaluation/page.html",
        model=evaluation.title,
        sha256=evaluation.model_sha256[:12],
        data=data_name(evaluation.data),
        split=evaluation.split,
        samples=f"{evaluation.scores.samples:,}",
        people=fill_sections([Section("evaluation/people.html", _people)], evaluation),
        figures=_key_figures(evaluation.scores),
        accuracy_line=accuracy,
        recall_line=recall,
        remarks=remarks(evaluation),
        grid=fill_sections(GRID, evaluation),
        sections=fill_sections(SECTIONS, evaluation),
    )
    return to_page(f"{evaluation.title} on {evaluation.split}", body)


def _people(evaluation: Evaluation) -> Values | None:
    """The human scale, before everything else: key figures, and the rows that people set."""
    human = evaluation.human
    if human is None:
        return None
    panels = [(f"most of {size} people" if size > 1 else "one person", human.panels[size]) for size in PANELS]
    figures: KeyFigures = [
        ("agrees with one person", percent(human.model.value), f"{interval(human.model)} {human.worth}"),
        ("cross-entropy to the votes", decimal(human.cross_entropy.value),
         f"nine people: {decimal(human.people_cross_entropy.value)}"),
        ("strict majority", percent(human.strict.value), f"of {human.strict_count:,} pictures"),
        ("untied majority", percent(human.untied.value), f"of {human.untied_count:,} pictures"),
    ]  # fmt: skip
    return {
        "figures": figures,
        "count": f"{human.count:,}",
        "repeats": ", without those that repeat in training" if human.without_repeats else "",
        "rows": [("the model", human.model), *panels, ("whoever knows all votes", human.ceiling)],
    }


def _key_figures(scores: Scores) -> KeyFigures:
    return [
        ("accuracy", percent(scores.accuracy.value), interval(scores.accuracy)),
        ("weighted recall", percent(scores.weighted_recall.value), interval(scores.weighted_recall)),
        ("mean F1", percent(scores.macro_f1.value), interval(scores.macro_f1)),
        ("Cohen's kappa", decimal(scores.cohen_kappa.value), "agreement beyond chance"),
        ("calibration error", percent(scores.calibration_error), "confidence against accuracy"),
        ("log loss", decimal(scores.log_loss), f"Brier {decimal(scores.brier)}"),
    ]


def _confusion(evaluation: Evaluation) -> Values:
    scores = evaluation.scores
    lost = bool(scores.missed.any())
    rows: list[tuple[str, list[Values]]] = []
    for k, c in enumerate(scores.classes):
        counts = [*scores.confusion[k].tolist(), *([int(scores.missed[k])] * lost)]
        rows.append((c.name, [_cell(count, c.support, column == k) for column, count in enumerate(counts)]))
    return {
        "kind": "heat many" if len(scores.classes) > MANY else "heat",
        "heads": [*(c.name for c in scores.classes), *(["no face"] * lost)],
        "rows": rows,
    }


def _cell(count: int, support: int, is_right: bool) -> Values:
    share = count / support if support else 0.0
    background, ink = charts.shade(share)
    return {"count": count, "share": f"{share:.0%}", "is_right": is_right, "background": background, "ink": ink}


def _slices(evaluation: Evaluation) -> Values | None:
    if not evaluation.slices:
        return None
    gap = gap_sentence(evaluation)
    return {"by": evaluation.by, "gap": gap and gap[0].upper() + gap[1:], "slices": evaluation.slices}


def _damage(evaluation: Evaluation) -> Values | None:
    found = evaluation.corrupted
    return found and {"mean_error": f"{found.mean_error:.2%}", "accuracies": found.accuracies}


def _mistakes(evaluation: Evaluation) -> Values:
    return {
        "kinds": [
            (truth, predicted, count, _faces(evaluation, positions))
            for truth, predicted, count, positions in faces.confident_mistakes(evaluation)
        ]
    }


def _faces(evaluation: Evaluation, positions: Sequence[int]) -> list[Values]:
    return [_face(evaluation, position) for position in positions]


def _face(evaluation: Evaluation, position: int) -> Values:
    row = evaluation.probabilities[position]
    answer, label = evaluation.match.classes[int(row.argmax())], evaluation.samples[position].label
    return {
        "url": faces.thumbnail(evaluation, position),
        "label": label,
        "answer": answer,
        "confidence": f"{row.max():.0%}",
        "is_right": answer == label,
    }


def _chart(svg: str) -> Values:
    return {"chart": Markup(svg)}


GRID: Sequence[Section[Evaluation]] = (
    Section("evaluation/confusion.html", _confusion),
    Section("evaluation/classes.html", lambda e: _chart(charts.bars(e.scores.classes))),
    Section("evaluation/reliability.html", lambda e: _chart(charts.reliability(e.truth, e.probabilities))),
    Section("evaluation/confidences.html", lambda e: _chart(charts.confidences(e.truth, e.probabilities))),
    Section(
        "evaluation/precision_recall.html",
        lambda e: _chart(charts.precision_recall(e.truth, e.probabilities, e.scores.classes)),
    ),
    Section("evaluation/numbers.html", lambda e: {"classes": e.scores.classes}),
)
"""Sections that stand side by side where the window is wide enough, in their order."""

SECTIONS: Sequence[Section[Evaluation]] = (
    Section("evaluation/slices.html", _slices),
    Section("evaluation/damage.html", _damage),
    Section("evaluation/batch.html", lambda e: {"faces": _faces(e, faces.shuffled_batch(e))}),
    Section("evaluation/mistakes.html", _mistakes),
)
"""Sections below them, each as wide as the page, in their order."""
