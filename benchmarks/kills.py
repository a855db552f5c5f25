"""Kill runs of `mien predict` and `mien train` at random moments, go on with them, and count what is lost or doubled.

    python benchmarks/kills.py                 10 kills of each: some minutes
    python benchmarks/kills.py --kills 40

A run is started, and its process group gets SIGKILL after a random time; the same command (with --resume) goes on,
and is killed again, until it ends by itself. Then its rows, its exit code, or its weights and history must be those of
a run that nobody disturbed. `predict` reads with two workers and leaves out copies. Needs POSIX, and torch for `train`.
Exit code: 0 nothing was lost, doubled or different; 1 something was.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
from PIL import Image

PICTURES, COPIES = 120, 40
EPOCHS = 6
RECIPE = f"""size = 16
epochs = {EPOCHS}
batch_size = 16
[network]
widths = [8, 16]
blocks = [1, 1]
"""

Differs = Callable[[int], list[str]]
"""Of a finished run's exit code: in what the run differs from an undisturbed one."""


def photos(folder: Path) -> None:
    """Photos with a face, byte for byte copies of some, and one that is broken."""
    folder.mkdir()
    face = Image.open(Path(str(resources.files("mien") / "samples/astronaut.jpg"))).resize((160, 160))
    for number in range(PICTURES):
        face.rotate(number / 8).save(folder / f"{number:03}.jpg", quality=90)
    for number in range(COPIES):
        (folder / f"{3 * number:03}-copy.jpg").write_bytes((folder / f"{2 * number:03}.jpg").read_bytes())
    (folder / "050-broken.jpg").write_bytes(b"\xff\xd8\xff nothing")


def squares(folder: Path) -> None:
    """Three classes of drawn pictures to train on."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 200), ("validation", 30)):
        for name, level in (("bright", 200), ("dark", 50), ("gray", 125)):
            place = folder / split / name
            place.mkdir(parents=True)
            for number in range(count):
                pixels = (level + rng.integers(-20, 20, (16, 16))).astype(np.uint8)
                Image.fromarray(pixels).save(place / f"{number}.png")


def run(command: list[str], limit_s: float | None = None) -> int:
    """Exit code of a command in a process group of its own, which is killed after `limit_s`."""
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            return process.wait(limit_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return process.wait()


def disturb(
    name: str, command: Callable[[Path], list[str]], differs: Callable[[Path], Differs], folder: Path, kills: int
) -> int:
    """Kill runs of a command `kills` times; the number of differences from an undisturbed one, which are printed."""
    started = time.monotonic()
    whole = folder / f"whole-{name}"
    code = run(command(whole))
    whole_s = time.monotonic() - started
    known = differs(whole)
    if problems := known(code):
        raise SystemExit(f"{name}: the undisturbed run fails: {problems}")
    done = finished = 0
    found: list[str] = []
    while done < kills:
        target = folder / f"{finished}-{name}"
        while True:
            # Anywhere in the run; a resumed one is shorter, and ends by itself more often.
            code = run(command(target), random.uniform(0.1, 1.0) * whole_s if done < kills else None)
            if code != -signal.SIGKILL:
                break
            done += 1
        finished += 1
        found += [f"{target.name}: {problem}" for problem in differs(target)(code)]
    print(
        f"{name}: {done} kills in {finished} runs; {len(found)} differences from an undisturbed run "
        f"({time.monotonic() - started:.0f} s)"
    )
    for problem in found:
        print(f"  {problem}")
    return len(found)


def rows_differ(target: Path) -> Differs:
    """Compare the rows and the exit code with those of `whole-...`."""
    whole = target.with_name("whole-predict.csv")

    def differs(code: int) -> list[str]:
        expected, found = (Counter(path.read_text().splitlines()) for path in (whole, target))
        problems = [f"exit code {code}"] if code != 1 else []  # one picture is broken
        problems += [f"lost: {row[:60]}" for row in expected - found]
        problems += [f"doubled: {row[:60]}" for row in found - expected]
        return problems if problems or whole.read_bytes() == target.read_bytes() else ["another order"]

    return differs


def training_differs(target: Path) -> Differs:
    """Compare weights and history with those of `whole-train`."""
    import torch

    whole = target.with_name("whole-train")

    def differs(code: int) -> list[str]:
        problems = [f"exit code {code}"] if code else []
        epochs = [json.loads(line)["epoch"] for line in (target / "history.jsonl").read_text().splitlines()]
        if epochs != list(range(1, EPOCHS + 1)):
            problems.append(f"epochs {epochs}")
        a, b = (torch.load(folder / "weights.pt", weights_only=True) for folder in (whole, target))
        if not all(torch.equal(a[name], b[name]) for name in a):
            problems.append("other weights")
        return problems

    return differs


def main() -> None:
    """Run both parts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kills", type=int, default=10, help="of each command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("predict", "train"))
    options = parser.parse_args()
    random.seed(options.seed)
    mien = [sys.executable, "-m", "mien"]
    problems = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.only != "train":
            photos(folder / "photos")
            read = ["predict", str(folder / "photos"), "--workers", "2", "--threads", "2", "--dedupe", "--resume"]
            problems += disturb(
                "predict.csv", lambda out: [*mien, *read, "--out", str(out)], rows_differ, folder, options.kills
            )
        if options.only != "predict":
            squares(folder / "data")
            (folder / "recipe.toml").write_text(RECIPE)
            learn = ["train", str(folder / "data"), "--recipe", str(folder / "recipe.toml"), "--threads", "1"]
            problems += disturb(
                "train", lambda out: [*mien, *learn, "--out", str(out)], training_differs, folder, options.kills
            )
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
