"""Photos a second beside the package `fer`, in turns on the same photos and cores: each decodes, finds and reads faces.

`fer` runs in an environment of its own (Python 3.11), loaded once:

    pip install fer==25.10.3 tensorflow==2.21.0 'setuptools<81'

    python benchmarks/peers.py PHOTOS --python ENVIRONMENT/bin/python

PHOTOS is a folder of pictures. With a `boxes.json` as `benchmarks/detection.py` takes it, faces found are counted too.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from detection import Box, corners, tally

from mien import Recognizer
from mien.media.image import read_image
from mien.records import Frame, FrameReadings

KINDS = {".jpg", ".jpeg", ".png", ".bmp"}

FER = """
import json, sys, time
import cv2
from fer.fer import FER
reader, paths = FER(), sys.argv[1:]
print("READY", flush=True)
for line in sys.stdin:
    started = time.perf_counter()
    found = [[list(map(int, face["box"])) for face in reader.detect_emotions(cv2.imread(path))] for path in paths]
    print("ROUND" + json.dumps([time.perf_counter() - started, found]), flush=True)
"""


class Reader(Protocol):
    """Reads all photos once."""

    def round(self) -> tuple[float, list[list[Box]]]:
        """Seconds, and the boxes in each photo, x1 y1 x2 y2, best first."""
        ...


class Mien:
    """Ours, with one of the bundled models."""

    def __init__(self, model: str, paths: list[Path], cores: int) -> None:
        self._recognizer, self._paths = Recognizer(model, threads=cores), paths

    def _frames(self) -> Iterator[Frame]:
        for path in self._paths:
            yield from read_image(path, reduction=self._recognizer.reduction)

    def round(self) -> tuple[float, list[list[Box]]]:
        """See `Reader`."""
        started = time.perf_counter()
        results = list(self._recognizer.read_all(self._frames()))
        seconds = time.perf_counter() - started
        read = [result for result in results if isinstance(result, FrameReadings)]
        return seconds, [[reading.face.box_xyxy for reading in result.readings] for result in read]


class Fer:
    """The package `fer` in a process of its own."""

    def __init__(self, python: Path, paths: list[Path]) -> None:
        environment = {
            name: value for name, value in os.environ.items() if name not in ("OMP_NUM_THREADS", "PYTHONPATH")
        }
        self._process = subprocess.Popen(
            [python, "-c", FER, *paths], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, env=environment | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        )  # fmt: skip
        self._answer("READY")

    def _answer(self, begin: str) -> str:
        assert self._process.stdout
        assert self._process.stderr
        for line in self._process.stdout:
            if line.startswith(begin):
                return line.removeprefix(begin)
        raise SystemExit(f"fer did not answer: {self._process.stderr.read().strip()[-500:]}")

    def round(self) -> tuple[float, list[list[Box]]]:
        """See `Reader`."""
        assert self._process.stdin
        print("again", file=self._process.stdin, flush=True)
        seconds, found = json.loads(self._answer("ROUND"))
        return seconds, [[corners(box) for box in boxes] for boxes in found]

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def found_line(paths: list[Path], boxes: list[list[Box]], least: float) -> str:
    """How many faces were found: of those with boxes, where there are boxes."""
    truth_file = paths[0].parent / "boxes.json"
    if not truth_file.exists():
        return f"{sum(map(len, boxes))} faces"
    truth = json.loads(truth_file.read_text(encoding="utf-8"))
    asked = right = wrong = 0
    for path, found in zip(paths, boxes, strict=True):
        faces, ignored = ([corners(box) for box in truth[path.name][key]] for key in ("faces_xywh", "ignore_xywh"))
        counts = tally(found, faces, ignored, least)
        asked, right, wrong = asked + counts[0], right + counts[1], wrong + counts[2]
    return f"{right} of {asked} faces, {wrong} boxes that are no face"


def main() -> None:
    """Print photos a second of each, and the ratios to `fer`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--python", type=Path, required=True, help="Python of an environment with the package fer")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--least", type=float, default=20.0, help="least shorter side of a face, in pixels")
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.cores])
    paths = sorted(path for path in args.photos.iterdir() if path.suffix.lower() in KINDS)
    fer = Fer(args.python, paths)
    readers: dict[str, Reader] = {"fer": fer} | {name: Mien(name, paths, args.cores) for name in ("large", "default")}
    boxes = {name: reader.round()[1] for name, reader in readers.items()}  # not timed: everything is loaded by it
    seconds: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(args.rounds):
        for name, reader in readers.items():
            seconds[name].append(reader.round()[0])
    fer.close()
    for name, spent in seconds.items():
        ratio = statistics.median(theirs / ours for theirs, ours in zip(seconds["fer"], spent, strict=True))
        print(
            f"{name:8} {len(paths) / statistics.median(spent):6.1f} photos/s, {ratio:4.1f} x fer, "
            f"{found_line(paths, boxes[name], args.least)}"
        )


if __name__ == "__main__":
    main()
