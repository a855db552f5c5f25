"""Measures of how well one class is ranked before the rest: pure functions on numpy arrays.

`positive` is bool `[N]`, whether a sample is of the class; `scores` is float `[N]`, higher for likelier.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Positive = NDArray[np.bool_]
Scores = NDArray[np.floating]
Values = NDArray[np.float64]


def roc_auc(positive: Positive, scores: Scores) -> float:
    """Probability that a random sample of the class scores above one that is not, ties counting half.

    The Mann-Whitney statistic (Hanley and McNeil 1982), 0..1. NaN unless there are samples of both kinds.
    """
    _check(positive, scores)
    inside = int(positive.sum())
    outside = len(positive) - inside
    if not inside or not outside:
        return float("nan")
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    mean_rank = counts.cumsum() - (counts - 1) / 2  # equal scores share the mean of their ranks
    return float((mean_rank[place][positive].sum() - inside * (inside + 1) / 2) / (inside * outside))


def precision_recall_curve(positive: Positive, scores: Scores) -> tuple[Values, Values]:
    """Precision and recall `[T]` at each of the T different scores taken as threshold, highest first.

    Recall rises from its first value to 1. Empty without samples of the class.
    """
    _check(positive, scores)
    if not positive.any():
        return np.empty(0), np.empty(0)
    order = np.argsort(-scores, kind="stable")
    sorted_scores = scores[order]
    last_of_equals = np.append(np.flatnonzero(np.diff(sorted_scores)), len(scores) - 1)
    hits = positive[order].cumsum()[last_of_equals].astype(np.float64)
    return hits / (last_of_equals + 1), hits / hits[-1]


def average_precision(positive: Positive, scores: Scores) -> float:
    """Area under the precision-recall curve as a sum of steps, 0..1 (no interpolation); NaN without positives."""
    precision, recall = precision_recall_curve(positive, scores)
    if not len(recall):
        return float("nan")
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def _check(positive: Positive, scores: Scores) -> None:
    if positive.dtype != np.bool_ or positive.ndim != 1 or positive.shape != scores.shape:
        raise ValueError(
            f"expected bool [N] and scores [N], found {positive.dtype} {list(positive.shape)} and {list(scores.shape)}"
        )
