"""Measurements that go into a manifest, and the temperature that they are made with."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from mien.measure.metrics import accuracy, expected_calibration_error, log_loss, restrict
from mien.model.manifest import Metric
from mien.model.session import Session, softmax
from mien_train.data.packs import TrainingData

COURSE_CLASSES = ("happy", "neutral", "sad")


def session_logits(session: Session, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Logits float32 `[N, K]` of uint8 `[N, H, W, C]`, in batches."""
    return np.concatenate([session.run(np.array(images[i : i + 256]))[1] for i in range(0, len(images), 256)])


def measure(logits: NDArray[np.float32], temperature: float, data: TrainingData, command: str) -> list[Metric]:
    """Accuracy and calibration on validation, whole and without the pictures that repeat in training."""
    labels, classes = data.validation.labels, data.validation.classes
    probabilities = softmax(logits / temperature)
    clean = data.clean_rows
    whole_split, clean_split = "validation", "validation without pictures repeated in training"

    def metric(name: str, value: float, split: str, samples: int) -> Metric:
        return Metric(name=name, value=round(value, 4), split=split, samples=samples, command=command)

    metrics = [
        metric("accuracy", accuracy(labels, probabilities), whole_split, len(labels)),
        metric("accuracy", accuracy(labels[clean], probabilities[clean]), clean_split, len(clean)),
        metric("log loss", log_loss(labels[clean], probabilities[clean]), clean_split, len(clean)),
        metric(
            "calibration error (cross-fitted)", cross_fitted_ece(logits[clean], labels[clean]), clean_split, len(clean)
        ),
    ]
    if set(COURSE_CLASSES) < set(classes):
        truth, part = restrict(labels[clean], probabilities[clean], [classes.index(c) for c in COURSE_CLASSES])
        metrics.append(metric("accuracy happy/neutral/sad alone", accuracy(truth, part), clean_split, len(truth)))
    return metrics


def cross_fitted_ece(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Calibration error with each half's temperature fitted on the other half: no sample judges its own fit."""
    order = np.random.default_rng(0).permutation(len(labels))
    halves = order[::2], order[1::2]
    probabilities = np.empty_like(logits)
    for mine, other in (halves, halves[::-1]):
        probabilities[mine] = softmax(logits[mine] / fit_temperature(logits[other], labels[other]))
    return expected_calibration_error(labels, probabilities)


def fit_temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The temperature with the lowest log loss (Guo et al. 2017, arXiv 1706.04599).

    Args:
        logits: float32 `[N, K]`.
        labels: int64 `[N]`.
    """
    scores, truth = torch.from_numpy(logits), torch.from_numpy(labels)
    log_temperature = torch.zeros((), requires_grad=True)
    optimiser = torch.optim.LBFGS([log_temperature], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        value = F.cross_entropy(scores / log_temperature.exp(), truth)
        value.backward()
        return value

    optimiser.step(loss)
    return float(log_temperature.detach().exp())
