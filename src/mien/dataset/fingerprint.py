"""Pictures as short numbers: a key that identical pixels share, a thumbnail, the thumbnail's lowest frequencies.

The lowest frequencies outlast another size, another compression and another brightness. Pictures are compared in the
8 ways of turning and mirroring them.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
from numpy.typing import NDArray

from mien.imaging import resize, shrink, to_gray
from mien.records import Image

SIDE_PX = 32
"""Side of a thumbnail."""

FREQUENCIES = 8
"""Frequencies kept along each axis."""

TURNS = (
    "as it is", "turned by 90°", "turned by 180°", "turned by 270°",
    "mirrored", "mirrored, turned by 90°", "mirrored, turned by 180°", "mirrored, turned by 270°",
)  # fmt: skip
"""What `turned` does, by number; turns are counter-clockwise and follow the mirroring."""

Thumbnails = NDArray[np.uint8]
"""uint8 `[N, SIDE_PX, SIDE_PX]`, gray."""

Spectra = NDArray[np.float32]
"""float32 `[N, FREQUENCIES ** 2 - 1]`, rows of length 1, the lowest frequencies first; 0 without contrast."""


def pixel_key(image: Image) -> str:
    """96 bits in hexadecimal that two pictures share when they have the same size and the same pixels.

    Decoded data that training keeps has these keys: another formula makes runs that were begun with this one end.
    """
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()[:24]


def thumbnail(image: Image) -> NDArray[np.uint8]:
    """uint8 `[SIDE_PX, SIDE_PX]`, gray; the whole picture, squeezed into a square."""
    gray = to_gray(image)
    return (shrink if min(gray.shape) >= SIDE_PX else resize)(gray, SIDE_PX, SIDE_PX)


def turned(thumbnails: Thumbnails, turn: int) -> Thumbnails:
    """Each thumbnail in one of the 8 ways of `TURNS`."""
    source = thumbnails[:, :, ::-1] if turn >= 4 else thumbnails
    return np.ascontiguousarray(np.rot90(source, turn % 4, axes=(1, 2)))


def spectra(thumbnails: Thumbnails) -> Spectra:
    """The lowest frequencies of each thumbnail's cosine transform (DCT-II), without the mean."""
    found = np.empty((len(thumbnails), len(_ORDER)), np.float32)
    for start in range(0, len(thumbnails), 4096):
        part = thumbnails[start : start + 4096].astype(np.float64)
        low = np.einsum("un,bnm,vm->buv", _COSINES, part, _COSINES, optimize=True).reshape(len(part), -1)[:, _ORDER]
        # Rounded, so that the noise of the arithmetic gives no sign to a frequency that is absent.
        low = np.rint(low * 16)
        length = np.linalg.norm(low, axis=1, keepdims=True)
        found[start : start + len(part)] = low / np.maximum(length, 1)
    return found


def _cosines() -> NDArray[np.float64]:
    """Float `[FREQUENCIES, SIDE_PX]`: the first rows of the orthonormal transform."""
    frequencies, places = np.arange(FREQUENCIES)[:, None], np.arange(SIDE_PX)[None]
    rows = np.cos(math.pi * frequencies * (2 * places + 1) / (2 * SIDE_PX)) * math.sqrt(2 / SIDE_PX)
    rows[0] /= math.sqrt(2)
    return rows


def _order() -> list[int]:
    """Places of the frequencies in the flattened transform, the lowest first, without the mean."""
    pairs = [(u, v) for u in range(FREQUENCIES) for v in range(FREQUENCIES) if u + v]
    return [u * FREQUENCIES + v for u, v in sorted(pairs, key=lambda p: (sum(p), max(p), p))]


_COSINES = _cosines()
_ORDER = _order()
