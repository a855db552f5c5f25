"""What two classifiers said about the same samples -> how they differ, and whether that is more than chance.

A *joint table* is int `[K, K+1, K+1]`: true class x answer of A x answer of B, answer K being no face found. Every
difference is B minus A.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.measure import metrics
from mien.measure.intervals import RESAMPLES, Estimate, percentiles

SIGNIFICANCE = 0.05
"""A difference counts as more than chance when McNemar's p is below this."""

CHUNK = 500
"""Resamples held in memory at a time."""

Joint = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ClassDifference:
    """B minus A for one class, -1..1, with paired intervals; NaN where either is undefined."""

    name: str
    support: int
    precision: Estimate
    recall: Estimate
    f1: Estimate


@dataclass(frozen=True, slots=True)
class Disagreement:
    """`count` samples of class `truth` that A took for `a` and B for `b`; "" is no face found."""

    truth: str
    a: str
    b: str
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class Difference:
    """How B differs from A.

    Attributes:
        joint: int `[K, K+1, K+1]`, what it was measured from.
        accuracy, macro_f1: B minus A, -1..1, with paired intervals.
        both_right, only_a, only_b, neither: samples by who read them rightly.
        p_value: McNemar's, of `only_a` against `only_b`.
        agreement, kappa: share of the faces that got the same answer, and Cohen's kappa between the two answers;
            over the faces found by both, NaN without one.
        disagreements: the commonest first; of equals, in the order of the classes.
    """

    joint: Joint
    accuracy: Estimate
    macro_f1: Estimate
    classes: tuple[ClassDifference, ...]
    both_right: int
    only_a: int
    only_b: int
    neither: int
    p_value: float
    agreement: float
    kappa: float
    disagreements: tuple[Disagreement, ...]

    @property
    def samples(self) -> int:
        """All of them, also those without a face found."""
        return int(self.joint.sum())

    @property
    def better(self) -> str:
        """`A` or `B` when one is right more often by more than chance, else ""."""
        if self.p_value >= SIGNIFICANCE:
            return ""
        return "A" if self.only_a > self.only_b else "B"


def joint_table(truth: metrics.Truth, a: metrics.Truth, b: metrics.Truth, classes: int) -> Joint:
    """Count samples into a joint table.

    Args:
        truth: int `[N]`, 0..classes-1.
        a, b: int `[N]`, the answers, 0..classes; `classes` itself is no face found.

    Raises:
        ValueError: lengths or values that do not go together.
    """
    answers = classes + 1
    if not len(truth) == len(a) == len(b):
        raise ValueError(f"truth has {len(truth)} samples, A has {len(a)} answers, B has {len(b)}")
    for name, values, top in (("truth", truth, classes), ("a", a, answers), ("b", b, answers)):
        if len(values) and (values.min() < 0 or values.max() >= top):
            raise ValueError(f"{name}: expected values 0..{top - 1}, found {values.min()}..{values.max()}")
    cells = (truth * answers + a) * answers + b
    return np.bincount(cells, minlength=classes * answers**2).reshape(classes, answers, answers)


def difference(joint: Joint, classes: Sequence[str], *, resamples: int = RESAMPLES, seed: int = 0) -> Difference:
    """Measure how B differs from A.

    Args:
        joint: `[K, K+1, K+1]`, at least one sample in it.
        classes: K names.
        resamples: of the paired bootstrap: whole samples are drawn, each with both answers, so that what the two share
            cancels out (Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 8).
        seed: of the bootstrap; the same one gives the same intervals.

    Raises:
        ValueError: another shape, or no sample.
    """
    count = len(classes)
    if joint.shape != (count, count + 1, count + 1) or not joint.any():
        raise ValueError(f"expected samples in a table {[count, count + 1, count + 1]}, found {list(joint.shape)}")
    values = _measures(joint.sum(axis=1)) - _measures(joint.sum(axis=2))
    spread = _resampled(joint, resamples, seed)
    estimates = [Estimate(float(v), *percentiles(spread[:, i])) for i, v in enumerate(values)]
    precision, recall, f1 = (estimates[2 + i * count : 2 + (i + 1) * count] for i in range(3))
    support = joint.sum(axis=(1, 2)).tolist()
    right_a, right_b, both = _right(joint)
    found = joint[:, :count, :count].sum(axis=0)
    return Difference(
        joint=joint,
        accuracy=estimates[0],
        macro_f1=estimates[1],
        classes=tuple(ClassDifference(*row) for row in zip(classes, support, precision, recall, f1, strict=True)),
        both_right=both,
        only_a=right_a - both,
        only_b=right_b - both,
        neither=int(joint.sum()) - right_a - right_b + both,
        p_value=mcnemar(right_a - both, right_b - both),
        agreement=float(metrics.overall_accuracy(found)),
        kappa=float(metrics.cohen_kappa(found)),
        disagreements=_disagreements(joint, classes),
    )


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided exact p of McNemar's test (McNemar 1947): 1 without a sample that just one of the two gets right.

    If both were equally good, each such sample would be a toss of a coin. p is the chance of a split at least as uneven
    as this one.
    """
    if min(only_a, only_b) < 0:
        raise ValueError(f"expected counts of 0 or more, found {only_a} and {only_b}")
    tosses = only_a + only_b
    # In logarithms, as the number of ways overflows a float from 1030 tosses on.
    whole = math.lgamma(tosses + 1) - tosses * math.log(2)
    tail = math.fsum(
        math.exp(whole - math.lgamma(i + 1) - math.lgamma(tosses - i + 1)) for i in range(min(only_a, only_b) + 1)
    )
    return min(1.0, 2 * tail)


def _measures(confusion: metrics.Confusion) -> metrics.Values:
    """Accuracy, mean F1, then precision, recall and F1 of each class, `[..., 2 + 3 K]`, of `[..., K, K+1]`."""
    f1 = metrics.f1(confusion)
    totals = np.stack([metrics.overall_accuracy(confusion), metrics.macro(f1)], axis=-1)
    return np.concatenate([totals, metrics.precision(confusion), metrics.recall(confusion), f1], axis=-1)


def _resampled(joint: Joint, resamples: int, seed: int) -> metrics.Values:
    """Differences `[resamples, 2 + 3 K]` of samples drawn with replacement, as many as there were.

    The counts of the cells are drawn from a multinomial, which needs no sample; cells that are empty stay so.
    """
    classes, answers, _ = joint.shape
    filled = np.flatnonzero(joint)
    truth, a, b = np.unravel_index(filled, joint.shape)
    # Sums a row of drawn cells into a flat confusion matrix of A, or of B.
    to_a, to_b = (np.eye(classes * answers)[truth * answers + said] for said in (a, b))
    counts = joint.ravel()[filled]
    shares = counts / counts.sum()
    random = np.random.default_rng(seed)
    parts: list[metrics.Values] = []
    for start in range(0, resamples, CHUNK):
        drawn = random.multinomial(int(counts.sum()), shares, size=min(CHUNK, resamples - start))
        of_a, of_b = ((drawn @ to).astype(np.int64).reshape(-1, classes, answers) for to in (to_a, to_b))
        parts.append(_measures(of_b) - _measures(of_a))
    return np.concatenate(parts)


def _right(joint: Joint) -> tuple[int, int, int]:
    """Samples that A, that B, and that both read rightly."""
    k = np.arange(len(joint))
    return int(joint[k, k, :].sum()), int(joint[k, :, k].sum()), int(joint[k, k, k].sum())


def _disagreements(joint: Joint, classes: Sequence[str]) -> tuple[Disagreement, ...]:
    names = [*classes, ""]
    found = [
        Disagreement(names[t], names[a], names[b], int(joint[t, a, b]))
        for t, a, b in np.argwhere(joint).tolist()
        if a != b
    ]
    return tuple(sorted(found, key=lambda d: -d.count))
