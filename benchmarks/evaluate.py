"""How long `mien evaluate` takes over 7,000 crops, and how much memory, as a process of its own.

The pictures are taken from both splits, evenly: this measures time, so that their accuracy means nothing.

    python benchmarks/evaluate.py DATA [--pictures 7000]
"""

from __future__ import annotations

import argparse
import csv
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mien.dataset import read_split


def main() -> None:
    """Print seconds, pictures a second and the peak of memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--pictures", type=int, default=7000)
    args = parser.parse_args()
    samples = [s for split in ("validation", "train") for s in read_split(args.data, split).samples]
    chosen = samples[:: max(len(samples) // args.pictures, 1)][: args.pictures]
    with tempfile.TemporaryDirectory() as folder:
        table, page = Path(folder, "pictures.csv"), Path(folder, "page.html")
        with table.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("path", "label"), *((s.path.resolve(), s.label) for s in chosen)])
        started = time.perf_counter()
        command = [sys.executable, "-m", "mien", "evaluate", str(table), "--html", str(page)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds = time.perf_counter() - started
    peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024  # kilobytes on Linux
    print(
        f"mien evaluate --html: {len(chosen)} pictures in {seconds:.1f} s, {len(chosen) / seconds:.0f} a second, "
        f"{peak_mb:.0f} MB at most"
    )


if __name__ == "__main__":
    main()
