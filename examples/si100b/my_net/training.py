"""Lecture 4's training function."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.errors import TrainingError
from mien_train.networks.emotion_net import EmotionNet

from .measures import predictAll

Batches = Iterable[tuple[Tensor, Tensor]]
Values = NDArray[np.float64]

LINES = 10
"""So many lines of progress an epoch, at most."""


def function2trainModel(
    model: nn.Module,
    device: torch.device | str,
    train_loader: Batches,
    lossFun: nn.Module | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    epochs: int | Batches = 10,
    val_loader: Batches | None = None,
    *,
    lossfun: nn.Module | None = None,
) -> tuple[Values, Values, nn.Module] | tuple[Values, Values, Values, nn.Module]:
    """Train, and print how far it is: within an epoch, and a line at its end.

    Args:
        model: it is trained in place.
        device: where.
        train_loader: batches of pictures and labels.
        lossFun: the loss, also taken as `lossfun`; default: cross-entropy.
        optimizer: default: the course's, Adam with lr 1e-3 and weight decay 1e-5.
        epochs: how often every picture is seen. A loader in this place is taken for `val_loader`.
        val_loader: pictures to measure the network on after each epoch.

    Returns:
        losses `[epochs]` and accuracies in percent `[epochs]` over the training pictures as they were met, and the
        model. With a `val_loader`, its accuracies come before the model.

    Raises:
        TrainingError: the loss is no longer a finite number.
    """
    if not isinstance(epochs, int):
        epochs, val_loader = 10, epochs
    loss_of = lossFun or lossfun or nn.CrossEntropyLoss()
    model.to(device)
    step = optimizer or torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-5)
    if isinstance(model, EmotionNet):  # x.view(len(x), -1) in a student's own network would fail so
        model.to(memory_format=torch.channels_last)  # the same arithmetic, a third less time on a CPU
    losses, accuracies, validation = np.zeros(epochs), np.zeros(epochs), np.zeros(epochs)
    for epoch in range(epochs):
        started = time.perf_counter()
        name = f"epoch {epoch + 1}/{epochs}"
        losses[epoch], accuracies[epoch] = _run_epoch(model, device, train_loader, loss_of, step, name)
        if not math.isfinite(losses[epoch]):
            raise TrainingError(f"the loss is {losses[epoch]} in {name}; lower the learning rate")
        line = f"{name}  loss {losses[epoch]:.4f}  accuracy {accuracies[epoch]:.2f}%"
        if val_loader is not None:
            truth, predicted = predictAll(model, val_loader)
            validation[epoch] = 100 * float(np.mean(truth == predicted))
            line += f"  validation {validation[epoch]:.2f}%"
        print(f"{line}  {time.perf_counter() - started:.0f} s", flush=True)
    if val_loader is not None:
        return losses, accuracies, validation, model
    return losses, accuracies, model


def _run_epoch(
    model: nn.Module, device: Any, loader: Batches, loss_of: nn.Module, optimizer: torch.optim.Optimizer, name: str
) -> tuple[float, float]:
    """Loss and accuracy in percent, over all pictures."""
    model.train()
    loss_sum, right, seen = 0.0, 0, 0
    batches = len(loader) if isinstance(loader, (torch.utils.data.DataLoader, Sequence)) else 0
    every = max(-(-batches // LINES), 1)
    for number, (images, labels) in enumerate(loader, start=1):
        images, labels = images.to(device), labels.to(device)
        scores = model(images)
        loss = loss_of(scores, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        # Weighted by size: the last batch may be smaller than the others.
        loss_sum += loss.item() * len(labels)
        right += int((scores.argmax(dim=1) == labels).sum())
        seen += len(labels)
        if number % every == 0 and number < batches:
            print(
                f"{name}  batch {number}/{batches}  loss {loss_sum / seen:.4f}  accuracy {right / seen:.2%}", flush=True
            )
    return loss_sum / max(seen, 1), 100 * right / max(seen, 1)
