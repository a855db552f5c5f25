"""The lecture's numbers, from the confusion matrix: row = true class, column = predicted class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.measure.metrics import confusion_matrix

Matrix = NDArray[np.int64]
Labels = NDArray[np.int64]
Values = NDArray[np.float64]


@torch.no_grad()
def predictAll(model: nn.Module, loader: Iterable[tuple[Tensor, Tensor]]) -> tuple[Labels, Labels]:
    """True and predicted labels, both int64 `[N]`, of every picture of the loader."""
    model.eval()
    truth: list[Tensor] = []
    predicted: list[Tensor] = []
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    for images, labels in loader:
        predicted.append(model(images.to(device)).argmax(dim=1).cpu())
        truth.append(labels)
    return torch.cat(truth).numpy(), torch.cat(predicted).numpy()


def confusionMatrix(
    truth: Sequence[int] | Tensor | Labels, predicted: Sequence[int] | Tensor | Labels, classes: Sequence[str]
) -> Matrix:
    """Counts `[K, K]`."""
    return confusion_matrix(np.asarray(truth, np.int64), np.asarray(predicted, np.int64), len(classes))


def accuracies(matrix: Matrix) -> tuple[Values, float]:
    """The lecture's Accuracy_i = TP_i / (TP_i + FP_i), elsewhere called precision, `[K]`; and sum TP_i / N.

    NaN for a class that was never predicted: nothing can be said about predictions that were not made.
    """
    return _share(matrix.diagonal(), matrix.sum(axis=0)), float(_share(matrix.trace(), matrix.sum()))


def recalls(matrix: Matrix, weights: Sequence[float] | Values | None = None) -> tuple[Values, float]:
    """Recall_i = TP_i / (TP_i + FN_i), `[K]`; and their mean weighted by w_i.

    Args:
        matrix: counts `[K, K]`, row = true class.
        weights: w_i, one a class, 0 or more. Default: the number of pictures of class i.

    NaN for a class without pictures; its weight is 0.
    """
    support = matrix.sum(axis=1)
    each = _share(matrix.diagonal(), support)
    given = np.asarray(support if weights is None else weights, np.float64)
    if given.shape != each.shape or not (given >= 0).all() or not given.any():
        raise ValueError(f"weights: expected {len(each)} numbers of 0 or more, not all 0, found {weights}")
    used = np.where(support > 0, given, 0.0)
    return each, float(_share(np.nansum(used * each), used.sum()))


def fScores(matrix: Matrix) -> tuple[Values, float]:
    """F1_i = 2 TP_i / (2 TP_i + FP_i + FN_i), `[K]`, NaN where nothing is counted; and their plain mean (macro F1)."""
    each = _share(2 * matrix.diagonal(), matrix.sum(axis=0) + matrix.sum(axis=1))
    return each, float(np.nanmean(each)) if matrix.any() else float("nan")


def resultLine(classes: Sequence[str], values: Values, total: float) -> str:
    """`happy:xx.xx%, neutral:xx.xx%, sad:xx.xx%, total:xx.xx%`; shares 0..1 come in."""
    pairs = zip([*classes, "total"], [*values, total], strict=True)
    return ", ".join(f"{name}:{100 * value:.2f}%" for name, value in pairs)


def _share(part: object, whole: object) -> Values:
    """part / whole, NaN where whole is 0."""
    top, bottom = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.divide(top, bottom, out=np.full(bottom.shape, np.nan), where=bottom > 0)
