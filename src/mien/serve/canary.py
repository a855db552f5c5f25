"""A canary: a new version that answers a share of the requests, and stops by itself when it does worse."""

from __future__ import annotations

import hashlib
import random
import threading
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from mien.serve.serving import Serving

WINDOW = 500
"""Pictures of each version that are remembered."""

ENOUGH = 50
"""Pictures that the canary must have read before it is judged by its time."""

ERRORS = 3
"""Failures, not of the picture but of the version, that end a canary at once if production has fewer."""

FACTOR = 1.5
"""The canary's 99th percentile may exceed production's by this factor ..."""

SLACK_S = 0.005
"""... and by this many seconds."""


@dataclass(slots=True)
class RecentRequests:
    """How one version did of late: seconds a picture, and failures."""

    seconds: deque[float] = field(default_factory=lambda: deque[float](maxlen=WINDOW))
    failures: int = 0

    def p99(self) -> float:
        """99th percentile of the seconds a picture; NaN without a picture."""
        return float(np.percentile(self.seconds, 99)) if self.seconds else float("nan")


class Canary:
    """One canary and how it compares with production. Safe to use from several threads."""

    def __init__(self, serving: Serving, share: float) -> None:
        self.serving, self.share = serving, share
        self.mine, self.productions = RecentRequests(), RecentRequests()
        self._lock = threading.Lock()

    def takes(self, key: str) -> bool:
        """Whether the canary answers a client of this key; without a key, chance decides."""
        if not key:
            return random.random() < self.share
        digest = hashlib.sha256(f"{self.serving.sha256}/{key}".encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64 < self.share

    def note(self, serving: Serving, seconds: float, *, failed: bool) -> None:
        """One picture took so long, or made the version fail."""
        record = self.mine if serving is self.serving else self.productions
        with self._lock:
            record.seconds.append(seconds)
            record.failures += failed

    def verdict(self) -> str:
        """Why the canary must stop; "" while it may go on."""
        with self._lock:
            if self.mine.failures >= ERRORS and self.mine.failures > self.productions.failures:
                return f"it failed on {self.mine.failures} pictures, production on {self.productions.failures}"
            if len(self.mine.seconds) < ENOUGH or len(self.productions.seconds) < ENOUGH:
                return ""
            mine, limit = self.mine.p99(), self.productions.p99() * FACTOR + SLACK_S
            if mine > limit:
                return f"its 99th percentile is {1000 * mine:.0f} ms a picture, more than {1000 * limit:.0f} ms"
        return ""
