"""Measurements that go into a manifest, and the temperature that they are made with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from mien.dataset import canonical
from mien.measure.agreement import agrees_with_one_person, cross_entropy_to_votes, votes_of
from mien.measure.intervals import Estimate, wilson
from mien.measure.metrics import accuracy, expected_calibration_error, log_loss, restrict
from mien.model.manifest import GREATEST_TEMPERATURE, LEAST_TEMPERATURE, PEOPLE, Answer, Calibration, Metric
from mien.model.session import Session, softmax
from mien_train.data.packs import TrainingData

COURSE_CLASSES = ("happy", "neutral", "sad")

CLEAN_SPLIT = "validation without pictures repeated in training"


def session_logits(session: Session, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Logits float32 `[N, K]` of uint8 `[N, H, W, C]`, in batches."""
    return np.concatenate([session.run(np.array(images[i : i + 256]))[1] for i in range(0, len(images), 256)])


@dataclass(frozen=True)
class AnswerQuality:
    """How good one answer is on the validation pictures that do not stand in training.

    Attributes:
        answer: its name.
        measure: "agrees with one person" for `people`, else "accuracy".
        value: of that measure, with its interval.
        calibration_error: cross-fitted, 0..1; of `people` against the labels too.
    """

    answer: str
    measure: str
    value: Estimate
    calibration_error: float

    @property
    def title(self) -> str:
        """What is measured of which answer, for people."""
        return self.measure if self.answer in ("", PEOPLE) else f"{self.measure} ({self.answer})"


def quality(answer: Answer, logits: NDArray[np.float32], data: TrainingData) -> AnswerQuality:
    """Measure one answer.

    Args:
        answer: which one.
        logits: float32 `[N, K]` of every validation picture, columns as in `answer.classes`.
        data: with votes for `people`; without any, that answer is measured by the labels.
    """
    rows = data.clean_rows if len(data.clean_rows) else np.arange(len(data.validation.labels))
    columns = [answer.classes.index(c) for c in data.validation.classes]
    labels, known = data.validation.labels[rows], logits[rows][:, columns]
    error = cross_fitted_ece(known, labels)
    votes = _votes(answer, data)[rows]
    if answer.name == PEOPLE and votes.any():
        agreed = agrees_with_one_person(votes, logits[rows].argmax(axis=1).astype(np.int64))
        return AnswerQuality(answer.name, "agrees with one person", agreed, error)
    right = int((known.argmax(axis=1) == labels).sum())
    return AnswerQuality(answer.name, "accuracy", wilson(right, len(rows)), error)


def calibrate(answer: Answer, logits: NDArray[np.float32], data: TrainingData) -> Answer:
    """The answer with the temperature that suits validation best: `people` by the votes, another by the labels.

    Data without votes cannot tell that of `people`: it keeps the one it has.
    """
    if answer.name != PEOPLE:
        temperature = fit_temperature(logits, data.validation.labels)
    else:
        votes = _votes(answer, data)
        voted = votes.sum(axis=1) > 0
        if not voted.any():
            return answer
        shares = votes[voted] / votes[voted].sum(axis=1, keepdims=True)
        temperature = fit_temperature(logits[voted], shares.astype(np.float32))
    return answer.model_copy(update={"calibration": Calibration(temperature=temperature, split="validation")})


def measure_answer(answer: Answer, logits: NDArray[np.float32], data: TrainingData, command: str) -> list[Metric]:
    """What a manifest says of one answer; `logits` float32 `[N, K]`, its columns as in `answer.classes`."""
    columns = [answer.classes.index(c) for c in data.validation.classes]
    found = measure(logits[:, columns], answer.calibration.temperature, data, command)
    votes, clean = _votes(answer, data), data.clean_rows
    if answer.name == PEOPLE and votes[clean].any():
        samples = int((votes[clean].sum(axis=1) > 0).sum())
        agreed = agrees_with_one_person(votes[clean], logits[clean].argmax(axis=1).astype(np.int64)).value
        distance = cross_entropy_to_votes(votes[clean], softmax(logits[clean] / answer.calibration.temperature))
        by_people = (("agrees with one person", agreed), ("cross-entropy to the votes", distance))
        found = [
            *(
                Metric(name=name, value=round(value, 4), split=CLEAN_SPLIT, samples=samples, command=command)
                for name, value in by_people
            ),
            *found,
        ]
    return [metric.model_copy(update={"answer": answer.name}) for metric in found]


def _votes(answer: Answer, data: TrainingData) -> NDArray[np.int64]:
    return votes_of(data.validation.samples, [canonical(c) for c in answer.classes])


def measure(logits: NDArray[np.float32], temperature: float, data: TrainingData, command: str) -> list[Metric]:
    """Accuracy and calibration on validation, whole and without the pictures that repeat in training."""
    labels, classes = data.validation.labels, data.validation.classes
    probabilities = softmax(logits / temperature)
    clean = data.clean_rows
    whole_split, clean_split = "validation", CLEAN_SPLIT

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


def fit_temperature(logits: NDArray[np.float32], labels: NDArray[np.int64] | NDArray[np.float32]) -> float:
    """The temperature with the lowest log loss (Guo et al. 2017, arXiv 1706.04599), within what a manifest may hold.

    A network that has learned nothing is best at an endless temperature: its answer is then even.

    Args:
        logits: float32 `[N, K]`.
        labels: int64 `[N]`, or shares of the votes float32 `[N, K]`.
    """
    scores, truth = torch.from_numpy(logits), torch.from_numpy(labels)
    log_temperature = torch.zeros((), requires_grad=True)
    optimizer = torch.optim.LBFGS([log_temperature], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(scores / log_temperature.exp(), truth)
        value.backward()
        return value

    optimizer.step(loss)
    return min(max(float(log_temperature.detach().exp()), LEAST_TEMPERATURE), GREATEST_TEMPERATURE)
