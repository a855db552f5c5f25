"""Readings as they are drawn on a video: boxes and probabilities without the detector's and the model's tremble."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mien.records import Box, FrameReadings, Reading
from mien.temporal.episodes import Smoother

MAX_LAG = 0.1
"""How far the center of a drawn box, and its size, may be from what was found, in box widths and heights."""


class ReadingSmoother:
    """Smooths the readings of one video over time, each track by itself. For display only: measure without it.

    Args:
        half_life_s: of probabilities: what lies so far back counts half; 0 switches it off. See `Smoother`.
        box_half_life_s: of boxes, the same; but none lags behind its face by more than `MAX_LAG`.
    """

    def __init__(self, half_life_s: float = 0.25, box_half_life_s: float = 0.15) -> None:
        if box_half_life_s < 0:
            raise ValueError(f"expected box_half_life_s of at least 0, found {box_half_life_s:g}")
        self.box_half_life_s = box_half_life_s
        self._smoother = Smoother(half_life_s)
        self._places: dict[int, tuple[float, NDArray[np.float64]]] = {}

    def update(self, result: FrameReadings) -> tuple[Reading, ...]:
        """The readings of the next frame, ready to be drawn; one without a track or a time stays as it is."""
        return tuple(self._smooth(reading) for reading in result.readings)

    def forget(self, track: int) -> None:
        """The track is over."""
        self._smoother.forget(track)
        self._places.pop(track, None)

    def _smooth(self, reading: Reading) -> Reading:
        track, time_s, expression = reading.track, reading.time_s, reading.expression
        if track is None or time_s is None:
            return reading
        smoothed = self._smoother.update(track, time_s, expression.as_dict())
        box = self._box(track, time_s, reading.face.box_xyxy)
        return replace(
            reading,
            face=replace(reading.face, box_xyxy=box),
            expression=replace(expression, probabilities=tuple(smoothed[name] for name in expression.classes)),
        )

    def _box(self, track: int, time_s: float, found: Box) -> Box:
        now = _place(found)
        then, before = self._places.get(track, (time_s, now))
        keep = 0.5 ** ((time_s - then) / self.box_half_life_s) if self.box_half_life_s else 0.0
        lag = MAX_LAG * np.tile(now[2:], 2)
        now += np.clip(keep * (before - now), -lag, lag)
        self._places[track] = (time_s, now)
        x, y, width, height = now.tolist()
        return (x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def _place(box: Box) -> NDArray[np.float64]:
    """Center and size `[4]`: apart, for the size of a face that moves is still steady."""
    x1, y1, x2, y2 = box
    return np.array([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1])
