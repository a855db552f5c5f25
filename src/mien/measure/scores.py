"""(truth, probabilities) -> every number that an evaluation reports, with its interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.dataset import canonical
from mien.errors import DatasetError
from mien.measure import metrics, ranking
from mien.measure.intervals import RESAMPLES, Estimate, bootstrap, resample, wilson

_Measure = Callable[[metrics.Confusion], metrics.Values]


@dataclass(frozen=True, slots=True)
class ClassScores:
    """One class. `precision` is what the SI100B course calls the class's accuracy.

    Intervals are Wilson's for precision and recall, the bootstrap's for F1. `support` counts its samples, `predicted`
    the predictions of it; the last two measures rank it against the rest.
    """

    name: str
    support: int
    predicted: int
    precision: Estimate
    recall: Estimate
    f1: Estimate
    roc_auc: float
    average_precision: float


@dataclass(frozen=True, slots=True)
class Confusion:
    """`count` samples of class `truth` were taken for `predicted`; `share` of all samples of `truth`."""

    truth: str
    predicted: str
    count: int
    share: float


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Everything measured on one set of samples.

    Attributes:
        confusion: int `[K, K]`, row = truth, column = prediction.
        missed: int `[K]`, samples of each class in which no face was found: errors without a prediction. They count in
            accuracy and recall, and in none of the measures of probabilities (those are about faces that were found).
        weights: what each class's recall weighs; None: its support.
        notes: a sentence for whatever is undefined.
    """

    classes: tuple[ClassScores, ...]
    confusion: NDArray[np.int64]
    missed: NDArray[np.int64]
    samples: int
    accuracy: Estimate
    weights: Mapping[str, float] | None
    weighted_recall: Estimate
    macro_precision: Estimate
    macro_recall: Estimate
    macro_f1: Estimate
    cohen_kappa: Estimate
    matthews: Estimate
    top_2: float
    log_loss: float
    brier: float
    calibration_error: float
    notes: tuple[str, ...]

    def confusions(self, count: int) -> list[Confusion]:
        """The `count` commonest mistakes, the commonest first."""
        names = [c.name for c in self.classes]
        off = self.confusion * (1 - np.eye(len(names), dtype=np.int64))
        pairs = np.argsort(-off.ravel(), kind="stable")[:count]
        cells = [(int(i) // len(names), int(i) % len(names)) for i in pairs]
        return [
            Confusion(names[t], names[p], int(off[t, p]), float(off[t, p] / self.classes[t].support))
            for t, p in cells
            if off[t, p]
        ]


def score(
    truth: metrics.Truth,
    probabilities: metrics.Probabilities,
    classes: Sequence[str],
    *,
    missed: NDArray[np.int64] | None = None,
    weights: Mapping[str, float] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Scores:
    """Measure.

    Args:
        truth: int `[N]`, index into `classes`.
        probabilities: float `[N, K]`.
        classes: K names.
        missed: int `[K]`, samples of each class without a prediction; None: none.
        weights: class -> weight of its recall; a class not named weighs nothing. None: each weighs its support.
        resamples: of the bootstrap.
        seed: of the bootstrap; the same one gives the same intervals.

    Raises:
        DatasetError: a weight for a class that is not there, a negative weight, or all of them 0.
        ValueError: shapes that do not go together.
    """
    lost = np.zeros(len(classes), np.int64) if missed is None else missed
    square = metrics.confusion_matrix(truth, probabilities.argmax(axis=1), len(classes))
    confusion = np.column_stack([square, lost])
    drawn = resample(confusion, resamples, seed)
    chosen = _weights(weights, classes)

    def estimate(measure: _Measure) -> Estimate:
        return bootstrap(measure, confusion, drawn)[0]

    return Scores(
        classes=_class_scores(truth, probabilities, classes, confusion, drawn),
        confusion=square,
        missed=lost,
        samples=int(confusion.sum()),
        accuracy=wilson(int(square.trace()), int(confusion.sum())),
        weights=None if weights is None or chosen is None else dict(zip(classes, chosen.tolist(), strict=True)),
        weighted_recall=estimate(lambda c: metrics.weighted_recall(c, chosen)),
        macro_precision=estimate(lambda c: metrics.macro(metrics.precision(c))),
        macro_recall=estimate(metrics.balanced_accuracy),
        macro_f1=estimate(lambda c: metrics.macro(metrics.f1(c))),
        cohen_kappa=estimate(metrics.cohen_kappa),
        matthews=estimate(metrics.matthews),
        top_2=metrics.top_k_accuracy(truth, probabilities, 2),
        log_loss=metrics.log_loss(truth, probabilities),
        brier=metrics.brier_score(truth, probabilities),
        calibration_error=metrics.expected_calibration_error(truth, probabilities),
        notes=metrics.undefined(confusion, classes),
    )


def _class_scores(
    truth: metrics.Truth,
    probabilities: metrics.Probabilities,
    classes: Sequence[str],
    confusion: metrics.Confusion,
    drawn: metrics.Confusion,
) -> tuple[ClassScores, ...]:
    f1s = bootstrap(metrics.f1, confusion, drawn)
    support, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    return tuple(
        ClassScores(
            name,
            int(support[k]),
            int(predicted[k]),
            wilson(int(confusion[k, k]), int(predicted[k])),
            wilson(int(confusion[k, k]), int(support[k])),
            # Of a class never predicted, F1 is 0 in every resample: an interval of [0, 0] would promise too much.
            f1s[k] if predicted[k] else f1s[k]._replace(low=math.nan, high=math.nan),
            ranking.roc_auc(truth == k, probabilities[:, k]),
            ranking.average_precision(truth == k, probabilities[:, k]),
        )
        for k, name in enumerate(classes)
    )


def _weights(weights: Mapping[str, float] | None, classes: Sequence[str]) -> metrics.Values | None:
    if weights is None:
        return None
    named = {canonical(name): value for name, value in weights.items()}
    unknown = sorted(set(named) - set(classes))
    if unknown:
        raise DatasetError(
            f"a weight for {', '.join(unknown)}, which is not compared here; there are {', '.join(classes)}"
        )
    values = np.array([named.get(name, 0.0) for name in classes], np.float64)
    if not np.isfinite(values).all() or (values < 0).any() or not values.any():
        raise DatasetError(f"expected weights of 0 or more, not all 0; found {dict(weights)}")
    return values
