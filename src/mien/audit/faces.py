"""Pictures without a face, as far as a detector can tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mien.audit.records import FaceCheck, Picture
from mien.detect import Detector
from mien.errors import MediaError
from mien.imaging import enlarge_smoothly, padded, resize, size_for
from mien.media.image import read_image
from mien.media.limits import USUAL, Limits
from mien.progress import SILENT, Progress
from mien.records import Image

SIDES_PX = (96, 192)
"""A crop is laid on a canvas at these sizes in turn: the first finds four faces in five, in a fifth of the time."""


def check_faces(
    pictures: Sequence[Picture],
    detector: Detector,
    limit: int | None = None,
    limits: Limits = USUAL,
    progress: Progress = SILENT,
) -> FaceCheck:
    """Look for a face in each picture, or in `limit` of them, evenly spread; unreadable ones are passed over."""
    rows = _spread(len(pictures), limit)
    missing: list[Picture] = []
    looked_at = 0
    for done, row in enumerate(rows, 1):
        try:
            image = next(read_image(pictures[row].sample.path, limits)).pixels
        except MediaError:
            continue
        looked_at += 1
        if not any(detector.detect(view) for view in _views(image)):
            missing.append(pictures[row])
        progress.update("looking for faces", done, len(rows))
    return FaceCheck(detector.name, looked_at, tuple(missing))


def _spread(count: int, limit: int | None) -> list[int]:
    """`limit` rows of `count`, evenly spread over all: over classes too, as pictures stand in the order of these."""
    kept = count if limit is None else min(limit, count)
    return [i * count // kept for i in range(kept)]


def _views(image: Image) -> Iterator[Image]:
    for side in SIDES_PX:
        yield _on_canvas(image, side)
    if max(image.shape[:2]) > max(SIDES_PX):  # a whole photo: its faces may be small
        yield image


def _on_canvas(image: Image, side: int) -> Image:
    """The picture with `side` as its longer side, amid its own mean gray: detectors want room around a tight crop."""
    scale = side / max(image.shape[:2])
    resized = (enlarge_smoothly if scale > 1 else resize)(image, *size_for(image, scale))
    return padded(resized, side // 2, side // 2, int(resized.mean()))
