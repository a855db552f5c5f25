"""Where a detector's box puts the face of a training crop.

Training crops show a face from brow to chin; a detector's box is another rectangle. `measure_framing` runs a detector
over enlarged, padded training crops and finds the margin and shift that give the crop back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mien.detect import Detector
from mien.errors import TrainingError
from mien.geometry import eye_angle
from mien.imaging import enlarge_smoothly, padded, to_bgr
from mien.model.crop import Crops
from mien.model.manifest import Framing
from mien.progress import SILENT, Progress
from mien.records import Face, Image

ENLARGE = 4
"""48-pixel crops become 192 pixels wide: a size that every detector finds."""

CANVAS = 2.0
"""Side of the canvas, in crops."""

FEWEST = 20
"""Faces that a framing is measured from, at least."""

FRAMED_BY = Framing(margin=1.0, length="mean")
"""The mean of a box's sides tells a face's size better than the longer one: over 2,258 training crops, the standard
deviation of log(side of the crop / length) is 0.166 against 0.179."""


@dataclass(frozen=True, slots=True)
class FramingReport:
    """A framing and how it was found: of `tried` crops `found` were detected; spreads are interquartile ranges."""

    framing: Framing
    tried: int
    found: int
    margin_spread: float
    shift_spread_xy: tuple[float, float]


def on_canvas(crop: Crops) -> Image:
    """One crop uint8 `[H, W, C]`, enlarged, in the middle of a canvas of its own mean gray: uint8 BGR."""
    height, width = crop.shape[0] * ENLARGE, crop.shape[1] * ENLARGE
    bgr = to_bgr(enlarge_smoothly(crop, width, height))
    return padded(bgr, round(height * (CANVAS - 1) / 2), round(width * (CANVAS - 1) / 2), int(bgr.mean()))


def central_face(faces: list[Face], canvas: Image) -> Face | None:
    """The face with the highest score among those whose box holds the canvas's center."""
    y, x = canvas.shape[0] / 2, canvas.shape[1] / 2
    around = [f for f in faces if f.box_xyxy[0] < x < f.box_xyxy[2] and f.box_xyxy[1] < y < f.box_xyxy[3]]
    return max(around, key=lambda f: f.score, default=None)


def measure_framing(crops: Crops, detector: Detector, align: str, progress: Progress = SILENT) -> FramingReport:
    """Find the framing that turns `detector`'s boxes into these crops (medians over the crops).

    Args:
        crops: uint8 `[N, S, S, C]`, training faces.
        detector: whose boxes to calibrate.
        align: "eyes" or "none", as in `CropSpec`: the axes along which the shift is measured.

    Raises:
        TrainingError: the detector finds a face in fewer than 20 crops.
    """
    faces: list[Face] = []
    for done, crop in enumerate(crops):
        canvas = on_canvas(crop)
        face = central_face(detector.detect(canvas), canvas)
        if face is not None:
            faces.append(face)
        progress.update(f"finding faces with {detector.name}", done + 1, len(crops))
    return framing_of(faces, (crops.shape[1] * ENLARGE, crops.shape[2] * ENLARGE), align, len(crops))


def framing_of(faces: Sequence[Face], crop_hw: tuple[int, int], align: str, tried: int) -> FramingReport:
    """The framing that turns these boxes, each on a canvas of its own, into crops of this size (see `on_canvas`).

    Raises:
        TrainingError: there are fewer than `FEWEST` faces.
    """
    if len(faces) < FEWEST:
        raise TrainingError(
            f"the detector finds a face in {len(faces)} of {tried} training crops: too few to calibrate the crop"
        )
    measured = np.array([_framing_of(face, crop_hw, align) for face in faces])
    low, middle, high = np.percentile(measured, [25, 50, 75], axis=0)
    framing = FRAMED_BY.model_copy(  # a face has no left-right bias
        update={"margin": round(float(middle[0]), 4), "shift_xy": (0.0, round(float(middle[2]), 4))}
    )
    spread = high - low
    return FramingReport(framing, tried, len(faces), float(spread[0]), (float(spread[1]), float(spread[2])))


def _framing_of(face: Face, crop_hw: tuple[int, int], align: str) -> tuple[float, float, float]:
    """(margin, shift x, shift y) that would have given back the crop in the middle of the canvas."""
    x1, y1, x2, y2 = face.box_xyxy
    side = crop_hw[0]
    angle = eye_angle(face.landmarks_xy) if align == "eyes" and face.landmarks_xy else 0.0
    dx, dy = CANVAS / 2 * crop_hw[1] - (x1 + x2) / 2, CANVAS / 2 * crop_hw[0] - (y1 + y2) / 2
    cos, sin = np.cos(angle), np.sin(angle)
    margin = side / FRAMED_BY.length_of(x2 - x1, y2 - y1)
    return margin, float(cos * dx + sin * dy) / side, float(cos * dy - sin * dx) / side
