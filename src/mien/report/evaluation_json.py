"""An evaluation as JSON; docs/measure/evaluate.md describes the schema."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

from mien._version import __version__
from mien.measure.agreement import AnnotatorAgreement
from mien.measure.evaluate import Evaluation
from mien.measure.human_scale import HumanScale
from mien.measure.intervals import LEVEL, Estimate
from mien.measure.scores import ClassScores, Scores
from mien.report.evaluation_text import course_lines, remarks

SCHEMA_VERSION = 1
"""Fields may be added within a version; any other change raises it."""

COMMONEST = 10


def to_json(evaluation: Evaluation) -> str:
    """JSON of schema `SCHEMA_VERSION`: no NaN (undefined is null), probabilities rounded to six places."""
    return json.dumps(as_document(evaluation), indent=2, allow_nan=False) + "\n"


def as_document(evaluation: Evaluation) -> dict[str, object]:
    """What `to_json` writes, as plain dicts, lists, strings and numbers."""
    match = evaluation.match
    accuracy_line, recall_line = course_lines(evaluation.scores)
    return {
        "schema": "mien.evaluation",
        "schema_version": SCHEMA_VERSION,
        "mien": __version__,
        "model": {
            "name": evaluation.model,
            "sha256": evaluation.model_sha256,
            "answer": evaluation.answer,
            "prior": evaluation.prior,
        },
        "data": {"path": evaluation.data, "split": evaluation.split},
        "options": {"tta": evaluation.tta or None, "detector": evaluation.detector or None},
        "classes": list(match.classes),
        "classes_only_in_model": list(match.model_only),
        "classes_only_in_data": list(match.data_only),
        "course": {"accuracy": accuracy_line, "recall": recall_line},
        "interval_level": LEVEL,
        "scores": _scores(evaluation.scores),
        "repeats": None
        if evaluation.repeats is None
        else {
            "in_training_split": evaluation.repeats.count,
            "accuracy_without": _estimate(evaluation.repeats.accuracy_without),
        },
        "human_scale": None if evaluation.human is None else _human(evaluation.human),
        "annotators": None if evaluation.annotators is None else _annotators(evaluation.annotators),
        "by": evaluation.by or None,
        "slices": [{"value": part.value, "scores": _scores(part.scores)} for part in evaluation.slices],
        "gap": None
        if evaluation.gap is None
        else {"best": evaluation.gap.best, "worst": evaluation.gap.worst, "difference": evaluation.gap.difference},
        "corruptions": None
        if evaluation.corrupted is None
        else {
            "accuracy": {kind: list(values) for kind, values in evaluation.corrupted.accuracies.items()},
            "mean_error": _number(evaluation.corrupted.mean_error),
        },
        "remarks": remarks(evaluation),
        "missed": [_relative(s.path, evaluation.data) for s in evaluation.missed],
        "failures": list(evaluation.failures),
        "samples": _samples(evaluation),
    }


def _human(human: HumanScale) -> dict[str, object]:
    return {
        "pictures": human.count,
        "without_repeats": human.without_repeats,
        "agrees_with_one_person": _estimate(human.model),
        "worth": human.worth,
        "panels_agree_with_one_person": {str(size): _estimate(e) for size, e in human.panels.items()},
        "ceiling": _estimate(human.ceiling),
        "cross_entropy_to_votes": _estimate(human.cross_entropy),
        "nine_peoples_cross_entropy": _estimate(human.people_cross_entropy),
        "majority_strict": {**_estimate(human.strict), "pictures": human.strict_count},
        "majority_untied": {**_estimate(human.untied), "pictures": human.untied_count},
        "label_accuracy": _estimate(human.label_accuracy),
        "mean_recall": _number(human.mean_recall),
        "mean_f1": _number(human.macro_f1),
    }


def _annotators(people: AnnotatorAgreement) -> dict[str, object]:
    return {
        "pictures": people.count,
        "as_labeled": _estimate(people.as_labeled),
        "model_as_labeled": _estimate(people.model_as_labeled),
        "model_as_annotators": _estimate(people.model_as_annotators),
    }


def _scores(scores: Scores) -> dict[str, object]:
    return {
        "samples": scores.samples,
        "accuracy": _estimate(scores.accuracy),
        "weights": None if scores.weights is None else dict(scores.weights),
        "weighted_recall": _estimate(scores.weighted_recall),
        "macro_precision": _estimate(scores.macro_precision),
        "balanced_accuracy": _estimate(scores.macro_recall),
        "macro_f1": _estimate(scores.macro_f1),
        "cohen_kappa": _estimate(scores.cohen_kappa),
        "matthews": _estimate(scores.matthews),
        "top_2": _number(scores.top_2),
        "log_loss": _number(scores.log_loss),
        "brier": _number(scores.brier),
        "calibration_error": _number(scores.calibration_error),
        "per_class": {c.name: _class(c) for c in scores.classes},
        "confusion": scores.confusion.tolist(),
        "missed": scores.missed.tolist(),
        "confusions": [
            {"truth": c.truth, "predicted": c.predicted, "count": c.count, "share": _number(c.share)}
            for c in scores.confusions(COMMONEST)
        ],
    }


def _class(scores: ClassScores) -> Mapping[str, object]:
    return {
        "support": scores.support,
        "predicted": scores.predicted,
        "precision": _estimate(scores.precision),
        "recall": _estimate(scores.recall),
        "f1": _estimate(scores.f1),
        "roc_auc": _number(scores.roc_auc),
        "average_precision": _number(scores.average_precision),
    }


def _samples(evaluation: Evaluation) -> list[dict[str, object]]:
    names = evaluation.match.classes
    return [
        {
            "path": _relative(sample.path, evaluation.data),
            "label": sample.label,
            "predicted": names[int(row.argmax())],
            "probabilities": [round(float(p), 6) for p in row],
        }
        for sample, row in zip(evaluation.samples, evaluation.probabilities, strict=True)
    ]


def _relative(path: Path, root: str) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _estimate(estimate: Estimate) -> dict[str, float | None]:
    return {"value": _number(estimate.value), "low": _number(estimate.low), "high": _number(estimate.high)}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
