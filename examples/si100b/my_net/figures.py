"""Pictures: a window where there is a display, a file in `figures/` where there is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from torch import Tensor

from my_net.measures import Matrix

FOLDER = Path("figures")
"""Below the folder that a script runs in; a script that runs again writes its figures again."""

COLUMNS = 8

_shown: Counter[str] = Counter()


def imshow_with_labels(images: Tensor, labels: Sequence[int | str] | Tensor, classes: Sequence[str]) -> Path | None:
    """Show pictures in a grid, each with the name of its label.

    Args:
        images: float `[N, 3, 48, 48]`, -1..1, as the loaders give them.
        labels: N indices into `classes` (or names).
        classes: names of the classes.

    Returns:
        the file, where there is no display; its path is printed.
    """
    if len(images) != len(labels) or not len(images):
        raise ValueError(f"expected as many labels as pictures and at least one, got {len(images)} and {len(labels)}")
    rows = -(-len(images) // COLUMNS)
    figure = plt.figure(figsize=(1.4 * COLUMNS, 1.7 * rows), layout="constrained")
    for axes in figure.subplots(rows, COLUMNS, squeeze=False).flat:
        axes.axis("off")
    for axes, image, label in zip(figure.axes, torch.as_tensor(images).detach().cpu(), labels, strict=False):
        axes.imshow((image * 0.5 + 0.5).clamp(0, 1).permute(1, 2, 0).numpy(), interpolation="nearest")
        axes.set_title(label if isinstance(label, str) else classes[int(label)], fontsize=9)
    return _show(figure, "labels")


def plotCurves(losses: Sequence[float], accuracies_percent: Sequence[float]) -> Path | None:
    """Loss and accuracy of training, epoch by epoch."""
    figure = plt.figure(figsize=(9, 3.5), layout="constrained")
    epochs = range(1, len(losses) + 1)
    curves = {"Loss": losses, "Accuracy": accuracies_percent}
    for axes, (title, values) in zip(figure.subplots(1, 2), curves.items(), strict=True):
        axes.plot(epochs, values, marker="o", color="#0072B2")
        axes.set(title=f"{title} on the training pictures", xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    figure.axes[1].yaxis.set_major_formatter(PercentFormatter())
    return _show(figure, "curves")


def plotConfusionMatrix(matrix: Matrix, classes: Sequence[str]) -> Path | None:
    """Heat map: colour is the share of a row (the recall on the diagonal), the text also gives the count."""
    shares = matrix / matrix.sum(axis=1, keepdims=True).clip(1)
    figure = plt.figure(figsize=(1.6 + 1.1 * len(classes), 1.2 + 1.0 * len(classes)), layout="constrained")
    axes = figure.subplots()
    shown = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in [(r, c) for r in range(len(classes)) for c in range(len(classes))]:
        share = shares[row, column]
        text = f"{matrix[row, column]}\n{share:.1%}"
        axes.text(column, row, text, ha="center", va="center", color="white" if share > 0.5 else "black")
    axes.set(xlabel="predicted", ylabel="true", title="Confusion matrix")
    axes.set_xticks(range(len(classes)), classes)
    axes.set_yticks(range(len(classes)), classes)
    figure.colorbar(shown, ax=axes, format=PercentFormatter(1.0), label="share of the true class")
    return _show(figure, "confusion")


def _show(figure: Figure, name: str) -> Path | None:
    # Matplotlib itself falls back to Agg, which has no windows, where it finds no display.
    if plt.get_backend().lower() != "agg":
        plt.show()
        plt.close(figure)
        return None
    _shown[name] += 1
    path = FOLDER / (f"{name}.png" if _shown[name] == 1 else f"{name}-{_shown[name]}.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    print(f"no display: picture saved as {path}")
    return path
