"""Lecture 5: load the trained network where it was not trained, and measure it on images/validation/."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import my_net
import numpy as np
import torch
from numpy.typing import NDArray

from mien.errors import MienError

PATH, WEIGHTS, BATCH_SIZE = "./images/", "./face_expression.pth", 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", default=WEIGHTS, help=f"default: {WEIGHTS}")
    parser.add_argument("--out", default="figures", help="folder of the figures; default: figures")
    options = parser.parse_args()
    my_net.display.FOLDER = Path(options.out)

    # Steps 1 and 2: the weights, and pictures that training has not seen.
    test_loader, classes = my_net.utility.loadTest(PATH, BATCH_SIZE)
    model = my_net.utility.loadTrained(options.weights, len(classes))

    # Step 3: predicted labels of one batch.
    X, labels = next(iter(test_loader))
    model.eval()
    with torch.no_grad():
        new_labels = model(X).argmax(dim=1)
    my_net.utility.imshow_with_labels(X[:BATCH_SIZE], new_labels[:BATCH_SIZE], classes)

    # Step 4: the numbers, of this batch and then of every picture.
    print(f"one batch ({len(labels)} pictures)")
    report(my_net.utility.confusionMatrix(labels, new_labels, classes), classes)
    truth, predicted = my_net.utility.predictAll(model, test_loader)
    print(f"full validation set ({len(truth)} pictures)")
    matrix = my_net.utility.confusionMatrix(truth, predicted, classes)
    report(matrix, classes)
    print(f"confusion matrix (row: true, column: predicted, in the order {', '.join(classes)})\n{matrix}")
    my_net.utility.plotConfusionMatrix(matrix, classes)


def report(matrix: NDArray[np.int64], classes: list[str]) -> None:
    """Accuracy, recall and F1, a title line and a line of numbers each."""
    for title, measure in (
        ("accuracy", my_net.utility.accuracies),
        ("recall", my_net.utility.recalls),
        ("F1", my_net.utility.fScores),
    ):
        print(title)
        print(my_net.utility.resultLine(classes, *measure(matrix)))


if __name__ == "__main__":
    try:
        main()
    except MienError as error:
        sys.exit(str(error))
