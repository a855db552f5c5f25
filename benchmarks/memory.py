"""Resident memory over 10,000 detections (and crops and classifications) in one process. Linux.

python benchmarks/memory.py [COUNT]
"""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path

import cv2

from mien import Recognizer
from mien.media import read_image
from mien.records import Frame


def resident_megabytes() -> float:
    """What the process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def main() -> None:
    """Print the memory every tenth of the way."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    sample = Path(str(resources.files("mien") / "samples/astronaut.jpg"))
    image = cv2.resize(next(read_image(sample)).image, (320, 320), interpolation=cv2.INTER_AREA)
    recognizer = Recognizer(threads=1)
    faces = 0
    for done in range(count + 1):
        if done % max(count // 10, 1) == 0:
            print(f"{done:6} pictures, {faces:6} faces: {resident_megabytes():6.1f} MB", flush=True)
        faces += len(recognizer.read_frame(Frame(image, "sample", done)).readings)


if __name__ == "__main__":
    main()
