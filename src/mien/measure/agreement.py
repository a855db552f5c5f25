"""What people who voted on the same pictures saw in them: how far a label, and a model, can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.dataset import Sample
from mien.measure.intervals import Estimate, wilson


@dataclass(frozen=True, slots=True)
class Annotators:
    """Three readings of the same pictures: the label, the annotators' (the class most of them chose), the model's.

    Attributes:
        count: pictures on which one of the compared classes has more votes than any other of them.
        as_labelled: share of these whose annotators' class is the label.
        model_as_labelled: share whose answer by the model is the label.
        model_as_annotators: share whose answer by the model is the annotators' class.
    """

    count: int
    as_labelled: Estimate
    model_as_labelled: Estimate
    model_as_annotators: Estimate


def annotators_of(
    samples: Sequence[Sample], truth: NDArray[np.int64], answers: NDArray[np.int64], classes: Sequence[str]
) -> Annotators | None:
    """Compare labels, votes and answers; None if no picture has votes that decide.

    Args:
        samples: N of them; votes for other classes do not count.
        truth: their labels `[N]`, index into `classes`.
        answers: the model's `[N]`, likewise.
        classes: K names.
    """
    votes = np.array([[sample.votes.get(name, 0) for name in classes] for sample in samples], np.int64)
    votes = votes.reshape(len(samples), len(classes))
    most = votes.max(axis=1, initial=0)
    decided = (most > 0) & ((votes == most[:, None]).sum(axis=1) == 1)
    count = int(decided.sum())
    if not count:
        return None
    said = votes.argmax(axis=1)

    def share(a: NDArray[np.int64], b: NDArray[np.int64]) -> Estimate:
        return wilson(int(((a == b) & decided).sum()), count)

    return Annotators(count, share(said, truth), share(answers, truth), share(answers, said))
