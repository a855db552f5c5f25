"""Pictures, folders, patterns and bytes -> frames."""

from __future__ import annotations

from mien.media.image import IMAGE_SUFFIXES, MAX_PIXELS, decode, read_image
from mien.media.sources import Item, list_items, open_sources, read_item

__all__ = ["IMAGE_SUFFIXES", "MAX_PIXELS", "Item", "decode", "list_items", "open_sources", "read_image", "read_item"]
