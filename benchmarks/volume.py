"""How many pictures a second: one process on one core and on all, several processes, and a plain loop over the library.

python benchmarks/volume.py [--pictures 5000] [--workers 2]

The pictures are composed from the bundled samples: moved, resized and lit differently, 640 x 480.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from importlib import resources
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from mien import Recognizer

SIZE = (640, 480)


def compose(folder: Path, count: int) -> None:
    """Write `count` different JPEGs with three faces each."""
    group = Image.open(str(resources.files("mien") / "samples/group.jpg")).convert("RGB")
    rng = np.random.default_rng(0)
    for number in range(count):
        canvas = Image.new("RGB", SIZE, tuple(int(v) for v in rng.integers(40, 200, 3)))
        width = int(rng.integers(420, SIZE[0]))
        view = group.resize((width, round(width * group.height / group.width)))
        view = ImageEnhance.Brightness(view).enhance(float(rng.uniform(0.7, 1.2)))
        canvas.paste(view, (int(rng.integers(0, SIZE[0] - width + 1)), int(rng.integers(0, 40))))
        canvas.save(folder / f"{number:06}.jpg", quality=88)


def command(folder: Path, out: Path, workers: int, threads: int) -> float:
    """Seconds that `mien predict` takes, from start to end."""
    started = time.perf_counter()
    arguments = ["predict", str(folder), "--out", str(out), "--overwrite", "--profile"]
    arguments += ["--threads", str(threads), "--workers", str(workers)]
    done = subprocess.run([sys.executable, "-m", "mien", *arguments], capture_output=True, text=True, check=True)
    print(done.stderr.strip())
    return time.perf_counter() - started


def loop(folder: Path) -> float:
    """Seconds of a plain loop over the library, one thread."""
    recognizer = Recognizer(threads=1)
    started = time.perf_counter()
    for path in sorted(folder.iterdir()):
        recognizer.read(path)
    return time.perf_counter() - started


def main() -> None:
    """Print pictures a second and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work, "pictures")
        folder.mkdir()
        compose(folder, args.pictures)
        plain = loop(folder)
        print(f"a loop over the library: {args.pictures / plain:6.1f} pictures/s")
        for workers, threads in ((1, 1), (1, args.workers), (args.workers, args.workers)):
            spent = command(folder, Path(work, f"{workers}-{threads}.jsonl"), workers, threads)
            print(
                f"workers {workers}, threads {threads}: {args.pictures / spent:6.1f} pictures/s, "
                f"{plain / spent:.2f} x the loop"
            )


if __name__ == "__main__":
    main()
