"""Pixels of any depth and kind -> BGR uint8, upright, in strips: the peak is about 8 bytes a pixel."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags
from PIL import Image as PillowImage
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from mien.errors import MediaError
from mien.imaging import from_pillow
from mien.opencv import load_opencv
from mien.records import Image

SPARE_BYTES = 4
"""Of a pixel: what comes out of decoding, and a strip of work."""

STRIP_PIXELS = 2**20
"""Pixels converted at once."""

_TURNS: dict[int, Callable[[Any], Any]] = {
    2: np.fliplr,
    3: lambda image: np.rot90(image, 2),
    4: np.flipud,
    5: lambda image: np.transpose(image, (1, 0, 2)),
    6: lambda image: np.rot90(image, 3),
    7: lambda image: np.rot90(np.transpose(image, (1, 0, 2)), 2),
    8: np.rot90,
}
"""EXIF orientation -> what turns an image `[H, W, 3]` upright."""

_BACK = {6: 8, 8: 6}
"""Orientation -> the one whose turn undoes it, where that is not its own."""


def to_bgr(picture: PillowImage.Image) -> Image:
    """A picture as Pillow has it, as BGR uint8 `[H, W, 3]`, upright."""
    picture.load()
    upright, out = _canvas(picture.height, picture.width, _turn_of(picture))
    scale = _scale_of(picture) if picture.mode.startswith("I") or picture.mode == "F" else None
    rows = max(STRIP_PIXELS // picture.width, 1)
    for top in range(0, picture.height, rows):
        bottom = min(top + rows, picture.height)
        strip = picture.crop((0, top, picture.width, bottom)) if rows < picture.height else picture
        out[top:bottom] = scale(np.asarray(strip))[..., None] if scale else _strip_to_bgr(picture, strip)
    return upright


def _canvas(height: int, width: int, turn: int) -> tuple[Image, Image]:
    """An image `[H, W, 3]` to fill, and a view of it in which rows stand as they come: nothing is copied to turn it."""
    if not turn:
        image = np.empty((height, width, 3), np.uint8)
        return image, image
    image = np.empty((width, height, 3) if turn >= 5 else (height, width, 3), np.uint8)
    return image, _TURNS[_BACK.get(turn, turn)](image)


def turns(picture: PillowImage.Image) -> bool:
    """Whether `to_bgr` turns or mirrors the picture."""
    return bool(_turn_of(picture))


def _strip_to_bgr(picture: PillowImage.Image, strip: PillowImage.Image) -> Image:
    if strip.mode == "RGB" and not picture.has_transparency_data:
        return from_pillow(strip)  # to convert it would copy it
    if picture.has_transparency_data:
        strip.info = picture.info  # a palette's transparency is kept there
        rgba = strip.convert("RGBA")
        strip = PillowImage.new("RGBA", rgba.size, "white")
        strip.alpha_composite(rgba)
    return from_pillow(strip.convert("RGB"))


def _turn_of(picture: PillowImage.Image) -> int:
    """Its EXIF orientation, 2 to 8; 0: as it is."""
    # Not ImageOps.exif_transpose: it writes the metadata anew, and fails where they are damaged and the pixels are not.
    try:
        turn = picture.getexif().get(ExifTags.Base.Orientation, 1)
        return int(turn) if turn in _TURNS else 0
    except Exception:
        return 0


def _scale_of(picture: PillowImage.Image) -> Callable[[NDArray[Any]], Image]:
    rows = max(STRIP_PIXELS // picture.width, 1)
    low, high = np.inf, -np.inf
    whole = picture.mode != "F"
    for top in range(0, picture.height, rows):
        strip = np.asarray(picture.crop((0, top, picture.width, min(top + rows, picture.height))))
        low, high = _range(strip, low, high)
    return _scaler(low, high, whole)


def _range(values: NDArray[Any], low: float, high: float) -> tuple[float, float]:
    finite = values if values.dtype.kind in "iu" else values[np.isfinite(values)]
    return (min(low, float(finite.min())), max(high, float(finite.max()))) if finite.size else (low, high)


def _scaler(low: float, high: float, whole: bool) -> Callable[[NDArray[Any]], Image]:
    """What brings values of a range to 8 bits.

    Whole numbers of 0 and more keep their zero. As many low bits are dropped as the largest has beyond 8, so 10 or 12
    bits in 16 are as bright as they were meant. All others span their own range; what is not finite is lowest.
    """
    if whole and low >= 0:
        drop = max(int(high).bit_length() - 8, 0)
        return lambda values: (values.astype(np.int64) >> drop).astype(np.uint8)
    gain = 255 / (high - low) if high > low else 0.0

    def scaled(values: NDArray[Any]) -> Image:
        real = np.where(np.isfinite(values), values, low) if high >= low else np.zeros(values.shape)
        return np.rint((real.astype(np.float64) - (low if high >= low else 0)) * gain).astype(np.uint8)

    return scaled


# --- colors of more than 8 bits, which Pillow would cut to 8 ----------------------------------------------------------


def deep_image(picture: PillowImage.Image, data: bytes) -> Image | None:
    """A color PNG or TIFF of 16 bits or floats as BGR uint8; None for any other picture.

    Raises:
        MediaError: OpenCV cannot decode it.
    """
    return decode_deep(data, _turn_of(picture)) if is_deep_color(picture, data) else None


def float_tiff_size(data: bytes) -> tuple[int, int, int] | None:
    """(width, height, bytes of memory a pixel) of a color TIFF of floats, which Pillow does not know; else None."""
    if data[:4] not in (b"II*\0", b"MM\0*"):
        return None
    try:
        tags: Any = ImageFileDirectory_v2(data[:8])
        file = io.BytesIO(data)
        file.seek(tags.next)
        tags.load(file)
        samples = tags.get(277, 1)
        if samples < 3 or set(tags.get(339, (1,))) != {3}:
            return None
        return int(tags[256]), int(tags[257]), samples * max(tags[258]) // 8 + SPARE_BYTES
    except Exception:  # whoever decodes it says why
        return None


def decode_deep(data: bytes, turn: int = 0) -> Image:
    """A color picture of more than 8 bits a channel as BGR uint8, by OpenCV; `turn` is its EXIF orientation, 2 to 8.

    Raises:
        MediaError: OpenCV is not installed, or cannot decode it.
    """
    cv2 = load_opencv("a color picture of more than 8 bits a channel", MediaError)
    try:
        values: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise MediaError(f"more than 8 bits a channel, and OpenCV cannot decode it ({error})") from error
    if values is None:
        raise MediaError("more than 8 bits a channel, and OpenCV cannot decode it")
    if values.ndim == 2 or values.shape[2] < 3:
        raise MediaError("expected three or four channels of more than 8 bits, and OpenCV found fewer")
    color, alpha = values[..., :3], values[..., 3] if values.shape[2] == 4 else None
    low, high = _range(color, np.inf, -np.inf)
    scale = _scaler(low, high, values.dtype.kind in "iu")
    upright, out = _canvas(len(values), values.shape[1], turn)
    rows = max(STRIP_PIXELS // values.shape[1], 1)
    for top in range(0, len(values), rows):
        strip = slice(top, top + rows)
        out[strip] = scale(color[strip])
        if alpha is not None and values.dtype.kind in "iu":
            share = alpha[strip, :, None].astype(np.float32) / np.iinfo(values.dtype).max
            out[strip] = np.rint(out[strip] * share + 255 * (1 - share)).astype(np.uint8)
    return upright


def is_deep_color(picture: PillowImage.Image, data: bytes) -> bool:
    """Whether it is in color, with more than 8 bits a channel, which Pillow would cut to 8."""
    if picture.format == "PNG":
        return data[24] == 16 and data[25] in (2, 6) and not getattr(picture, "is_animated", False)
    if picture.format == "TIFF":
        tags: Any = getattr(picture, "tag_v2", {})
        bits = tags.get(258, (1,))
        return len(bits) in (3, 4) and max(bits) > 8 and tags.get(262) == 2
    return False
