"""Lecture 4: train the network on images/train/, show the curves, save ./face_expression.pth.

The bonus: change the network or how it is trained, and keep it beside the first one:

    python train_emotion_classifier.py --weights bonus.pth --batch-norm --dropout 0.3
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import my_net
import torch

from mien.errors import MienError, OutputError
from mien_train.networks.emotion_net import EmotionNetShape, course_kernels

PATH, WEIGHTS = "./images/", "./face_expression.pth"


def main() -> None:
    options = parse()
    weights = Path(options.weights)
    if weights.exists() and not options.overwrite:  # before an hour of training, not after it
        raise OutputError(
            f"{weights}: exists already; give another name with --weights, or replace it with --overwrite"
        )
    my_net.display.FOLDER = Path(options.out)
    torch.manual_seed(options.seed)

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train_loader, classes = my_net.utility.loadTrain(PATH, options.batch_size)
    print(f"{len(train_loader.dataset)} pictures of {', '.join(classes)}; training on {device}")  # type: ignore[arg-type]
    model, lossfun, optimizer = make_network(options, len(classes))
    losses, accuracies, model = my_net.utility.function2trainModel(
        model, device, train_loader, lossfun, optimizer, options.epochs
    )
    torch.save(model.cpu().state_dict(), weights)
    print(f"weights saved as {weights}")
    my_net.utility.plotCurves(losses, accuracies)


def make_network(
    options: argparse.Namespace, classes: int
) -> tuple[torch.nn.Module, torch.nn.Module, torch.optim.Optimizer]:
    """`(model, lossfun, optimizer)`: the course's, unless an option changes them."""
    changed = options.widths or options.hidden or options.batch_norm or options.attention or options.dropout
    if not changed:
        model, lossfun, _ = my_net.classify.makeEmotionNet(False, *([classes] if classes != 3 else []))
    else:
        widths = numbers(options.widths or "64,128,256")
        kernels, paddings = course_kernels(len(widths))
        shape = EmotionNetShape(
            classes,
            widths=widths,
            kernels=kernels,
            paddings=paddings,
            hidden=numbers(options.hidden or "256,64"),
            batch_norm=options.batch_norm,
            attention=options.attention,
            dropout=options.dropout,
        )
        model, lossfun, _ = my_net.classify.makeEmotionNet(False, classes, shape)
    return model, lossfun, torch.optim.Adam(model.parameters(), lr=options.rate, weight_decay=options.weight_decay)


def numbers(text: str) -> tuple[int, ...]:
    """`64,128` -> (64, 128)."""
    return tuple(int(part) for part in text.split(","))


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--epochs", type=int, default=10, help="default: 10")
    add("--batch-size", type=int, default=32, help="default: 32")
    add("--rate", type=float, default=1e-3, help="learning rate; default: 0.001")
    add("--weight-decay", type=float, default=1e-5, help="default: 0.00001")
    add("--seed", type=int, default=0, help="equal seeds, data and machines give equal weights")
    add("--weights", default=WEIGHTS, help=f"where to save them; default: {WEIGHTS}")
    add("--out", default="figures", help="folder of the figures, where there is no display; default: figures")
    add("--overwrite", action="store_true", help="replace --weights if it exists")
    add("--widths", help="bonus: channels after each convolution; default: 64,128,256")
    add("--hidden", help="bonus: outputs of the linear layers but the last; default: 256,64")
    add("--batch-norm", action="store_true", help="bonus: batch normalization after each convolution")
    add("--attention", action="store_true", help="bonus: squeeze-excitation after each convolution")
    add("--dropout", type=float, default=0.0, help="bonus: share of values dropped before the last layer")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except MienError as error:
        sys.exit(str(error))
