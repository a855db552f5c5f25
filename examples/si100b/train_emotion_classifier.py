"""Lecture 4: train the network on images/train/, show the curves, save ./face_expression.pth."""

from __future__ import annotations

import argparse
import sys

import my_net
import torch

from mien.errors import MienError

PATH, WEIGHTS = "./images/", "./face_expression.pth"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0, help="equal seeds, data and machines give equal weights")
    options = parser.parse_args()
    torch.manual_seed(options.seed)

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train_loader, classes = my_net.utility.loadTrain(PATH, options.batch_size)
    print(f"{len(train_loader.dataset)} pictures of {', '.join(classes)}; training on {device}")  # type: ignore[arg-type]
    model, lossfun, optimizer = my_net.classify.makeEmotionNet(False, len(classes))
    losses, accuracies, model = my_net.utility.function2trainModel(
        model, device, train_loader, lossfun, optimizer, options.epochs
    )
    torch.save(model.cpu().state_dict(), WEIGHTS)
    print(f"weights saved as {WEIGHTS}")
    my_net.utility.plotCurves(losses, accuracies)


if __name__ == "__main__":
    try:
        main()
    except MienError as error:
        sys.exit(str(error))
