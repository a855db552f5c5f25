"""Bytes of a picture -> frames. The picture formats in `FORMATS`, turned upright, as BGR uint8."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, UnidentifiedImageError
from PIL import Image as PillowImage

from mien.errors import MediaError, reason
from mien.records import Frame, Image

FORMATS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "TIFF", "BMP", "DIB", "PPM", "AVIF", "JPEG2000", "HEIF")
"""What is decoded, by content; HEIF only where its Pillow plugin has been registered.

Pillow knows more, but some of those are unsafe on strangers' files: for EPS it starts another program.
"""

ANIMATED_FORMATS = frozenset({"GIF", "WEBP", "PNG", "AVIF"})

MAX_PIXELS = 178_000_000
"""Largest picture decoded, in pixels of one frame: above any camera, below Pillow's own refusal. It can be lowered."""

UNTIMED_MS = 100.0
"""How long a frame without a duration is shown: as browsers do, and so that time always moves on."""

_TURNS = {
    2: PillowImage.Transpose.FLIP_LEFT_RIGHT,
    3: PillowImage.Transpose.ROTATE_180,
    4: PillowImage.Transpose.FLIP_TOP_BOTTOM,
    5: PillowImage.Transpose.TRANSPOSE,
    6: PillowImage.Transpose.ROTATE_270,
    7: PillowImage.Transpose.TRANSVERSE,
    8: PillowImage.Transpose.ROTATE_90,
}
"""EXIF orientation -> what turns the picture upright."""


def read_image(path: Path, max_pixels: int = MAX_PIXELS) -> Iterator[Frame]:
    """Decode the file at `path`; see `decode`."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise MediaError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise MediaError(f"{path}: a folder; expected one picture") from None
    except (OSError, ValueError, MemoryError) as error:  # ValueError: a name that no file system takes
        raise MediaError(f"{path}: cannot be read ({reason(error)})") from error
    yield from decode(data, str(path), max_pixels)


def decode(data: bytes, source: str, max_pixels: int = MAX_PIXELS) -> Iterator[Frame]:
    """Decode one picture, or each frame of an animated GIF, WebP, PNG or AVIF.

    EXIF orientation is applied; 16-bit is scaled to 8; alpha is laid over white; palette, grey and CMYK become BGR.

    Args:
        data: the file's bytes.
        source: what the frames, and any error, are to be called.
        max_pixels: refuse a larger width x height, before decoding it; at most `MAX_PIXELS`.

    Raises:
        MediaError: empty, not a picture, larger than `max_pixels`, truncated or damaged. Frames of an animation that
            stand before the damage have been yielded by then.
    """
    if not data:
        raise MediaError(f"{source}: the file is empty (0 bytes); expected a picture")
    picture = _open(data, source, min(max_pixels, MAX_PIXELS))
    expected = _frame_count(picture)
    done, shown_ms = 0, 0.0
    try:
        while done != expected and _seek(picture, done):
            yield Frame(_to_bgr(picture), source, done, None if expected == 1 else shown_ms / 1000)
            shown_ms += float(picture.info.get("duration", 0) or UNTIMED_MS)
            done += 1
    except Exception as error:
        # Pillow's readers raise whatever a damaged file drives them into: OSError, SyntaxError, struct.error, ...
        raise MediaError(f"{source}: the picture is truncated or damaged ({reason(error)})") from error
    if done != expected:
        raise MediaError(
            f"{source}: the animation is truncated: {done} of its {expected or 'several'} frames are there"
        )


@cache
def _formats(rare: bool) -> list[str]:
    """Names of the formats that Pillow has readers for: the common ones alone load in a tenth of the time."""
    PillowImage.init() if rare else PillowImage.preinit()
    return [name for name in FORMATS if name in PillowImage.OPEN]


def _identify(data: bytes) -> PillowImage.Image:
    try:
        return PillowImage.open(io.BytesIO(data), formats=_formats(rare=False))
    except UnidentifiedImageError:
        return PillowImage.open(io.BytesIO(data), formats=_formats(rare=True))


def _open(data: bytes, source: str, max_pixels: int) -> PillowImage.Image:
    advice = "shrink it" if max_pixels == MAX_PIXELS else "shrink it or raise the limit"
    try:
        with warnings.catch_warnings():  # our own limit, below, speaks for Pillow's warning
            warnings.simplefilter("ignore", PillowImage.DecompressionBombWarning)
            picture = _identify(data)
    except PillowImage.DecompressionBombError as error:
        raise MediaError(f"{source}: larger than the limit of {max_pixels:,} pixels; {advice} ({error})") from error
    except UnidentifiedImageError:
        raise MediaError(
            f"{source}: not a picture in a known format (it begins with {data[:8]!r}); expected JPEG, PNG, GIF, WebP, "
            "TIFF, BMP, PNM, AVIF or JPEG 2000"
        ) from None
    except Exception as error:
        raise MediaError(f"{source}: the picture's header is damaged ({reason(error)})") from error
    width, height = picture.size
    if width * height > max_pixels:
        raise MediaError(f"{source}: {width} x {height} is larger than the limit of {max_pixels:,} pixels; {advice}")
    return picture


def _frame_count(picture: PillowImage.Image) -> int | None:
    """Frames to decode: 1 for a still; None for an animation too damaged to tell (its first may be whole)."""
    if picture.format not in ANIMATED_FORMATS:
        return 1
    try:
        return int(getattr(picture, "n_frames", 1))
    except Exception:
        return None


def _seek(picture: PillowImage.Image, index: int) -> bool:
    try:
        picture.seek(index)
    except EOFError:
        return False
    return True


def _to_bgr(picture: PillowImage.Image) -> Image:
    upright = _upright(picture)
    if upright.mode.startswith("I") or upright.mode == "F":
        upright = PillowImage.fromarray(_to_8_bit(np.asarray(upright)))
    if upright.has_transparency_data:
        rgba = upright.convert("RGBA")
        upright = PillowImage.new("RGBA", rgba.size, "white")
        upright.alpha_composite(rgba)
    return np.ascontiguousarray(np.asarray(upright.convert("RGB"))[..., ::-1])


def _upright(picture: PillowImage.Image) -> PillowImage.Image:
    # Not ImageOps.exif_transpose: it writes the metadata anew, and fails where they are damaged and the pixels are not.
    picture.load()
    try:
        turn = _TURNS.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        turn = None
    return picture.transpose(turn) if turn is not None else picture


def _to_8_bit(values: NDArray[Any]) -> Image:
    """Integers are 16-bit unless they fit in 8; floats span their own range (what is not finite counts as lowest)."""
    if values.dtype.kind in "iu":
        eight = values if values.max() <= 255 else values >> 8
        return np.minimum(np.maximum(eight, 0), 255).astype(np.uint8)
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(values.shape, np.uint8)
    real = values.astype(np.float64)
    low, high = float(real[finite].min()), float(real[finite].max())
    scaled = (np.where(finite, real, low) - low) * (255 / (high - low) if high > low else 0)
    return np.rint(scaled).astype(np.uint8)
