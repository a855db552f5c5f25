"""Readings as they are drawn on a video: boxes and probabilities without the detector's and the model's tremble."""

from __future__ import annotations

from dataclasses import replace

from mien.episodes import Smoother
from mien.records import Box, Expression, FrameReadings, Reading

MAX_LAG = 0.1
"""How far an edge of a drawn box may be from where it was found, in box widths and heights."""


class Steady:
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
        self._boxes: dict[int, tuple[float, Box]] = {}

    def update(self, result: FrameReadings) -> tuple[Reading, ...]:
        """The readings of the next frame, ready to be drawn; one without a track or a time stays as it is."""
        return tuple(self._smooth(reading) for reading in result.readings)

    def _smooth(self, reading: Reading) -> Reading:
        track, time_s, expression = reading.track, reading.time_s, reading.expression
        if track is None or time_s is None:
            return reading
        smoothed = self._smoother.update(track, time_s, expression.as_dict())
        box = self._box(track, time_s, reading.face.box_xyxy)
        return replace(
            reading,
            face=replace(reading.face, box_xyxy=box),
            expression=Expression(expression.classes, tuple(smoothed[name] for name in expression.classes)),
        )

    def _box(self, track: int, time_s: float, found: Box) -> Box:
        then, before = self._boxes.get(track, (time_s, found))
        keep = 0.5 ** ((time_s - then) / self.box_half_life_s) if self.box_half_life_s else 0.0
        lag_x, lag_y = MAX_LAG * (found[2] - found[0]), MAX_LAG * (found[3] - found[1])
        x1, y1, x2, y2 = (
            edge + min(max(keep * (old - edge), -lag), lag)
            for edge, old, lag in zip(found, before, (lag_x, lag_y, lag_x, lag_y), strict=True)
        )
        self._boxes[track] = (time_s, (x1, y1, x2, y2))
        return (x1, y1, x2, y2)
