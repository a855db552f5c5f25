"""Face -> model input. The only preprocessing there is: training and inference both call it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mien.geometry import eye_angle, scale_face
from mien.imaging import Pixels, shrink, to_gray, warp
from mien.model.manifest import CropSpec, InputSpec
from mien.records import Face, Frame, Image

PIXELS_KEPT = 1.0
"""A crop may come from a reduced picture if its square has at least so many times the model's pixels a side there."""

Crops = NDArray[np.uint8]
"""uint8 `[N, H, W, C]`, channels in the order that `InputSpec.color` names."""


def cut(image: Image, faces: Sequence[Face], spec: CropSpec, target: InputSpec) -> Crops:
    """Cut every face out of one frame.

    Args:
        image: uint8 `[H, W, 3]`, BGR.
        faces: N faces, boxes and landmarks in the frame's pixels; N may be 0.
        spec: margin, alignment and kernel, from the model's manifest.
        target: size and color of the crops, from the model's manifest.

    Returns:
        uint8 `[N, target.height, target.width, target.channels]`.
    """
    crops = np.empty((len(faces), target.height, target.width, target.channels), np.uint8)
    for crop, face in zip(crops, faces, strict=True):
        crop[...] = _cut_one(image, face, spec, target)
    return crops


def cut_frame(frame: Frame, faces: Sequence[Face], spec: CropSpec, target: InputSpec) -> Crops:
    """Like `cut`, from a frame. One that was reduced is decoded again if a crop would lose pixels otherwise.

    Raises:
        MediaError: it cannot be decoded again.
    """
    reduced = frame.reduced
    if not reduced:
        return cut(frame.pixels, faces, spec, target)
    least = PIXELS_KEPT * max(target.width, target.height) * reduced.factor
    if any(square_of(face, spec)[2] < least for face in faces):
        return cut(reduced.whole(), faces, spec, target)
    scale = 1 / reduced.factor
    return cut(reduced.image, [scale_face(face, scale, scale) for face in faces], spec, target)


def whole_face(image: Image) -> Face:
    """The face whose box is the picture: what a data set of crops holds."""
    height, width = image.shape[:2]
    return Face((0.0, 0.0, float(width), float(height)), 1.0, None, "whole")


def square_of(face: Face, spec: CropSpec) -> tuple[float, float, float, float]:
    """The model's square view: center x, center y, side (pixels of the frame) and angle (radians)."""
    x1, y1, x2, y2 = face.box_xyxy
    framing = spec.framing(face.detector)
    side = max(framing.margin * framing.length_of(x2 - x1, y2 - y1), 1.0)
    angle = eye_angle(face.landmarks_xy) if spec.align == "eyes" and face.landmarks_xy else 0.0
    along, down = framing.shift_xy[0] * side, framing.shift_xy[1] * side
    cos, sin = math.cos(angle), math.sin(angle)
    return ((x1 + x2) / 2 + cos * along - sin * down, (y1 + y2) / 2 + sin * along + cos * down, side, angle)


def _cut_one(image: Image, face: Face, spec: CropSpec, target: InputSpec) -> Image:
    center_x, center_y, side, angle = square_of(face, spec)
    reach = side / 2 * (abs(math.cos(angle)) + abs(math.sin(angle)))
    left, right = _span(center_x, reach, image.shape[1])
    top, bottom = _span(center_y, reach, image.shape[0])
    region = _recolor(image[top:bottom, left:right], target)

    # Shrink by area averaging first, so that the warp below never skips pixels; the warp alone would alias.
    shrink_x = max(side / target.width, 1.0)
    shrink_y = max(side / target.height, 1.0)
    small_size = (max(round((right - left) / shrink_x), 1), max(round((bottom - top) / shrink_y), 1))
    if small_size != (right - left, bottom - top):
        region = shrink(region, *small_size)
    to_small_x, to_small_y = small_size[0] / (right - left), small_size[1] / (bottom - top)

    # Output pixel -> region pixel. Continuous coordinates put pixel i's center at i + 0.5.
    step_x, step_y = side / target.width, side / target.height
    cos, sin = math.cos(angle), math.sin(angle)
    linear = np.array(
        [
            [cos * step_x * to_small_x, -sin * step_y * to_small_x],
            [sin * step_x * to_small_y, cos * step_y * to_small_y],
        ]
    )
    origin = np.array([(center_x - left) * to_small_x, (center_y - top) * to_small_y])
    offset = origin + linear @ np.array([0.5 - target.width / 2, 0.5 - target.height / 2]) - 0.5
    crop = warp(region, np.column_stack([linear, offset]), target.width, target.height)
    return crop.reshape(target.height, target.width, target.channels)


def _span(center: float, reach: float, size: int) -> tuple[int, int]:
    """The pixels from center - reach to center + reach that lie in 0..size, at least one."""
    low = min(max(math.floor(center - reach + 1e-6), 0), size - 1)
    return low, min(max(math.ceil(center + reach - 1e-6), low + 1), size)


def _recolor(image: Image, target: InputSpec) -> Pixels:
    if target.color == "bgr":
        return image
    return to_gray(image) if target.color == "gray" else image[..., ::-1]
