"""How good a reader of faces is, measured against the people who voted on the same pictures.

A person is the unit: how often does one further person say what the model says, and how many people must be asked to do
as well? All of it is computed from the votes, by drawing who is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from mien.dataset import Sample
from mien.measure.agreement import agrees_with_one_person, votes_of
from mien.measure.intervals import LEVEL, Estimate, wilson
from mien.measure.metrics import Probabilities, Truth, balanced_accuracy, confusion_matrix, f1, macro

PANELS = (1, 3, 5, 9)
"""Sizes of the panels that are reported."""

LARGEST = max(PANELS)

DRAWS = 20
"""How often the voters of each picture are drawn."""

PSEUDO_VOTES = (0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0)
"""Votes, spread evenly, added to a panel's, whose shares must not be 0. The number that suits it best counts."""

LEAST = 1e-12
"""A probability of 0 is taken for this much: its logarithm counts."""

Votes = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class HumanScale:
    """A model and the people who voted, on the same pictures.

    Attributes:
        count: pictures on which at least two people voted for the compared classes.
        without_repeats: whether pictures that also stand in the training split were left out.
        model: how often one person says what the model says.
        panels: size -> how often a further person says what most of so many people say, for 1 to 9.
        ceiling: the same for whoever knows all votes: nobody can agree more.
        cross_entropy: of the model's probabilities to one person's vote, in nats.
        people_cross_entropy: the same of nine people's shares (all others, where fewer voted).
        strict: the model's hits on FER+'s majority as its authors' code takes it: single votes are dropped, then more
            than half is needed (Barsoum et al. 2016, arXiv 1608.01041). `strict_count` pictures have one.
        untied: the same where a class just has more votes than any other, as later work often takes it.
        label_accuracy, mean_recall, macro_f1: against the labels, on the same pictures.
    """

    count: int
    without_repeats: bool
    model: Estimate
    panels: dict[int, Estimate]
    ceiling: Estimate
    cross_entropy: Estimate
    people_cross_entropy: Estimate
    strict: Estimate
    strict_count: int
    untied: Estimate
    untied_count: int
    label_accuracy: Estimate
    mean_recall: float
    macro_f1: float

    @property
    def worth(self) -> str:
        """How many people the model is worth, in words: the panel that agrees as often with a further person."""
        sizes = list(self.panels)
        values = [self.panels[size].value for size in sizes]
        if self.model.value < values[0] - (values[1] - values[0]) / 2:
            return "less than one person"
        if self.model.value > values[-1] + 0.002:
            return f"more than a panel of {sizes[-1]}"
        nearest = min(sizes, key=lambda size: abs(self.panels[size].value - self.model.value))
        return "as one person" if nearest == 1 else f"as a panel of {nearest}"


def human_scale(
    samples: Sequence[Sample],
    truth: Truth,
    probabilities: Probabilities,
    classes: Sequence[str],
    *,
    fresh: NDArray[np.bool_] | None = None,
    seed: int = 0,
) -> HumanScale | None:
    """Measure; None where no picture has two votes for the compared classes.

    Args:
        samples: N of them.
        truth: their labels `[N]`, index into `classes`.
        probabilities: `[N, K]`, rows summing to 1.
        classes: K canonical names; votes for others do not count, but in FER+'s majority.
        fresh: `[N]`, pictures that do not stand in the training split; None: not known, all count.
        seed: of the draws.
    """
    votes = votes_of(samples, classes)
    rows = np.flatnonzero((votes.sum(axis=1) > 1) & (True if fresh is None else fresh))
    if not len(rows):
        return None
    votes, chances, labels = votes[rows], probabilities[rows].astype(np.float64), truth[rows]
    answers = chances.argmax(axis=1).astype(np.int64)
    panels, people_cost = _asked(votes, seed)
    chosen: list[int] = rows.tolist()
    strict, untied = _majorities(_all_votes([samples[row] for row in chosen], classes), len(classes))
    confusion = confusion_matrix(labels, answers, len(classes))
    shares = votes / votes.sum(axis=1, keepdims=True)
    return HumanScale(
        count=len(rows),
        without_repeats=fresh is not None,
        model=agrees_with_one_person(votes, answers),
        panels=panels,
        ceiling=_mean(shares.max(axis=1)),
        cross_entropy=_mean(-(shares * np.log(np.maximum(chances, LEAST))).sum(axis=1), proportion=False),
        people_cross_entropy=people_cost,
        strict=wilson(int((answers == strict)[strict >= 0].sum()), int((strict >= 0).sum())),
        strict_count=int((strict >= 0).sum()),
        untied=wilson(int((answers == untied)[untied >= 0].sum()), int((untied >= 0).sum())),
        untied_count=int((untied >= 0).sum()),
        label_accuracy=wilson(int(confusion.trace()), len(rows)),
        mean_recall=float(balanced_accuracy(confusion)),
        macro_f1=float(macro(f1(confusion))),
    )


def _asked(votes: Votes, seed: int) -> tuple[dict[int, Estimate], Estimate]:
    """How often panels of 1 to 9 agree with a further person, and what nine people's shares cost on the tenth.

    One voter is set aside; the panel is drawn from the others, all of them where they are fewer. A tie within the panel
    is decided by lot.
    """
    rng = np.random.default_rng(seed)
    people, kinds = len(votes), votes.shape[1]
    voters = _voters(votes)
    hits = np.zeros((LARGEST, people))
    costs = np.zeros((len(PSEUDO_VOTES), people))
    everyone = np.arange(people)
    for _ in range(DRAWS):
        order = np.argsort(np.where(voters < 0, 2.0, rng.random(voters.shape)), axis=1)
        drawn = np.take_along_axis(voters, order, axis=1)
        person, counts = drawn[:, 0], np.zeros((people, kinds))
        lot = rng.random((people, kinds)) / 2
        for size in range(1, LARGEST + 1):
            if size < drawn.shape[1]:
                known = np.flatnonzero(drawn[:, size] >= 0)
                counts[known, drawn[known, size]] += 1
            hits[size - 1] += (counts + lot).argmax(axis=1) == person
        for row, extra in zip(costs, PSEUDO_VOTES, strict=True):
            share = (counts[everyone, person] + extra / kinds) / (counts.sum(axis=1) + extra)
            row -= np.log(share)
    panels = {size: _mean(hits[size - 1] / DRAWS) for size in range(1, LARGEST + 1)}
    return panels, min((_mean(row / DRAWS, proportion=False) for row in costs), key=lambda cost: cost.value)


def _voters(votes: Votes) -> NDArray[np.int64]:
    """Each voter's class, `[N, most voters]`; -1 behind the last."""
    counts = votes.sum(axis=1)
    voters = np.full((len(votes), int(counts.max())), -1, np.int64)
    every: Votes = np.tile(np.arange(votes.shape[1], dtype=np.int64), len(votes))
    voters[np.arange(voters.shape[1]) < counts[:, None]] = np.repeat(every, votes.ravel())
    return voters


def _all_votes(samples: Sequence[Sample], classes: Sequence[str]) -> Votes:
    """Votes for whatever people could choose, `[N, M]`, the compared classes first."""
    others = sorted({name for sample in samples for name in sample.votes} - set(classes))
    return votes_of(samples, [*classes, *others])


def _majorities(votes: Votes, classes: int) -> tuple[Votes, Votes]:
    """The compared class that FER+'s rule, and that the most votes, give each picture `[N]`; -1: none."""
    kept = np.where(votes > 1, votes, 0)
    enough = 2 * kept.max(axis=1) > kept.sum(axis=1)
    most = votes.max(axis=1, keepdims=True)
    alone = (votes == most).sum(axis=1) == 1
    strict, untied = kept.argmax(axis=1), votes.argmax(axis=1)
    return (
        np.where(enough & (strict < classes), strict, -1),
        np.where(alone & (untied < classes), untied, -1),
    )


def _mean(values: NDArray[np.float64], *, proportion: bool = True) -> Estimate:
    """A mean over pictures and its interval (normal approximation)."""
    value = float(values.mean())
    reach = NormalDist().inv_cdf(0.5 + LEVEL / 2) * float(values.std()) / len(values) ** 0.5
    if not proportion:
        return Estimate(value, value - reach, value + reach)
    return Estimate(value, max(value - reach, 0.0), min(value + reach, 1.0))
