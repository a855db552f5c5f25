"""Measures of a classifier: pure functions of (truth, probabilities) on numpy arrays.

`truth` is int `[N]`, an index 0..K-1 for each sample; `probabilities` is float `[N, K]`, rows summing to 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Truth = NDArray[np.int64]
Probabilities = NDArray[np.floating]


def confusion_matrix(truth: Truth, predicted: Truth, classes: int) -> NDArray[np.int64]:
    """Counts `[K, K]`: row = truth, column = prediction."""
    _check_labels("truth", truth, classes)
    _check_labels("predicted", predicted, classes)
    if len(truth) != len(predicted):
        raise ValueError(f"truth has {len(truth)} samples, predicted {len(predicted)}")
    return np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)


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


def restrict(truth: Truth, probabilities: Probabilities, columns: list[int]) -> tuple[Truth, Probabilities]:
    """Only the samples whose truth is one of `columns`, their probabilities over these alone, renormalised.

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
