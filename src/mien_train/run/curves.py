"""Loss and accuracy of a run, epoch by epoch, as an SVG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from mien.errors import TrainingError
from mien.files import replacing
from mien_train.run.folder import Epoch


def draw_curves(history: Sequence[Epoch], path: Path) -> None:
    """Write `path` (.svg), atomically; nothing is written for an empty history."""
    if not history:
        return
    figure = Figure(figsize=(10, 4), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    epochs = [e.epoch for e in history]
    loss.plot(epochs, [e.train_loss for e in history], label="training (augmented, all outputs)", color="#0072B2")
    loss.plot(epochs, [e.validation_loss for e in history], label="validation", color="#D55E00")
    loss.set(xlabel="epoch", ylabel="cross-entropy", title="Loss")
    accuracy.plot(epochs, [e.train_accuracy for e in history], label="training (augmented)", color="#0072B2")
    accuracy.plot(
        epochs, [e.clean_accuracy for e in history], label="validation without repeated pictures", color="#D55E00"
    )
    accuracy.yaxis.set_major_formatter(PercentFormatter(1.0))
    accuracy.set(xlabel="epoch", title="Accuracy")
    for axes in (loss, accuracy):
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(frameon=False)
    with replacing(path, TrainingError) as temporary:
        figure.savefig(temporary, format="svg")
