"""How long and how much memory a cold start takes: `import mien`, and `mien predict` of one 640 x 480 photo.

python benchmarks/startup.py            Linux or macOS
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import resources
from pathlib import Path

from PIL import Image

RUNS = 7

ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""Python keeps what it compiles, as `pip install` does."""


def timed(command: list[str]) -> float:
    """Seconds of one cold process."""
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=ENVIRONMENT)
    return time.perf_counter() - started


def peak_megabytes(command: list[str]) -> float:
    """Largest resident size of one process."""
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, capture_output=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=True)
    return int(done.stdout) / (1024 if sys.platform != "darwin" else 1024**2)


def main() -> None:
    """Print medians of `RUNS` cold processes."""
    sample = Path(str(resources.files("mien") / "samples/astronaut.jpg"))
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.jpg"
        Image.open(sample).resize((640, 480)).save(photo, quality=92)
        nothing = [sys.executable, "-c", "pass"]
        imports = [sys.executable, "-c", "import mien"]
        predict = [sys.executable, "-m", "mien", "predict", str(photo)]
        for command in (imports, predict):
            timed(command)  # compiles
        rows = {name: [timed(command) for _ in range(RUNS)] for name, command in
                (("python -c pass", nothing), ("import mien", imports), ("mien predict", predict))}  # fmt: skip
        base = statistics.median(rows["python -c pass"])
        for name, times in rows.items():
            middle = statistics.median(times)
            print(
                f"{name:16} median {middle * 1000:6.0f} ms   best {min(times) * 1000:6.0f} ms   above bare "
                f"Python {(middle - base) * 1000:6.0f} ms"
            )
        print(f"mien predict, peak memory: {peak_megabytes(predict):.0f} MB")


if __name__ == "__main__":
    main()
