"""How far can accuracy against FER2013's labels go? What FER+'s ten annotators a picture would reach.

The class with most votes is taken as the panel's answer; where classes tie, each counts in part.

    python benchmarks/agreement.py DATA [--model default]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.bundle import load_bundle
from mien.dataset import read_split
from mien.evaluate import evaluate
from mien.metrics import restrict
from mien.session import Session

THREE = ("happy", "neutral", "sad")


def panel_accuracy(votes: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    """Accuracy of the class with most votes; `votes` `[N, K]`, `truth` int `[N]`."""
    most = votes == votes.max(axis=1, keepdims=True)
    return float((most[np.arange(len(truth)), truth] / most.sum(axis=1)).mean())


def main() -> None:
    """Print the panel's accuracy and the model's, on the same pictures, over seven classes and over three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="default")
    args = parser.parse_args()
    found = evaluate(Session(load_bundle(args.model)), read_split(args.data, "validation"))
    classes = found.match.classes
    votes = np.array([[s.votes.get(c, 0) for c in classes] for s in found.samples], np.float64)
    voted = votes.sum(axis=1) > 0
    votes, truth, probabilities = votes[voted], found.truth[voted], found.probabilities[voted]
    three = [classes.index(c) for c in THREE]
    of_three, restricted = restrict(truth, probabilities, three)
    rows = [
        (f"{len(classes)} classes", panel_accuracy(votes, truth), truth, probabilities),
        (", ".join(THREE), panel_accuracy(votes[np.isin(truth, three)][:, three], of_three), of_three, restricted),
    ]
    for name, panel, wanted, answers in rows:
        right = (answers.argmax(axis=1) == wanted).mean()
        print(f"{name}: {len(wanted)} pictures, panel of ten {panel:.1%}, {args.model} {right:.1%}")


if __name__ == "__main__":
    main()
