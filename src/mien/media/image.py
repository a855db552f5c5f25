"""Bytes of a picture -> frames. The picture formats in `FORMATS`, turned upright, as BGR uint8."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import cache
from importlib import import_module
from pathlib import Path

from PIL import Image as PillowImage
from PIL import ImageFile, UnidentifiedImageError

from mien.errors import MediaError, reason
from mien.media.formats import is_heif, looks_like
from mien.media.limits import (
    ANIMATION_PIXELS,
    HIGHEST_PIXELS,
    MAX_BYTES,
    USUAL,
    USUAL_MEMORY,
    Limits,
    check_png,
    check_promise,
    jpeg_limit,
    pixel_limit,
)
from mien.media.pixels import decode_deep, deep_image, float_tiff_size, is_deep_color, to_bgr, turns
from mien.media.tiff_errors import strict_tiff
from mien.records import Frame, Image, Reduced

FORMATS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "TIFF", "BMP", "DIB", "PPM", "AVIF", "JPEG2000", "HEIF")
"""What is decoded, by content; HEIF only where its Pillow plugin has been registered.

Pillow knows more, but some of those are unsafe on strangers' files: for EPS it starts another program.
"""

REDUCIBLE = frozenset({"JPEG", "MPO"})
"""What can be shrunk while it is decoded."""

ANIMATED_FORMATS = frozenset({"GIF", "WEBP", "PNG", "AVIF"})

DAMAGED = "truncated or damaged: what is missing is gray or black"
"""`Frame.note` of a picture that is taken all the same."""

Reduction = Callable[[int, int], int]
"""Width and height of a still -> the factor, 1, 2, 4 or 8, by which it may be shrunk while it is decoded."""

UNTIMED_MS = 100.0
"""How long a frame without a duration is shown: as browsers do, and so that time always moves on."""


def read_image(path: Path, limits: Limits = USUAL, reduction: Reduction | None = None) -> Iterator[Frame]:
    """Decode the file at `path`; see `decode`.

    Raises:
        MediaError: no such file, one of more than `limits.max_bytes` bytes, or see `decode`.
    """
    yield from decode(read_bytes(path, limits.max_bytes), str(path), limits, reduction)


def read_bytes(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """What a file holds.

    Raises:
        MediaError: it cannot be read, or is larger than `max_bytes`; a device or pipe that does not end before.
    """
    too_large = MediaError(f"{path}: more than the limit of {max_bytes:,} bytes; shrink it or raise the limit")
    try:
        if path.stat().st_size > max_bytes:
            raise too_large
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except FileNotFoundError:
        raise MediaError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise MediaError(f"{path}: a folder; expected one picture") from None
    except (OSError, ValueError, MemoryError) as error:  # ValueError: a name that no file system takes
        raise MediaError(f"{path}: cannot be read ({reason(error)})") from error
    if len(data) > max_bytes:  # a device or pipe
        raise too_large
    return data


def decode(data: bytes, source: str, limits: Limits = USUAL, reduction: Reduction | None = None) -> Iterator[Frame]:
    """Decode one picture, or each frame of an animated GIF, WebP, PNG or AVIF.

    EXIF orientation is applied. More than 8 bits are brought to 8 by the range that the picture uses. Alpha is laid
    over white; palette, gray and CMYK become BGR. Of a TIFF with several pages the first is read, and `Frame.note` says
    so.

    Args:
        data: the file's bytes.
        source: what the frames, and any error, are to be called.
        limits: a larger picture is refused before it is decoded.
        reduction: says how much a JPEG may be shrunk while it is decoded, which takes a fraction of the time: the
            frame then has `Frame.reduced`. Not with `limits.truncated`.

    Raises:
        MediaError: empty, not a picture, too large, truncated, damaged, or with a wrong checksum. Frames of an
            animation that stand before the damage have been yielded by then.
    """
    if not data:
        raise MediaError(f"{source}: the file is empty (0 bytes); expected a picture")
    if size := float_tiff_size(data):
        yield Frame(_float_tiff(data, *size, source, limits.max_pixels), source)
        return
    picture = _open(data, source, min(limits.max_pixels, HIGHEST_PIXELS))
    damage = _png_damage(picture, data, source)
    if damage and not limits.truncated:
        raise damage
    reducible = not limits.truncated and picture.format in REDUCIBLE
    if reduction and reducible and (factor := _factor(picture, reduction)) > 1:
        if frame := _reduced(picture, data, source, factor):
            yield frame
            return
        picture = _open(data, source, min(limits.max_pixels, HIGHEST_PIXELS))
    expected = _frame_count(picture)
    most = max(ANIMATION_PIXELS * limits.max_pixels // (picture.width * picture.height), 1)
    done, shown_ms = 0, 0.0
    try:
        while done != expected and done < most and _seek(picture, done):
            image, note = _image(picture, data, limits.truncated, DAMAGED if damage else "")
            yield Frame(image, source, done, None if expected == 1 else shown_ms / 1000, note)
            shown_ms += float(picture.info.get("duration", 0) or UNTIMED_MS)
            done += 1
    except Exception as error:
        # Pillow's readers raise whatever a damaged file drives them into: OSError, SyntaxError, struct.error, ...
        raise _damaged(source, error) from error
    if done == most and done != expected:
        raise MediaError(
            f"{source}: an animation of {expected or 'many'} frames of {picture.width} x {picture.height} pixels; the "
            f"first {done} were read: more than {ANIMATION_PIXELS} times the limit of pixels; raise the limit"
        )
    if done != expected:
        raise MediaError(
            f"{source}: the animation is truncated: {done} of its {expected or 'several'} frames are there"
        )


def _factor(picture: PillowImage.Image, reduction: Reduction) -> int:
    """By how much the picture is to be shrunk while it is decoded; 1: not at all."""
    width, height = picture.size
    factor = reduction(width, height)
    # A side that the factor does not divide ends in a part of a pixel: a picture that is turned would begin with it.
    return 1 if factor > 1 and (width % factor or height % factor) and turns(picture) else factor


def _reduced(picture: PillowImage.Image, data: bytes, source: str, factor: int) -> Frame | None:
    """The picture at a fraction of its size; None where the decoder cannot shrink it so."""
    width, height = picture.size
    picture.draft(None, (width // factor, height // factor))
    if picture.size != (-(-width // factor), -(-height // factor)):
        return None
    try:
        image, _ = _image(picture, data, False, "")
    except Exception as error:  # see `decode`
        raise _damaged(source, error) from error
    if image.shape[1] != picture.width:
        width, height = height, width
    return Frame(None, source, reduced=Reduced(image, factor, width, height, lambda: _whole(data, source)))


def _whole(data: bytes, source: str) -> Image:
    try:
        return _image(_identify(data), data, False, "")[0]
    except Exception as error:
        raise _damaged(source, error) from error


def _damaged(source: str, error: Exception) -> MediaError:
    return MediaError(f"{source}: the picture is truncated or damaged ({reason(error)})")


def _float_tiff(data: bytes, width: int, height: int, memory: int, source: str, max_pixels: int) -> Image:
    limit = max_pixels * USUAL_MEMORY // max(USUAL_MEMORY, memory)
    if width * height > limit:
        raise MediaError(f"{source}: {width} x {height} is larger than the limit of {limit:,} pixels; shrink it")
    try:
        return decode_deep(data)
    except MediaError as error:
        raise MediaError(f"{source}: {error}") from error


def _png_damage(picture: PillowImage.Image, data: bytes, source: str) -> MediaError | None:
    if picture.format != "PNG":
        return None
    try:
        check_png(data, source, to_the_end=not getattr(picture, "is_animated", False))
    except MediaError as error:
        return error
    return None


def _image(picture: PillowImage.Image, data: bytes, truncated: bool, note: str) -> tuple[Image, str]:
    """A picture's frame, and what a reader must know of it; `note` is known already."""
    pages = int(getattr(picture, "n_frames", 1)) if picture.format == "TIFF" else 1
    if pages > 1:
        note = f"the first of {pages} pages"
    try:
        return _strict(picture, data), note
    except Exception:  # a damaged file drives Pillow's readers into any
        if not truncated or picture.format in ANIMATED_FORMATS - {"PNG"}:
            raise
    with _allowing_truncated():
        return to_bgr(_identify(data)), DAMAGED


def _strict(picture: PillowImage.Image, data: bytes) -> Image:
    begun = _allowing_truncated.uses
    deep = deep_image(picture, data)
    with strict_tiff() if picture.format == "TIFF" else nullcontext():
        image = deep if deep is not None else to_bgr(picture)
    if begun == _allowing_truncated.uses and not _allowing_truncated.lock.locked():
        return image
    with _allowing_truncated.lock:  # another thread let Pillow pass over what is missing meanwhile
        return to_bgr(_identify(data)) if deep is None and picture.format not in ANIMATED_FORMATS else image


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


class _allowing_truncated:
    """Let Pillow give what it has of a picture that is cut short, in every thread: `_strict` looks whether it was."""

    lock = threading.Lock()
    uses = 0

    def __enter__(self) -> None:
        self.lock.acquire()
        _allowing_truncated.uses += 1
        ImageFile.LOAD_TRUNCATED_IMAGES = True

    def __exit__(self, *error: object) -> None:
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        self.lock.release()


def _open(data: bytes, source: str, max_pixels: int) -> PillowImage.Image:
    if is_heif(data):
        _register_heif(source)
    try:
        with warnings.catch_warnings():  # our own limit, below, speaks for Pillow's warning
            warnings.simplefilter("ignore")
            picture = _identify(data)
    except PillowImage.DecompressionBombError as error:
        raise MediaError(
            f"{source}: larger than the limit of {max_pixels:,} pixels; shrink it or raise the limit ({error})"
        ) from error
    except UnidentifiedImageError:
        raise MediaError(
            f"{source}: not a picture in a known format ({looks_like(data)}); expected JPEG, PNG, GIF, WebP, TIFF, "
            "BMP, PNM, AVIF, HEIC or JPEG 2000"
        ) from None
    except Exception as error:
        raise MediaError(f"{source}: the picture's header is damaged ({reason(error)})") from error
    width, height = picture.size
    if width < 1 or height < 1:
        raise MediaError(f"{source}: the picture has {width} x {height} pixels; expected at least one")
    if picture.format in REDUCIBLE:
        limit = jpeg_limit(data, max_pixels)
    elif is_deep_color(picture, data):
        limit = pixel_limit("deep color with alpha" if "A" in picture.mode else "deep color", max_pixels)
    else:
        several = " with alpha" if picture.format == "JPEG2000" and picture.mode in ("LA", "RGBA", "CMYK") else ""
        limit = pixel_limit(f"{picture.format}{several}", max_pixels)
    if width * height > limit:
        raise MediaError(
            f"{source}: {width} x {height} is larger than the limit of {limit:,} pixels; shrink it or raise the limit"
        )
    check_promise(data, str(picture.format), width, height, source)
    return picture


def _register_heif(source: str) -> None:
    """Let Pillow read HEIC.

    Raises:
        MediaError: pillow-heif is not installed.
    """
    try:
        import_module("pillow_heif").register_heif_opener()
    except ImportError:
        raise MediaError(f"{source}: a picture in HEIC needs pillow-heif: pip install 'mien[heif]'") from None
    _formats.cache_clear()


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
