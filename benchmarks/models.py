"""The bundled models side by side: pictures a second on one thread, in turns.

python benchmarks/models.py
"""

from __future__ import annotations

import time

import numpy as np

from mien.model.bundle import BUNDLED, load_bundle
from mien.model.session import Session

ROUNDS, SECONDS = 3, 1.0


def rate(session: Session, crops: np.ndarray) -> float:
    """Pictures a second."""
    session.run(crops)
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < SECONDS:
        session.run(crops)
        done += len(crops)
    return done / (time.perf_counter() - started)


def main() -> None:
    """Print the best of the rounds, and the ratio to `large`."""
    sessions = {name: Session(load_bundle(name), 1) for name in BUNDLED}
    for batch in (1, 64):
        best = dict.fromkeys(sessions, 0.0)
        for _ in range(ROUNDS):
            for name, session in sessions.items():
                spec = session.manifest.input
                shape = (batch, spec.height, spec.width, spec.channels)
                crops = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
                best[name] = max(best[name], rate(session, crops))
        for name, found in best.items():
            size = len(load_bundle(name).model) / 1e6
            print(f"batch {batch:2}: {name:8} {size:5.2f} MB {found:7.0f}/s, {found / best['large']:4.1f} x large")


if __name__ == "__main__":
    main()
