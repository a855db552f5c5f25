"""Damage that pictures meet on their way: several kinds, five strengths each, repeatable.

The kinds and the five strengths follow ImageNet-C (Hendrycks and Dietterich 2019, arXiv 1903.12261). The values are our
own, for faces that fill the picture. Lengths are shares of its shorter side, so that a photo and a 48-pixel crop suffer
alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from mien.imaging import encode_jpeg, from_jpeg, gaussian_blur, resize, rotate, shrink, size_for
from mien.records import Image

STRENGTHS = (1, 2, 3, 4, 5)

Kind = Callable[[Image, int, np.random.Generator], NDArray[np.generic]]


def corrupt(image: Image, kind: str, strength: int, seed: Sequence[int] = (0,)) -> Image:
    """Damage a picture; the same arguments give the same pixels.

    Args:
        image: uint8 `[H, W, 3]`, BGR; left as it is.
        kind: one of `CORRUPTIONS`.
        strength: 1 (weak)..5 (strong).
        seed: whole numbers, 0 or more; give each picture its own.

    Returns:
        uint8 `[H, W, 3]`.
    """
    rng = np.random.default_rng([*seed, list(CORRUPTIONS).index(kind), strength])
    harmed = np.asarray(CORRUPTIONS[kind](image, strength - 1, rng))
    return np.clip(np.rint(harmed), 0, 255).astype(np.uint8).reshape(image.shape)


def _blur(image: Image, level: int, rng: np.random.Generator) -> NDArray[np.generic]:
    sigma = (0.01, 0.02, 0.03, 0.04, 0.06)[level] * min(image.shape[:2])
    return gaussian_blur(image, sigma)


def _noise(image: Image, level: int, rng: np.random.Generator) -> NDArray[np.generic]:
    # One value for all three channels: independent ones would half average out when the model sees gray.
    return image + rng.normal(0, (6, 12, 20, 30, 45)[level], (*image.shape[:2], 1))


def _jpeg(image: Image, level: int, rng: np.random.Generator) -> NDArray[np.generic]:
    return from_jpeg(encode_jpeg(image, (50, 30, 20, 12, 7)[level]))


def _brightness(image: Image, level: int, rng: np.random.Generator) -> NDArray[np.generic]:
    shift = (20, 40, 60, 80, 100)[level]
    return image.astype(np.float32) + (shift if rng.random() < 0.5 else -shift)


def _contrast(image: Image, level: int, rng: np.random.Generator) -> NDArray[np.generic]:
    mean = image.mean()
    return (image - mean) * (0.7, 0.5, 0.35, 0.25, 0.15)[level] + mean


def _occlusion(image: Image, level: int, rng: np.random.Generator) -> NDArray[np.generic]:
    height, width = image.shape[:2]
    share = (0.2, 0.3, 0.4, 0.5, 0.6)[level]  # of each side
    tall, wide = max(round(share * height), 1), max(round(share * width), 1)
    top, left = rng.integers(0, [height - tall + 1, width - wide + 1]).tolist()
    covered = np.array(image)
    covered[top : top + tall, left : left + wide] = 128
    return covered


def _low_resolution(image: Image, level: int, rng: np.random.Generator) -> NDArray[np.generic]:
    height, width = image.shape[:2]
    scale = min((40, 32, 24, 16, 12)[level] / min(height, width), 1.0)  # the shorter side then has so many pixels
    return resize(shrink(image, *size_for(image, scale)), width, height)


def _rotation(image: Image, level: int, rng: np.random.Generator) -> NDArray[np.generic]:
    return rotate(image, (5, 10, 20, 30, 45)[level] * (1 if rng.random() < 0.5 else -1))


CORRUPTIONS: dict[str, Kind] = {
    "blur": _blur,
    "noise": _noise,
    "jpeg": _jpeg,
    "brightness": _brightness,
    "contrast": _contrast,
    "occlusion": _occlusion,
    "low resolution": _low_resolution,
    "rotation": _rotation,
}
"""Name -> what it does; the order is that of the report. Append a new one: the position seeds its randomness."""
