"""Pictures, videos, folders, patterns, archives, bytes, cameras and network streams -> frames."""

from __future__ import annotations

from mien.media.formats import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from mien.media.image import decode, read_image
from mien.media.limits import MAX_PIXELS, Limits
from mien.media.sources import MEDIA_SUFFIXES, Item, item_bytes, list_items, open_sources, read_item
from mien.media.video import WHOLE, Clip, read_video

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "MEDIA_SUFFIXES",
    "VIDEO_SUFFIXES",
    "WHOLE",
    "Clip",
    "Item",
    "Limits",
    "decode",
    "item_bytes",
    "list_items",
    "open_sources",
    "read_image",
    "read_item",
    "read_video",
]
