"""Measures of a classifier: pure functions of (truth, probabilities) or of a confusion matrix, on numpy arrays.

`truth` is int `[N]`, an index 0..K-1 for each sample; `probabilities` is float `[N, K]`, rows summing to 1. `confusion`
is `[..., K, C]`, row = truth, column = prediction. There are K classes; columns from K on are no class (a face that was
not found). Leading axes are separate matrices (the resamples of a bootstrap). What is undefined is NaN, never a silent
zero; `undefined` says so in words.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Truth = NDArray[np.int64]
Probabilities = NDArray[np.floating]
Confusion = NDArray[np.int64]
Values = NDArray[np.float64]


def confusion_matrix(truth: Truth, predicted: Truth, classes: int) -> NDArray[np.int64]:
    """Counts `[K, K]`: row = truth, column = prediction."""
    _check_labels("truth", truth, classes)
    _check_labels("predicted", predicted, classes)
    if len(truth) != len(predicted):
        raise ValueError(f"truth has {len(truth)} samples, predicted {len(predicted)}")
    return np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)


def precision(confusion: Confusion) -> Values:
    """TP / (TP + FP) of each class, `[..., K]`: the share of its predictions that are right.

    The SI100B course calls this the class's *accuracy*. NaN for a class that is never predicted.
    """
    _check_confusion(confusion)
    return _ratio(_hits(confusion), confusion[..., : confusion.shape[-2]].sum(axis=-2))


def recall(confusion: Confusion) -> Values:
    """TP / (TP + FN) of each class, `[..., K]`: the share of its samples that are found; NaN without samples."""
    _check_confusion(confusion)
    return _ratio(_hits(confusion), confusion.sum(axis=-1))


def f1(confusion: Confusion) -> Values:
    """2 TP / (2 TP + FP + FN) of each class, `[..., K]`; NaN for a class neither present nor predicted."""
    _check_confusion(confusion)
    total = confusion.sum(axis=-1) + confusion[..., : confusion.shape[-2]].sum(axis=-2)
    return _ratio(2 * _hits(confusion), total)


def overall_accuracy(confusion: Confusion) -> Values:
    """Sum of TP / N, `[...]`; NaN without samples."""
    _check_confusion(confusion)
    return _ratio(_hits(confusion).sum(axis=-1), confusion.sum(axis=(-2, -1)))


def weighted_recall(confusion: Confusion, weights: Values | None = None) -> Values:
    """Sum of w_i x recall_i / sum of w_i, `[...]`.

    Without `weights` (`[K]`, not negative) each class weighs its support, which makes this the overall accuracy. NaN
    when a class that has weight has no samples.
    """
    if weights is None:
        return overall_accuracy(confusion)
    if weights.shape != confusion.shape[-2:-1] or (weights < 0).any() or not weights.any():
        raise ValueError(f"expected {confusion.shape[-2]} weights, none negative, not all 0; found {weights.tolist()}")
    chosen = weights > 0
    return (recall(confusion)[..., chosen] * weights[chosen]).sum(axis=-1) / weights.sum()


def macro(values: Values) -> Values:
    """Plain mean over the classes (last axis) of those that are defined; NaN when none is."""
    known = np.isfinite(values)
    return _ratio(np.where(known, values, 0.0).sum(axis=-1), known.sum(axis=-1))


def balanced_accuracy(confusion: Confusion) -> Values:
    """Mean recall of the classes that have samples, `[...]`."""
    return macro(recall(confusion))


def cohen_kappa(confusion: Confusion) -> Values:
    """Agreement beyond chance, (p_o - p_e) / (1 - p_e), `[...]`; Cohen 1960. NaN when chance alone agrees always."""
    total = confusion.sum(axis=(-2, -1))
    rows, columns = _margins(confusion)
    observed = _ratio(_hits(confusion).sum(axis=-1), total)
    expected = _ratio((rows * columns).sum(axis=-1), total.astype(np.float64) ** 2)
    return _ratio(observed - expected, np.where(np.isclose(expected, 1), 0.0, 1 - expected))


def matthews(confusion: Confusion) -> Values:
    """Matthews correlation of K classes, `[...]`, -1..1 (Gorodkin 2004); NaN if truths or predictions are all one."""
    rows, columns = _margins(confusion)
    total = confusion.sum(axis=(-2, -1)).astype(np.float64)
    covariance = _hits(confusion).sum(axis=-1) * total - (rows * columns).sum(axis=-1)
    spread = (total**2 - (rows**2).sum(axis=-1)) * (total**2 - (columns**2).sum(axis=-1))
    return _ratio(covariance, np.sqrt(spread))


def undefined(confusion: Confusion, classes: Sequence[str]) -> tuple[str, ...]:
    """A sentence for each class whose precision or recall is NaN, and for each measure of agreement that is."""
    never_predicted, absent = np.isnan(precision(confusion)), np.isnan(recall(confusion))
    lines = [
        f"{c} was never predicted: its precision is undefined"
        for c, is_so in zip(classes, never_predicted, strict=True)
        if is_so
    ]
    lines += [f"{c} has no sample: its recall is undefined" for c, is_so in zip(classes, absent, strict=True) if is_so]
    if confusion.sum() and np.isnan(matthews(confusion)):
        also = " and so is Cohen's kappa" if np.isnan(cohen_kappa(confusion)) else ""
        lines.append(f"the labels or the answers are all of one class: Matthews' correlation is undefined{also}")
    return tuple(lines)


def accuracy(truth: Truth, probabilities: Probabilities) -> float:
    """Share of samples whose most probable class is the true one; NaN without samples."""
    _check_probabilities(truth, probabilities)
    return float((probabilities.argmax(axis=1) == truth).mean()) if len(truth) else float("nan")


def log_loss(truth: Truth, probabilities: Probabilities) -> float:
    """Mean of -ln p(true class), p no less than float64's epsilon; NaN without samples."""
    _check_probabilities(truth, probabilities)
    if not len(truth):
        return float("nan")
    p = probabilities[np.arange(len(truth)), truth].astype(np.float64)
    return float(-np.log(np.maximum(p, np.finfo(np.float64).eps)).mean())


def expected_calibration_error(truth: Truth, probabilities: Probabilities, bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over `bins` bins of equally many samples; 0..1, NaN without samples.

    Source: Guo et al. 2017, arXiv 1706.04599, equation 3, with equal-mass bins (Nixon et al. 2019, arXiv 1904.01685).
    """
    _check_probabilities(truth, probabilities)
    if not len(truth):
        return float("nan")
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = (probabilities.argmax(axis=1) == truth).astype(np.float64)
    order = np.argsort(confidence, kind="stable")
    gaps = [abs(confidence[part].sum() - right[part].sum()) for part in np.array_split(order, bins) if len(part)]
    return float(sum(gaps) / len(truth))


def brier_score(truth: Truth, probabilities: Probabilities) -> float:
    """Mean over samples of the squared distance to the one-hot truth, summed over classes: 0 (best)..2; Brier 1950."""
    _check_probabilities(truth, probabilities)
    if not len(truth):
        return float("nan")
    wanted = np.eye(probabilities.shape[1])[truth]
    return float(((probabilities - wanted) ** 2).sum(axis=1).mean())


def top_k_accuracy(truth: Truth, probabilities: Probabilities, k: int) -> float:
    """Share of samples whose true class is among the `k` most probable (of equals, the first); NaN without samples."""
    _check_probabilities(truth, probabilities)
    if not len(truth):
        return float("nan")
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    return float((best == truth[:, None]).any(axis=1).mean())


def reliability_curve(truth: Truth, probabilities: Probabilities, bins: int = 15) -> tuple[Values, Values, Truth]:
    """Mean confidence, accuracy and count of each of `bins` bins of equally many samples, by rising confidence.

    The mean gap between the first two, weighted by the third, is `expected_calibration_error`. Empty bins are left out.
    """
    _check_probabilities(truth, probabilities)
    confidence = probabilities.max(axis=1).astype(np.float64) if len(truth) else np.empty(0)
    right = probabilities.argmax(axis=1) == truth
    order = np.argsort(confidence, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return (
        np.array([confidence[part].mean() for part in parts], np.float64),
        np.array([right[part].mean() for part in parts], np.float64),
        np.array([len(part) for part in parts], np.int64),
    )


def restrict(truth: Truth, probabilities: Probabilities, columns: list[int]) -> tuple[Truth, Probabilities]:
    """Only the samples whose truth is one of `columns`, their probabilities over these alone, renormalized.

    Returns:
        truth `[M]` as positions in `columns`, and probabilities `[M, len(columns)]`.
    """
    _check_probabilities(truth, probabilities)
    kept = np.isin(truth, columns)
    position = np.full(probabilities.shape[1], -1, np.int64)
    position[columns] = np.arange(len(columns))
    chosen = probabilities[kept][:, columns]
    return position[truth[kept]], chosen / np.maximum(chosen.sum(axis=1, keepdims=True), np.finfo(chosen.dtype).tiny)


def _check_labels(name: str, labels: Truth, classes: int) -> None:
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"{name}: expected int [N], found {labels.dtype} {list(labels.shape)}")
    if len(labels) and (labels.min() < 0 or labels.max() >= classes):
        raise ValueError(f"{name}: expected values 0..{classes - 1}, found {labels.min()}..{labels.max()}")


def _check_probabilities(truth: Truth, probabilities: Probabilities) -> None:
    if probabilities.ndim != 2 or len(probabilities) != len(truth):
        raise ValueError(f"expected probabilities [{len(truth)}, K], found {list(probabilities.shape)}")
    _check_labels("truth", truth, probabilities.shape[1])


def _check_confusion(confusion: Confusion) -> None:
    if confusion.ndim < 2 or confusion.shape[-1] < confusion.shape[-2]:
        raise ValueError(f"expected a confusion matrix [..., K, at least K], found {list(confusion.shape)}")


def _hits(confusion: Confusion) -> Confusion:
    _check_confusion(confusion)
    return np.diagonal(confusion, axis1=-2, axis2=-1)


def _margins(confusion: Confusion) -> tuple[Values, Values]:
    """Totals of rows and columns, both `[..., C]`: a column that is no class has a row of zeros."""
    columns = confusion.sum(axis=-2).astype(np.float64)
    rows = np.zeros_like(columns)
    rows[..., : confusion.shape[-2]] = confusion.sum(axis=-1)
    return rows, columns


def _ratio(part: NDArray[np.generic], whole: NDArray[np.generic]) -> Values:
    numerator, denominator = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    blank = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    return np.divide(numerator, denominator, out=blank, where=denominator != 0)
