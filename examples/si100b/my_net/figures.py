"""Pictures: a window where there is a display, a file in `figures/` where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from torch import Tensor

from mien.output.draw import ink_on

from .display import has_display, new_file
from .measures import Matrix

COLUMNS = 8

CELL_HEIGHT, PICTURE = 1.2, 0.92
"""Of a picture with its label, and of the picture alone, in widths of a column."""

VECTORS = (".svg", ".pdf")
"""Formats that a figure for a report is written in beside PNG."""


def imshow_with_labels(images: Tensor, labels: Sequence[int | str] | Tensor, classes: Sequence[str]) -> Path | None:
    """Show pictures in a grid, each with the name of its label.

    Args:
        images: float `[N, C, H, W]`, -1..1, as the loaders give them; C is 1 or 3.
        labels: indices into `classes` (or names). Pictures without one have no title; labels without one are left out.
        classes: names of the classes.

    Returns:
        the file, where there is no display; its path is printed.
    """
    if not len(images):
        raise ValueError("expected at least one picture, got none")
    rows = -(-len(images) // COLUMNS)
    figure = plt.figure(figsize=(1.4 * COLUMNS, 1.4 * CELL_HEIGHT * rows))
    # One system of axes for all: 32 of them take eight times as long to draw.
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.axis("off")
    axes.set(xlim=(0, COLUMNS), ylim=(CELL_HEIGHT * rows, 0))
    names = [label if isinstance(label, str) else str(classes[int(label)]) for label in labels]
    for index, image in enumerate(torch.as_tensor(images).detach().cpu()):
        row, column = divmod(index, COLUMNS)
        left, top = column + (1 - PICTURE) / 2, CELL_HEIGHT * (row + 1) - 1
        height, width = (PICTURE * side / max(image.shape[1:]) for side in image.shape[1:])
        pixels = (image * 0.5 + 0.5).clamp(0, 1).permute(1, 2, 0).numpy()
        extent = (left, left + width, top + height, top)
        axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest", aspect="equal", extent=extent)
        axes.text(column + 0.5, top - 0.04, names[index] if index < len(names) else "", ha="center", fontsize=9)
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
    """Heat map: color is the share of a row (the recall on the diagonal), the text also gives the count.

    It is written as PNG, SVG and PDF, for reports.
    """
    shares = matrix / matrix.sum(axis=1, keepdims=True).clip(1)
    figure = plt.figure(figsize=(1.6 + 1.1 * len(classes), 1.2 + 1.0 * len(classes)), layout="constrained")
    axes = figure.subplots()
    shown = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in [(r, c) for r in range(len(classes)) for c in range(len(classes))]:
        share = shares[row, column]
        background = plt.get_cmap("Blues")(share)[:3]
        ink = "#{:02x}{:02x}{:02x}".format(*ink_on(tuple(round(255 * part) for part in background)))
        text = f"{matrix[row, column]}\n{share:.1%}"
        axes.text(column, row, text, ha="center", va="center", color=ink)
    axes.set(xlabel="predicted", ylabel="true", title="Confusion matrix")
    axes.set_xticks(range(len(classes)), classes)
    axes.set_yticks(range(len(classes)), classes)
    figure.colorbar(shown, ax=axes, format=PercentFormatter(1.0), label="share of the true class")
    return _show(figure, "confusion", vectors=True)


def _show(figure: Figure, name: str, *, vectors: bool = False) -> Path | None:
    """A window, or `figures/NAME.png`; with `vectors`, `.svg` and `.pdf` files in both cases."""
    path = None
    # Matplotlib itself falls back to Agg, which has no windows, where it finds no display.
    if vectors or (plt.get_backend().lower() == "agg" and not has_display()):
        path = new_file(name, ".png")
        figure.savefig(path, dpi=110)
        for suffix in VECTORS if vectors else ():
            figure.savefig(path.with_suffix(suffix))
        also = f" (and as {', '.join(VECTORS)})" if vectors else ""
        print(f"{'' if has_display() else 'no display: '}picture saved as {path}{also}")
    if has_display() or plt.get_backend().lower() != "agg":
        plt.show()
    plt.close(figure)
    return path
