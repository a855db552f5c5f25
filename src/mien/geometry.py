"""Pure arithmetic on boxes and landmarks. Boxes are `xyxy`, float, far edge exclusive; `N` may be 0 everywhere."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mien.records import Box, Face, Landmarks

Boxes = NDArray[np.float64]
"""`[N, 4]`, xyxy."""


def xywh_to_xyxy(x: float, y: float, width: float, height: float) -> Box:
    """Corner and size -> two corners."""
    return (x, y, x + width, y + height)


def scale_face(face: Face, factor_x: float, factor_y: float) -> Face:
    """The face with its coordinates multiplied: in the pixels of a picture of another size."""
    x1, y1, x2, y2 = face.box_xyxy
    landmarks: Landmarks | None = None
    if face.landmarks_xy is not None:
        a, b, c, d, e = ((x * factor_x, y * factor_y) for x, y in face.landmarks_xy)
        landmarks = (a, b, c, d, e)
    return replace(face, box_xyxy=(x1 * factor_x, y1 * factor_y, x2 * factor_x, y2 * factor_y), landmarks_xy=landmarks)


def clip_box(box: Box, width: int, height: int) -> Box:
    """Cut a box to the frame `[0, width] x [0, height]`; a box outside comes back with zero area."""
    x1, y1, x2, y2 = box
    return (
        min(max(x1, 0.0), float(width)),
        min(max(y1, 0.0), float(height)),
        min(max(x2, 0.0), float(width)),
        min(max(y2, 0.0), float(height)),
    )


def area(boxes: Boxes) -> NDArray[np.float64]:
    """Areas `[N]` of boxes `[N, 4]`; an inverted box has area 0."""
    size = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return size[:, 0] * size[:, 1]


def iou(a: Boxes, b: Boxes) -> NDArray[np.float64]:
    """Intersection over union `[N, M]` of boxes `[N, 4]` and `[M, 4]`, 0..1 (0 where both are empty)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    size = np.maximum(high - low, 0)
    shared = size[..., 0] * size[..., 1]
    union = area(a)[:, None] + area(b)[None, :] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def eye_angle(landmarks: Landmarks) -> float:
    """Angle in radians of the line between the eyes, 0 when level, positive when the right-hand eye is lower."""
    (left_x, left_y), (right_x, right_y) = landmarks[0], landmarks[1]
    return math.atan2(right_y - left_y, right_x - left_x)


def suppress_overlaps(boxes: Boxes, scores: NDArray[np.float64], most: float) -> list[int]:
    """Greedy non-maximum suppression: indices of the boxes to keep, highest score first.

    Args:
        boxes: `[N, 4]`.
        scores: `[N]`.
        most: a box that overlaps one of a higher score by more than this (intersection over union, 0..1) is left out.
    """
    kept: list[int] = []
    waiting = np.argsort(-scores, kind="stable")
    while waiting.size:
        best, rest = waiting[0], waiting[1:]
        kept.append(int(best))
        waiting = rest[iou(boxes[best : best + 1], boxes[rest])[0] <= most]
    return kept
