"""Readings -> pictures: boxes, labels and bars on a frame; sheets of faces; picture files."""

from __future__ import annotations

import io
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw

from mien.errors import OutputError, reason
from mien.files import write_bytes
from mien.geometry import clip_box
from mien.output.text import text_width, write_text
from mien.records import Expression, Image, Reading

Color = tuple[int, int, int]
"""`(red, green, blue)`, 0..255, as Pillow has it."""

# Okabe and Ito's palette, told apart with every common color blindness (https://jfly.uni-koeln.de/color/).
_ORANGE, _SKY, _GREEN, _YELLOW = (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66)
_BLUE, _VERMILION, _PURPLE, _GRAY = (0, 114, 178), (213, 94, 0), (204, 121, 167), (187, 187, 187)

COLORS: dict[str, Color] = {
    "angry": _VERMILION,
    "contempt": _ORANGE,
    "disgust": _GREEN,
    "fear": _PURPLE,
    "happy": _YELLOW,
    "neutral": _GRAY,
    "sad": _BLUE,
    "surprise": _SKY,
}
"""Each expression's color, the same in every picture; a class not named here takes one of them by its name's CRC."""

MIN_TAG_PX, MIN_BARS_PX = 7, 9
"""Text smaller than this is left out: it could not be read."""

MAX_BARS = 10
"""A model with more classes has only its most probable ones drawn."""

JPEG_QUALITY = 92

_INK, _DIM, _PAPER, _TRACK = (255, 255, 255), (205, 205, 205), (22, 22, 26), (74, 74, 80)


class _Rect(NamedTuple):
    """Whole pixels, far edge exclusive."""

    x1: int
    y1: int
    x2: int
    y2: int

    def overlaps(self, other: _Rect) -> bool:
        return self.x1 < other.x2 and other.x1 < self.x2 and self.y1 < other.y2 and other.y1 < self.y2


class _Mark(NamedTuple):
    """One reading to be drawn: its box (it may reach out of the frame), and the text size for it."""

    expression: Expression
    box: _Rect
    tag_px: int

    @property
    def line(self) -> int:
        return max(1, round(self.tag_px * 0.14))


TOO_SMALL, NO_ROOM = "the face is too small to read them", "they would hide another face"
"""Why a face has no bars."""


def annotate(image: Image, readings: Sequence[Reading], barless: Counter[str] | None = None) -> Image:
    """Draw every reading: a box in its expression's color, a tag with its label and percentage, bars of all classes.

    An unsure reading has a question mark in its tag, and of its box only the corners.

    Lines and text scale with the picture and the face. A tag or the bars go where they hide no other face; bars that
    would be too small to read, or find no room, are left out.

    Args:
        image: uint8 `[H, W, 3]`, BGR; not changed.
        readings: of this frame; boxes in its pixels, which may reach out of it.
        barless: counts the faces without bars, by reason.

    Returns:
        A new picture of the same shape.
    """
    canvas = np.array(image, np.uint8)
    frame = _Rect(0, 0, image.shape[1], image.shape[0])
    marks = [mark for reading in readings if (mark := _mark(reading, frame))]
    taken = [mark.box for mark in marks]
    for mark in marks:
        _outline(canvas, mark)
    for mark in marks:
        _draw_tag(canvas, mark, frame, taken)
    for mark in marks:
        reason = _draw_bars(canvas, mark, frame, taken)
        if reason and barless is not None:
            barless[reason] += 1
    return canvas


def write_picture(image: Image, path: Path) -> None:
    """Write a JPEG or PNG, by the suffix; an existing file is replaced, and never left half written.

    Args:
        image: uint8 `[H, W, 3]`, BGR.
        path: ends in .jpg, .jpeg or .png.

    Raises:
        OutputError: another suffix, or the file cannot be written.
    """
    format = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}.get(path.suffix.lower())
    if format is None:
        raise OutputError(f"{path}: expected a picture's name that ends in .jpg, .jpeg or .png")
    data = io.BytesIO()  # Pillow takes no notice of a disk that is full
    try:
        PillowImage.fromarray(np.ascontiguousarray(image[..., ::-1])).save(data, format, quality=JPEG_QUALITY)
    except (OSError, ValueError) as error:
        raise OutputError(f"{path}: cannot be written ({reason(error)})") from error
    write_bytes(path, data.getvalue())


def color_of(label: str) -> Color:
    """The color of a class: from `COLORS`, or one of those picked by its name, the same in every run."""
    choices = list(COLORS.values())
    return COLORS.get(label.lower(), choices[zlib.crc32(label.encode("utf-8", "replace")) % len(choices)])


# --- one face ---------------------------------------------------------------------------------------------------------


def _mark(reading: Reading, frame: _Rect) -> _Mark | None:
    """None for a box outside the frame."""
    x1, y1, x2, y2 = clip_box(reading.face.box_xyxy, frame.x2, frame.y2)
    if x2 - x1 < 1 or y2 - y1 < 1:
        return None
    face_side, frame_side = max(x2 - x1, y2 - y1), max(frame.x2, frame.y2)
    wanted = max(min(0.026 * frame_side, 0.18 * face_side), 11)
    tag_px = round(min(wanted, 0.1 * frame.x2, 0.25 * frame.y2))
    left, top, right, bottom = (round(value) for value in reading.face.box_xyxy)
    # Farther out than any line is thick, the edge is not seen: one frame's side stands for any number of pixels.
    far = frame_side + 8
    box = _Rect(max(left, -far), max(top, -far), min(right, frame.x2 + far), min(bottom, frame.y2 + far))
    return _Mark(reading.expression, box, tag_px)


def _outline(canvas: Image, mark: _Mark) -> None:
    """The box, its line inside the edge, with a thin dark rim so that it shows on any background.

    Of an unsure reading only the corners are drawn.
    """
    before: Image | None = np.array(canvas, np.uint8) if mark.expression.unsure else None
    rim = max(1, mark.line // 3)
    for grow, width, color, strength in (
        (rim, mark.line + 2 * rim, _PAPER, 0.45),
        (0, mark.line, color_of(mark.expression.label), 1.0),
    ):
        x1, y1, x2, y2 = mark.box.x1 - grow, mark.box.y1 - grow, mark.box.x2 + grow, mark.box.y2 + grow
        inner_top, inner_bottom = min(y1 + width, y2), max(y2 - width, y1 + width)
        _fill(canvas, _Rect(x1, y1, x2, inner_top), color, strength)
        _fill(canvas, _Rect(x1, inner_bottom, x2, y2), color, strength)
        _fill(canvas, _Rect(x1, inner_top, min(x1 + width, x2), inner_bottom), color, strength)
        _fill(canvas, _Rect(max(x2 - width, x1 + width), inner_top, x2, inner_bottom), color, strength)
    if before is not None:
        _restore_middles(canvas, before, mark.box)


def _restore_middles(canvas: Image, before: Image, box: _Rect) -> None:
    """Take the middle half of each side of a box away again."""
    wide, high = (box.x2 - box.x1) // 4, (box.y2 - box.y1) // 4
    reach = slice(max(box.y1 - high, 0), max(box.y2 + high, 0)), slice(max(box.x1 - wide, 0), max(box.x2 + wide, 0))
    across = slice(max(box.x1 + wide, 0), max(box.x2 - wide, 0))
    down = slice(max(box.y1 + high, 0), max(box.y2 - high, 0))
    canvas[reach[0], across] = before[reach[0], across]
    canvas[down, reach[1]] = before[down, reach[1]]


def _draw_tag(canvas: Image, mark: _Mark, frame: _Rect, taken: list[_Rect]) -> None:
    if mark.tag_px < MIN_TAG_PX:
        return
    label, percent = mark.expression.label, f"{mark.expression.confidence:.0%}"
    said = label + "?" * mark.expression.unsure
    places: list[tuple[str, int, _Rect]] = []
    for px in dict.fromkeys((mark.tag_px, min(max(round(mark.tag_px * 0.75), 10), mark.tag_px))):
        for text in (f"{said} {percent}", said):
            pad = max(2, round(px * 0.3))
            size = (text_width(text, px) + 2 * pad, round(px * 1.3) + pad)
            places += [(text, px, rect) for rect in _tag_places(mark.box, size, frame)]
    if not places:
        return
    others = [rect for rect in taken if rect is not mark.box]
    free = (place for place in places if not any(place[2].overlaps(other) for other in others))
    text, px, rect = next(free, places[0])
    color = color_of(label)
    patch = PillowImage.new("RGBA", (rect.x2 - rect.x1, rect.y2 - rect.y1), (*color, 255))
    write_text(
        ImageDraw.Draw(patch),
        (max(2, round(px * 0.3)), (patch.height - round(px * 1.3)) // 2),
        text,
        px,
        ink_on(color),
    )
    _paste(canvas, _rounded(patch, max(2, px // 5)), rect)
    taken.append(rect)


def _tag_places(box: _Rect, size: tuple[int, int], frame: _Rect) -> Iterator[_Rect]:
    """Where a tag may go, best first: above the box, below it, inside its top; nothing if the frame is too small."""
    width, height = size
    if width > frame.x2 or height > frame.y2:
        return
    x = min(max(box.x1, 0), frame.x2 - width)
    if box.y1 - height >= 0:
        yield _Rect(x, box.y1 - height, x + width, box.y1)
    if box.y2 + height <= frame.y2:
        yield _Rect(x, box.y2, x + width, box.y2 + height)
    y = min(max(box.y1, 0), frame.y2 - height)
    yield _Rect(x, y, x + width, y + height)


def _draw_bars(canvas: Image, mark: _Mark, frame: _Rect, taken: list[_Rect]) -> str:
    """Draw them where there is room; else say why not."""
    pairs = sorted(mark.expression.as_dict().items(), key=lambda pair: -pair[1])[:MAX_BARS]
    if len(mark.expression.classes) <= MAX_BARS:
        pairs = list(mark.expression.as_dict().items())
    fits_face = 1.3 * (mark.box.y2 - mark.box.y1) / (1.35 * len(pairs) + 0.8)
    largest = round(min(mark.tag_px * 0.85, fits_face))
    for px in dict.fromkeys((largest, round(largest * 0.85))):
        if px < MIN_BARS_PX:
            return TOO_SMALL if px == largest else NO_ROOM
        patch = _bars(pairs, px)
        for rect in _bars_places(mark, (patch.width, patch.height), taken):
            inside = rect.x1 >= 0 and rect.y1 >= 0 and rect.x2 <= frame.x2 and rect.y2 <= frame.y2
            if inside and not any(rect.overlaps(other) for other in taken):
                _paste(canvas, patch, rect)
                taken.append(rect)
                return ""
    return NO_ROOM


def _bars_places(mark: _Mark, size: tuple[int, int], taken: Sequence[_Rect]) -> Iterator[_Rect]:
    """Right of the box, left of it, below it, above it (and above and below what touches it there)."""
    (width, height), gap, box = size, 2 * mark.line, mark.box
    top, left = max(box.y1, 0), max(box.x1, 0)
    bottoms = [box.y2, *(rect.y2 for rect in taken if rect.y1 == box.y2)]
    tops = [box.y1, *(rect.y1 for rect in taken if rect.y2 == box.y1)]
    corners = [
        (box.x2 + gap, top),
        (box.x1 - gap - width, top),
        (left, max(bottoms) + gap),
        (left, min(tops) - gap - height),
    ]
    for x, y in corners:
        yield _Rect(x, y, x + width, y + height)


def _bars(pairs: Sequence[tuple[str, float]], px: int) -> PillowImage.Image:
    """A panel with a row a class: name, bar, percentage. RGBA, half transparent."""
    row, pad = round(px * 1.35), round(px * 0.5)
    name_width = max(text_width(name, px) for name, _ in pairs)
    number_width, bar_width = text_width("100", px), round(px * 4.5)
    size = (name_width + bar_width + number_width + 4 * pad, row * len(pairs) + 2 * pad - pad // 2)
    patch = PillowImage.new("RGBA", size, (*_PAPER, 200))
    draw = ImageDraw.Draw(patch)
    best = max(value for _, value in pairs)
    bar_x = pad + name_width + pad
    for index, (name, value) in enumerate(pairs):
        y, ink = pad - pad // 4 + index * row, _INK if value == best else _DIM
        write_text(draw, (pad, y), name, px, ink)
        number = f"{100 * value:.0f}"
        write_text(draw, (size[0] - pad - text_width(number, px), y), number, px, ink)
        bar = (bar_x, y + round(px * 0.4), bar_x + bar_width - 1, y + round(px * 1.05))
        draw.rectangle(bar, fill=(*_TRACK, 255))
        if filled := round(min(max(value, 0), 1) * bar_width):
            draw.rectangle((bar[0], bar[1], bar_x + filled - 1, bar[3]), fill=(*color_of(name), 255))
    return _rounded(patch, max(2, px // 3))


# --- pixels -----------------------------------------------------------------------------------------------------------


def _fill(canvas: Image, rect: _Rect, color: Color, strength: float) -> None:
    """Blend a color over the part of a rectangle that lies in the frame; strength 1 covers."""
    region = canvas[max(rect.y1, 0) : max(rect.y2, 0), max(rect.x1, 0) : max(rect.x2, 0)]
    region[...] = np.rint(region * (1 - strength) + np.array(color[::-1]) * strength)


def _paste(canvas: Image, patch: PillowImage.Image, rect: _Rect) -> None:
    rgba = np.asarray(patch).astype(np.float32)
    alpha = rgba[..., 3:] / 255
    region = canvas[rect.y1 : rect.y2, rect.x1 : rect.x2]
    region[...] = np.rint(region * (1 - alpha) + rgba[..., 2::-1] * alpha)


def _rounded(patch: PillowImage.Image, radius: int) -> PillowImage.Image:
    """Round the corners of an RGBA picture, smoothly: the mask is drawn four times as large."""
    large = PillowImage.new("L", (4 * patch.width, 4 * patch.height), 0)
    ImageDraw.Draw(large).rounded_rectangle((0, 0, large.width - 1, large.height - 1), 4 * radius, 255)
    mask = np.asarray(large.resize(patch.size, PillowImage.Resampling.BOX)).astype(np.uint16)
    alpha = np.asarray(patch.getchannel("A")) * mask // 255
    patch.putalpha(PillowImage.fromarray(alpha.astype(np.uint8)))
    return patch


def ink_on(color: Color) -> Color:
    """Black or white, whichever contrasts more (WCAG 2 relative luminance, its curve taken as a power of 2.2)."""
    red, green, blue = ((value / 255) ** 2.2 for value in color)
    return (0, 0, 0) if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 else _INK
