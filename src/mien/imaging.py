"""Gray, resize, warp, blur and encode uint8 pictures, with Pillow and numpy alone.

`shrink` and `warp` are the two halves of the kernel `area-linear` that models are trained on. They give what OpenCV's
INTER_AREA and `warpAffine` give, which made the crops of earlier models, to within one or two of 255 levels.
"""

from __future__ import annotations

import io
import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from mien.records import Image

Pixels = NDArray[np.uint8]
"""uint8 `[H, W]` gray, or `[H, W, 3]` BGR."""

WARP_BITS = 5
"""A warp reads between pixels at multiples of 1 / 2**5 pixel: as OpenCV does, so that its results are met."""

LEFT_TO_SHRINK = 8
"""Whole blocks of pixels are averaged first, where so much shrinking remains: that is faster, and nearly the same."""


def to_pillow(image: Pixels) -> PillowImage.Image:
    """A Pillow picture (L or RGB) of a gray or BGR array."""
    height, width = image.shape[:2]
    data = np.ascontiguousarray(image)
    if image.ndim == 2 or image.shape[2] == 1:
        return PillowImage.frombuffer("L", (width, height), data, "raw", "L", 0, 1)
    return PillowImage.frombuffer("RGB", (width, height), data, "raw", "BGR", 0, 1)


def from_pillow(picture: PillowImage.Image) -> Pixels:
    """The array of a Pillow picture: gray `[H, W]` for mode L, else BGR `[H, W, 3]`. It cannot be written to."""
    if picture.mode == "L":
        return np.frombuffer(picture.tobytes(), np.uint8).reshape(picture.height, picture.width)
    rgb = picture if picture.mode == "RGB" else picture.convert("RGB")
    # Pillow swaps the channels while it packs the bytes; numpy would take ten times as long.
    return np.frombuffer(rgb.tobytes("raw", "BGR"), np.uint8).reshape(rgb.height, rgb.width, 3)


def to_gray(image: Image) -> Pixels:
    """Luma `[H, W]` of a BGR picture, by the weights of ITU-R BT.601."""
    return from_pillow(to_pillow(image).convert("L"))


def to_bgr(gray: Pixels) -> Image:
    """Three equal channels `[H, W, 3]` of a gray picture `[H, W]` or `[H, W, 1]`; others as they are."""
    flat = gray if gray.ndim == 2 else gray[..., 0]
    return gray if gray.ndim == 3 and gray.shape[2] == 3 else np.repeat(flat[..., None], 3, axis=2)


def shrink(image: Pixels, width: int, height: int) -> Pixels:
    """Shrink by area averaging: each new pixel is the mean of what it covers, parts of pixels included.

    Args:
        image: `[H, W]` or `[H, W, 3]`.
        width: of the result, 1..W.
        height: of the result, 1..H.
    """
    if image.shape[:2] == (height, width):
        return image
    step_x, step_y = image.shape[1] / width, image.shape[0] / height
    block = max(int(min(step_x, step_y) / LEFT_TO_SHRINK), 1)
    if block > 1:
        image = from_pillow(to_pillow(image).reduce(block))
    rows = _coverage(image.shape[0], height, step_y / block)
    columns = _coverage(image.shape[1], width, step_x / block)
    if image.ndim == 2:
        return _averaged(rows, image, columns)
    small = np.empty((height, width, image.shape[2]), np.uint8)
    for channel in range(image.shape[2]):
        small[..., channel] = _averaged(rows, image[..., channel], columns)
    return small


def _averaged(rows: NDArray[np.float32], plane: Pixels, columns: NDArray[np.float32]) -> Pixels:
    means = np.asarray(np.matmul(np.matmul(rows, plane.astype(np.float32)), np.transpose(columns)), np.float32)
    return np.rint(means).astype(np.uint8)


@lru_cache(256)
def _coverage(size: int, new_size: int, step: float) -> NDArray[np.float32]:
    """`[new_size, size]`: the share of each new pixel, `step` old ones wide, that each old one makes up."""
    begin = np.arange(new_size)[:, None] * step
    edges = np.minimum(np.maximum(np.arange(size + 1.0), begin), begin + step)
    return ((edges[:, 1:] - edges[:, :-1]) / step).astype(np.float32)


def resize(image: Pixels, width: int, height: int, kernel: PillowImage.Resampling | None = None) -> Pixels:
    """Resize by Pillow. Without a kernel: bilinear to enlarge, and to shrink the mean of the pixels in each new one.

    This is the fast way, for detection and for pictures that people look at; the pixels of a crop go through `shrink`.
    """
    if image.shape[:2] == (height, width):
        return image
    picture = to_pillow(image)
    block = int(min(image.shape[1] / width, image.shape[0] / height))
    if block > 1:
        picture = picture.reduce(block)
    larger = width > image.shape[1] or height > image.shape[0]
    chosen = kernel or (PillowImage.Resampling.BILINEAR if larger else PillowImage.Resampling.BOX)
    return from_pillow(picture.resize((width, height), chosen) if picture.size != (width, height) else picture)


def enlarge_smoothly(image: Pixels, width: int, height: int) -> Pixels:
    """Resize with a bicubic kernel."""
    return resize(image, width, height, PillowImage.Resampling.BICUBIC)


def warp(image: Pixels, matrix: NDArray[np.float64], width: int, height: int) -> Pixels:
    """Read `image` where `matrix` says, bilinearly; outside it, the nearest pixel is repeated.

    Args:
        image: `[H, W]` or `[H, W, 3]`.
        matrix: `[2, 3]`: (x, y, 1) of a new pixel's center -> x, y in `image`, where pixel centers are whole numbers.
        width: of the result.
        height: of the result.
    """
    place = (matrix * 2**WARP_BITS).astype(np.float32)
    right, down = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    x = np.rint(place[0, 0] * right + (place[0, 1] * down + place[0, 2])).astype(np.int32)
    y = np.rint(place[1, 0] * right + (place[1, 1] * down + place[1, 2])).astype(np.int32)
    lefts, rights = (_within(x >> WARP_BITS, extra, image.shape[1]) for extra in (0, 1))
    tops, bottoms = (_within(y >> WARP_BITS, extra, image.shape[0]) * image.shape[1] for extra in (0, 1))
    x, y = x & (2**WARP_BITS - 1), y & (2**WARP_BITS - 1)
    flat = image.reshape(image.shape[0] * image.shape[1], -1).astype(np.int32)
    if image.ndim == 2:
        flat = flat[:, 0]
    else:
        x, y = x[..., None], y[..., None]
    # A mean of two is a + (b - a) * share: one product less than a * (1 - share) + b * share.
    upper, lower = flat[tops + lefts], flat[bottoms + lefts]
    upper, lower = (
        (upper << WARP_BITS) + (flat[tops + rights] - upper) * x,
        (lower << WARP_BITS) + (flat[bottoms + rights] - lower) * x,
    )
    total = (upper << WARP_BITS) + (lower - upper) * y
    return ((total + (1 << (2 * WARP_BITS - 1))) >> (2 * WARP_BITS)).astype(np.uint8)


def _within(indices: NDArray[np.int32], extra: int, size: int) -> NDArray[np.int32]:
    return np.minimum(np.maximum(indices + np.int32(extra), 0), size - 1)


def rotate(image: Pixels, degrees: float) -> Pixels:
    """Turn counter-clockwise about the center; the size stays, and the nearest pixel fills the corners."""
    height, width = image.shape[:2]
    center = np.array([(width - 1) / 2, (height - 1) / 2])
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    linear = np.array([[cos, -sin], [sin, cos]])
    return warp(image, np.column_stack([linear, center - linear @ center]), width, height)


def gaussian_blur(image: Pixels, sigma: float, *, edge: str = "reflect") -> Pixels:
    """Blur with a Gaussian of this standard deviation, in pixels.

    Args:
        image: `[H, W]` or `[H, W, 3]`.
        sigma: above 0.
        edge: how pixels go on outside, as `numpy.pad` names it: "reflect" leaves the edge pixel out, "symmetric" not.
    """
    reach = max(round(4 * sigma), 1)
    weights = np.exp(-((np.arange(-reach, reach + 1) / sigma) ** 2) / 2)
    weights /= weights.sum()
    blurred = image.astype(np.float64)
    for axis in (0, 1):
        blurred = _spread(blurred, weights, axis, edge)
    return np.clip(np.rint(blurred), 0, 255).astype(np.uint8)


def _spread(values: NDArray[np.float64], weights: NDArray[np.float64], axis: int, edge: str) -> NDArray[np.float64]:
    """A one-dimensional convolution along `axis`, as one product with a matrix."""
    size, reach = values.shape[axis], len(weights) // 2
    positions = np.arange(size, dtype=np.int64)
    mode = "symmetric" if size == 1 or edge == "symmetric" else "reflect"
    source: NDArray[np.int64] = np.pad(positions, reach, mode=mode)
    matrix = np.zeros((size, size), np.float64)
    for offset, weight in enumerate(weights):
        np.add.at(matrix, (positions, source[offset : offset + size]), weight)
    return np.moveaxis(np.tensordot(matrix, values, (1, axis)), 0, axis)


def padded(image: Image, top_bottom: int, left_right: int, level: int) -> Image:
    """A BGR picture with a border of one gray level, 0..255."""
    height, width = image.shape[:2]
    canvas = np.full((height + 2 * top_bottom, width + 2 * left_right, 3), level, np.uint8)
    canvas[top_bottom : top_bottom + height, left_right : left_right + width] = image
    return canvas


def encode_png(image: Pixels) -> bytes:
    """A PNG file, packed as small as it goes."""
    return _encoded(image, "PNG", optimize=True)


def encode_jpeg(image: Pixels, quality: int) -> bytes:
    """A JPEG file of this quality, 1..100."""
    return _encoded(image, "JPEG", quality=quality)


def from_jpeg(data: bytes) -> Image:
    """The BGR pixels of a JPEG file that `encode_jpeg` made."""
    return from_pillow(PillowImage.open(io.BytesIO(data), formats=["JPEG"]))


def _encoded(image: Pixels, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    to_pillow(image).save(file, kind, **options)
    return file.getvalue()


def size_for(image: Pixels, scale: float) -> tuple[int, int]:
    """Width and height at another scale, at least 1 each."""
    return max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1)
