"""A shadow: a version that sees what production saw, later, and is only compared. It keeps no picture."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from mien.model.classify import classify
from mien.model.crop import Crops, cut
from mien.records import Expression, FrameReadings
from mien.serve.metrics import Metrics
from mien.serve.read_options import ReadOptions
from mien.serve.serving import Serving

WAITING = 64
"""Frames that may wait for the shadow; more are dropped and counted."""

_log = logging.getLogger("mien.serve")


@dataclass(frozen=True, slots=True)
class _Seen:
    crops: Crops
    wish: ReadOptions
    expressions: tuple[Expression, ...]


class Shadow:
    """One shadow with a bounded queue and a thread of its own."""

    def __init__(self, serving: Serving, metrics: Metrics) -> None:
        self.serving = serving
        self.faces = self.disagreements = self.dropped = 0
        self.distance = 0.0
        self._metrics, self._version = metrics, str(serving.version)
        self._queue: queue.Queue[_Seen | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, name="mien-shadow", daemon=True)
        self._thread.start()

    def see(self, readings: Sequence[FrameReadings], wish: ReadOptions) -> None:
        """Take the crops of what production read, and how it read; drop them if the shadow is behind. Never waits."""
        manifest = self.serving.manifest
        for item in readings:
            if not item.readings:
                continue
            if self._queue.qsize() >= WAITING:
                self.dropped += 1
                self._metrics.shadow_dropped.labels(self._version).inc()
                continue
            faces = [reading.face for reading in item.readings]
            crops = cut(item.frame.pixels, faces, manifest.crop, manifest.input)
            self._queue.put(_Seen(crops, wish, tuple(reading.expression for reading in item.readings)))

    def state(self) -> dict[str, object]:
        """Counts so far, for people; `/metrics` has the same for machines."""
        return {
            "faces": self.faces,
            "disagreements": self.disagreements,
            "mean_distance": self.distance / self.faces if self.faces else None,
            "dropped": self.dropped,
        }

    def wait(self, timeout_s: float) -> bool:
        """Wait until the queue is done; whether it is."""
        done = threading.Event()
        threading.Thread(target=lambda: (self._queue.join(), done.set()), daemon=True).start()
        return done.wait(timeout_s)

    def close(self) -> None:
        """Stop after the frames that wait."""
        self._queue.put(None)

    def _work(self) -> None:
        while (seen := self._queue.get()) is not None:
            try:
                with self.serving.reader() as reader:
                    session = reader.session_for(seen.wish)
                    answers = classify(session, seen.crops)
                for theirs, mine in zip(seen.expressions, answers, strict=True):
                    self._compare(theirs, mine)
            except Exception:
                _log.exception("the shadow failed on a frame")
                self._metrics.shadow_errors.labels(self._version).inc()
            self._queue.task_done()
        self._queue.task_done()

    def _compare(self, theirs: Expression, mine: Expression) -> None:
        ours, other = mine.as_dict(), theirs.as_dict()
        # Total variation over the classes of either: half the sum of the differences, 0..1.
        distance = sum(abs(ours.get(name, 0.0) - other.get(name, 0.0)) for name in {*ours, *other}) / 2
        self.faces += 1
        self.distance += distance
        self._metrics.shadow_faces.labels(self._version).inc()
        self._metrics.shadow_distance.labels(self._version).observe(distance)
        if mine.label != theirs.label:
            self.disagreements += 1
            self._metrics.shadow_disagreements.labels(self._version).inc()
