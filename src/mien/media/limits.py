"""What a picture's bytes say about themselves, checked before decoding: checksums, and how much work is asked.

The limits bound memory and time, not only pixels: a small file may promise a large picture.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from mien.errors import MediaError

MAX_PIXELS = 100_000_000
"""Largest picture decoded unless told, in pixels of one frame: above cameras of 50 megapixels, below 1 GB of memory."""

HIGHEST_PIXELS = 178_000_000
"""The highest limit that can be set: Pillow refuses more by itself."""

MAX_BYTES = 500_000_000
"""Largest picture file read unless told, in bytes: it is held in memory."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is decoded, and what is refused.

    Attributes:
        max_pixels: the largest picture, width x height. A format whose decoder takes more memory has a lower limit in
            proportion, and all frames of an animation may have `ANIMATION_PIXELS` times as many.
        max_bytes: the largest file, bytes.
        truncated: take what there is of a picture that is cut short or damaged; `Frame.note` says so.

    Raises:
        MediaError: a limit below 1.
    """

    max_pixels: int = MAX_PIXELS
    max_bytes: int = MAX_BYTES
    truncated: bool = False

    def __post_init__(self) -> None:
        if self.max_pixels < 1 or self.max_bytes < 1:
            raise MediaError(f"expected limits of 1 and more, found {self.max_pixels} pixels, {self.max_bytes} bytes")


USUAL = Limits()

MEMORY_PER_PIXEL = {"WEBP": 20, "AVIF": 16, "HEIF": 16, "JPEG2000": 20, "JPEG2000 with alpha": 24, "deep color": 15,
                    "deep color with alpha": 20}  # fmt: skip
"""Bytes that a decoder takes for a pixel, at its peak, where that is more than `USUAL_MEMORY`."""

USUAL_MEMORY = 8

ANIMATION_PIXELS = 8
"""Most pixels of all frames of an animation, as a multiple of the limit for one picture."""

JPEG_PIXELS_PER_BYTE = 600
"""No JPEG holds more: each block of 8 x 8 pixels takes at least one bit."""

FRAME_MARKERS = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
"""What begins a JPEG's description of its components."""

PROGRESSIVE_MARKERS = frozenset({0xC2, 0xC6, 0xCA, 0xCE})

FREE_PIXELS = 1_000_000
"""Up to here a header may promise what it likes."""


def pixel_limit(format_name: str, max_pixels: int) -> int:
    """`max_pixels`, less for a format whose decoder takes more memory for each."""
    return max_pixels * USUAL_MEMORY // MEMORY_PER_PIXEL.get(format_name, USUAL_MEMORY)


def jpeg_limit(data: bytes, max_pixels: int) -> int:
    """`max_pixels`, less for a JPEG that is decoded from several scans: all its coefficients are held meanwhile."""
    view, at = memoryview(data), 2
    share, components = 0.0, 0
    progressive = False
    while at + 4 <= len(data) and view[at] == 0xFF:
        marker, length = view[at + 1], int.from_bytes(view[at + 2 : at + 4], "big")
        part = view[at + 4 : at + 2 + length]
        if marker == 0xFF:  # filled up
            at += 1
            continue
        if marker in FRAME_MARKERS and len(part) > 5:
            progressive, components = marker in PROGRESSIVE_MARKERS, part[5]
            sampled = [(byte >> 4) * (byte & 15) for byte in part[7 : 6 + 3 * components : 3]]
            share = sum(sampled) / max(max(sampled, default=1), 1)
        elif marker == 0xDA:
            several = progressive or (len(part) > 0 and part[0] < components)
            memory = (4 if components > 1 else 1) + 2 * share
            return int(max_pixels * USUAL_MEMORY / max(memory, USUAL_MEMORY)) if several else max_pixels
        at += 2 + length
    return max_pixels


def check_promise(data: bytes, format_name: str, width: int, height: int, source: str) -> None:
    """Refuse a JPEG whose header promises more pixels than its bytes can hold.

    Raises:
        MediaError: it does.
    """
    pixels = width * height
    if format_name in ("JPEG", "MPO") and pixels > max(FREE_PIXELS, JPEG_PIXELS_PER_BYTE * len(data)):
        raise MediaError(
            f"{source}: its header promises {width} x {height} pixels, more than {len(data):,} bytes can hold; the "
            "picture is truncated or damaged"
        )


def check_png(data: bytes, source: str, *, to_the_end: bool) -> None:
    """Check the checksum (CRC-32) of every chunk of a PNG, which decoders pass over in the chunks of pixels.

    Args:
        data: the file's bytes.
        source: what an error calls it.
        to_the_end: refuse one without its last chunk, too; of an animation the frames before may be whole.

    Raises:
        MediaError: a chunk is not what its checksum says, or the end is missing.
    """
    view, at = memoryview(data), 8
    while at + 12 <= len(data):
        length = int.from_bytes(view[at : at + 4], "big")
        end = at + 12 + length
        if end > len(data):
            break
        name = bytes(view[at + 4 : at + 8])
        if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise MediaError(
                f"{source}: the picture is damaged: the checksum of its part {name.decode('latin-1')!r} at byte "
                f"{at:,} is wrong; get the file again"
            )
        if name == b"IEND":
            return
        at = end
    if to_the_end:
        raise MediaError(f"{source}: the picture is truncated or damaged: its part at byte {at:,} has no end")
