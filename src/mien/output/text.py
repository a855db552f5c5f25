"""Text on pictures, with Pillow's own font where it has the letters, and a font of the machine where it has not."""

from __future__ import annotations

import unicodedata
from contextlib import suppress
from functools import lru_cache

from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from mien.errors import OutputError

FALLBACK_FONTS = ("DejaVuSans.ttf", "NotoSansCJK-Regular.ttc", "msyh.ttc", "PingFang.ttc", "Arial Unicode.ttf")
"""Tried in turn, where installed, for text that Pillow's own font (Latin letters without accents) cannot show."""


def write_text(
    draw: ImageDraw.ImageDraw, corner: tuple[int, int], text: str, px: int, color: tuple[int, int, int]
) -> None:
    """Draw one line of text, `px` pixels high, its top left at `corner` (x, y), in `color` (red, green, blue)."""
    shown, name = _showable(text)
    draw.text(corner, shown, font=_font(px, name), fill=color)


def text_width(text: str, px: int) -> int:
    """Width in pixels of one line of text, `px` pixels high."""
    shown, name = _showable(text)
    return round(_font(px, name).getlength(shown))


def fit_text(text: str, px: int, width: int) -> str:
    """The text, cut with an ellipsis until it is no wider than `width` pixels."""
    if text_width(text, px) <= width:
        return text
    while text and text_width(text + "…", px) > width:
        text = text[:-1]
    return text + "…"


@lru_cache(maxsize=64)
def _font(px: int, name: str | None) -> ImageFont.FreeTypeFont:
    font = ImageFont.truetype(name, px) if name else ImageFont.load_default(px)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise OutputError("this Pillow has no FreeType, which text on pictures needs; install Pillow's own wheel")
    return font


@lru_cache(maxsize=1024)
def _showable(text: str) -> tuple[str, str | None]:
    """The text, and the font that has its letters; where none has, without accents, in Pillow's own font."""
    text = " ".join(text.split()).encode("utf-8", "replace").decode()
    for name in (None, *FALLBACK_FONTS):
        with suppress(OSError):
            if _has_all(name, text):
                return text, name
    return "".join(mark for mark in unicodedata.normalize("NFKD", text) if not unicodedata.combining(mark)), None


def _has_all(name: str | None, text: str) -> bool:
    missing = _glyph(name, "\uffff")
    return all(letter.isascii() or _glyph(name, letter) != missing for letter in text)


@lru_cache(maxsize=1024)
def _glyph(name: str | None, letter: str) -> bytes:
    picture = PillowImage.new("L", (32, 32))
    ImageDraw.Draw(picture).text((4, 4), letter, font=_font(16, name), fill=255)
    return picture.tobytes()
