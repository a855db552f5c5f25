"""Faces made unrecognizable, in one picture or through a video."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mien.imaging import enlarge_smoothly, gaussian_blur, shrink, size_for
from mien.records import Face, FrameReadings, Image, Reading

MARGIN = 0.25
"""Added to each side of a box, in box widths and heights: for hair, ears and chin. From 0.21 on, the ellipse that is
blurred holds the whole box."""

GRAINS = 32
"""Pixels that the longer side of the blurred region is shrunk to first. Fewer would let fine detail pass as coarse, and
many frames give it back; what these let pass is lost in 8 bits."""

SPREAD = 0.25
"""Standard deviation of the Gaussian blur, in the region's longer side. It leaves exp(-2 (pi SPREAD f)^2) of a detail
that comes f times in the region: 29 % of one that comes once, under 1 % at 2, 1 in 10^5 at 3. What tells faces apart
lies above that, and 8 bits do not hold the rest."""


def blur_faces(image: Image, faces: Iterable[Face | Reading]) -> Image:
    """Blur each face beyond recognition, the same at every size: an ellipse that holds its box.

    No detail within a box can be restored, not from many frames either. Clothes, place and voice may still tell who it
    is.

    Args:
        image: uint8 `[H, W, 3]`, BGR; not changed.
        faces: of this picture; boxes in its pixels, which may reach out of it.

    Returns:
        A new picture of the same shape, to be drawn on or written. Farther from a box than `MARGIN` it is as it was.
    """
    canvas = np.array(image, np.uint8)
    for item in faces:
        _blur(canvas, item.face if isinstance(item, Reading) else item)
    return canvas


class FaceBlur:
    """Blurs the faces of one video. Where a face was seen up to `hold_s` ago it goes on, at its last place.

    So a face that the detector misses in a few frames is not shown in them. One that it never finds is.
    """

    def __init__(self, hold_s: float = 0.5) -> None:
        if hold_s < 0:
            raise ValueError(f"expected hold_s of at least 0, found {hold_s:g}")
        self.hold_s = hold_s
        self._last: dict[int, tuple[float, Face]] = {}

    def apply(self, result: FrameReadings) -> Image:
        """The picture of the next frame, blurred."""
        time_s = result.frame.time_s
        if time_s is None:
            return blur_faces(result.frame.pixels, result.readings)
        self._last = {track: seen for track, seen in self._last.items() if time_s - seen[0] <= self.hold_s}
        self._last |= {r.track: (time_s, r.face) for r in result.readings if r.track is not None}
        untracked = [r.face for r in result.readings if r.track is None]
        return blur_faces(result.frame.pixels, [*untracked, *(face for _, face in self._last.values())])


def _blur(canvas: Image, face: Face) -> None:
    x1, y1, x2, y2 = face.box_xyxy
    half_w, half_h = (x2 - x1) * (0.5 + MARGIN), (y2 - y1) * (0.5 + MARGIN)
    center_x, center_y = (x1 + x2) / 2, (y1 + y2) / 2
    left, right = (round(min(max(center_x + d, 0), canvas.shape[1])) for d in (-half_w, half_w))
    top, bottom = (round(min(max(center_y + d, 0), canvas.shape[0])) for d in (-half_h, half_h))
    if left >= right or top >= bottom or half_w <= 0 or half_h <= 0:
        return
    region = canvas[top:bottom, left:right]
    # How far out each pixel's center lies: 1 on the ellipse; the corners of the box lie at `inner`.
    x = (np.arange(left, right, dtype=np.float32) + 0.5 - center_x) / half_w
    y = (np.arange(top, bottom, dtype=np.float32) + 0.5 - center_y) / half_h
    distance, inner = np.hypot(x[None, :], y[:, None]), np.sqrt(0.5) / (0.5 + MARGIN)
    alpha = np.clip((1 - distance) / (1 - inner), 0, 1)[..., None]
    region[...] = np.rint(region * (1 - alpha) + _without_detail(region, 2 * max(half_w, half_h)) * alpha)


def _without_detail(region: Image, side: float) -> Image:
    """The region, blurred; `side` is the longer one of all of it, of which the frame may hold a part."""
    scale = min(1.0, GRAINS / side)
    height, width = region.shape[:2]
    small = shrink(region, *size_for(region, scale))
    # Mirrored: if edges were continued, a frame's edge that runs through a face would show the line where it does.
    small = gaussian_blur(small, SPREAD * side * scale, edge="symmetric")
    return enlarge_smoothly(small, width, height)
