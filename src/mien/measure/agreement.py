"""What people who voted on the same pictures saw in them: how far a label, and a model, can be trusted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from mien.dataset import Sample
from mien.measure.intervals import LEVEL, Estimate, wilson


@dataclass(frozen=True, slots=True)
class AnnotatorAgreement:
    """Three readings of the same pictures: the label, the annotators' (the class most of them chose), the model's.

    Attributes:
        count: pictures on which one of the compared classes has more votes than any other of them.
        as_labeled: share of these whose annotators' class is the label.
        model_as_labeled: share whose answer by the model is the label.
        model_as_annotators: share whose answer by the model is the annotators' class.
    """

    count: int
    as_labeled: Estimate
    model_as_labeled: Estimate
    model_as_annotators: Estimate


def votes_of(samples: Sequence[Sample], classes: Sequence[str]) -> NDArray[np.int64]:
    """How many people chose each of `classes` (canonical names): `[N, K]`; votes for anything else do not count."""
    votes = np.array([[sample.votes.get(name, 0) for name in classes] for sample in samples], np.int64)
    return votes.reshape(len(samples), len(classes))


def agrees_with_one_person(votes: NDArray[np.int64], answers: NDArray[np.int64]) -> Estimate:
    """How often one person, drawn from those who voted on a picture, chose the class that is answered.

    Every picture counts the same; the interval is that of a mean over pictures (normal approximation).

    Args:
        votes: `[N, K]`; rows without a vote do not count.
        answers: `[N]`, the class answered for each.
    """
    counts = votes.sum(axis=1)
    rows = np.flatnonzero(counts)
    if not len(rows):
        return Estimate(math.nan, math.nan, math.nan)
    shares = votes[rows, answers[rows]] / counts[rows]
    value, reach = float(shares.mean()), NormalDist().inv_cdf(0.5 + LEVEL / 2) * float(shares.std()) / len(rows) ** 0.5
    return Estimate(value, max(value - reach, 0.0), min(value + reach, 1.0))


def cross_entropy_to_votes(votes: NDArray[np.int64], probabilities: NDArray[np.floating]) -> float:
    """-sum(share of the votes x log(probability)), averaged over the pictures that have votes; in nats.

    Args:
        votes: `[N, K]`.
        probabilities: `[N, K]`, rows summing to 1; nothing counts as less than 1e-12.
    """
    counts = votes.sum(axis=1)
    rows = np.flatnonzero(counts)
    if not len(rows):
        return math.nan
    shares = votes[rows] / counts[rows, None]
    return float(-(shares * np.log(np.maximum(probabilities[rows].astype(np.float64), 1e-12))).sum(axis=1).mean())


def annotators_of(
    samples: Sequence[Sample], truth: NDArray[np.int64], answers: NDArray[np.int64], classes: Sequence[str]
) -> AnnotatorAgreement | None:
    """Compare labels, votes and answers; None if no picture has votes that decide.

    Args:
        samples: N of them; votes for other classes do not count.
        truth: their labels `[N]`, index into `classes`.
        answers: the model's `[N]`, likewise.
        classes: K names.
    """
    votes = votes_of(samples, classes)
    most = votes.max(axis=1, initial=0)
    decided = (most > 0) & ((votes == most[:, None]).sum(axis=1) == 1)
    count = int(decided.sum())
    if not count:
        return None
    said = votes.argmax(axis=1)

    def share(a: NDArray[np.int64], b: NDArray[np.int64]) -> Estimate:
        return wilson(int(((a == b) & decided).sum()), count)

    return AnnotatorAgreement(count, share(said, truth), share(answers, truth), share(answers, said))
