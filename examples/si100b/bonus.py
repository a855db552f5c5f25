"""Lecture 5's bonus: two networks on the same validation pictures, side by side, and whether they really differ.

python bonus.py face_expression.pth bonus.pth
"""

from __future__ import annotations

import argparse
import sys
from math import isfinite

import my_net
from torch.utils.data import DataLoader

from mien.errors import MienError
from mien.measure.significance import SIGNIFICANCE, difference, joint_table
from mien.report.comparison_text import p_text

PATH = "./images/"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", nargs="?", default="./face_expression.pth")
    parser.add_argument("second", nargs="?", default="./bonus.pth")
    options = parser.parse_args()

    loader, classes = my_net.utility.loadTest(PATH, 256)
    loader = DataLoader(loader.dataset, batch_size=256, shuffle=False)  # both see the same pictures in the same order
    networks = [my_net.utility.loadTrained(path, len(classes)) for path in (options.first, options.second)]
    (truth, first), (_, second) = (my_net.utility.predictAll(network, loader) for network in networks)
    matrices = [my_net.utility.confusionMatrix(truth, said, classes) for said in (first, second)]
    found = difference(joint_table(truth, first, second, len(classes)), classes)

    print(f"A  {options.first}\nB  {options.second}\n{len(truth)} validation pictures\n")
    for title, measure in (("accuracy", my_net.utility.accuracies), ("recall", my_net.utility.recalls)):
        print(f"{title:10} {'A':>8} {'B':>8} {'B - A':>9}")
        values = [[*each, total] for each, total in map(measure, matrices)]
        for name, a, b in zip([*classes, "total"], *values, strict=True):
            change = f"{100 * (b - a):+9.2f}" if isfinite(b - a) else f"{'nan':>9}"  # a class that was never predicted
            print(f"{name:10} {a:8.2%} {b:8.2%} {change}")
        print()
    low, high = 100 * found.accuracy.low, 100 * found.accuracy.high
    print(f"total accuracy, B - A: {100 * found.accuracy.value:+.2f} points, 95 % interval [{low:+.2f}, {high:+.2f}]")
    print(f"only A right: {found.only_a}, only B right: {found.only_b}; McNemar's exact test: {p_text(found.p_value)}")
    more = (
        f"{found.better} is better, and that is more than chance" if found.better else "no more than chance would give"
    )
    print(f"{more} (limit: {SIGNIFICANCE})")


if __name__ == "__main__":
    try:
        main()
    except MienError as error:
        sys.exit(str(error))
