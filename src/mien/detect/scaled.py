"""Detection at a scale that follows from the smallest face wanted, so that cost does not grow with the camera."""

from __future__ import annotations

import logging
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np

from mien.detect.base import best_first, check_image
from mien.errors import DetectorError
from mien.geometry import scale_face, suppress_overlaps
from mien.imaging import resize, size_for
from mien.records import Face, Image, Landmarks

AUTOMATIC_FLOOR = 20.0
"""Without `min_face`: the smallest face wanted, in pixels of the original frame ..."""

AUTOMATIC_SHARE = 0.02
"""... or this share of the longer side (at most of twice the shorter), whichever is larger."""

MAX_ENLARGEMENT = 4.0
"""A face enlarged further than this shows the network nothing new."""

MAX_DETECTION_PIXELS = 4_000_000
"""Largest picture handed to a detector, in pixels."""

MAX_DETECTION_SIDE = 16_384
"""Longest side handed to a detector: what OpenCV's cascade and resizing still take."""

LITTLE_TO_SHRINK = 0.75
"""A picture that is to be shrunk by less than this is searched as it is."""

TOLERANCE = 0.8
"""Faces are dropped below this share of `min_face`: a detector's box is not exact to the pixel."""

LANDMARK_SLACK = 0.25
"""How far outside a box a landmark may lie, in box widths and heights."""

REDUCTIONS = (1, 2, 4, 8)
"""Factors by which a JPEG can be shrunk while it is decoded."""

SAME_FACE_IOU = 0.4
"""Two boxes that overlap more than this are one face, seen by two passes."""

_log = logging.getLogger("mien")


@dataclass(frozen=True, slots=True)
class SizeRange:
    """Sizes that a detector copes with, in pixels of the picture it is given.

    `smallest` is the longer side of the smallest face it finds reliably. `coarse_side`: a large picture is
    searched a second time, shrunk to a longer side of this or more, for faces too large for the detector. None: the
    detector has no upper limit. `small_side`: a picture smaller than this is enlarged to it (0: never).
    """

    smallest: float
    coarse_side: int | None = None
    small_side: int = 0


NETWORK_REACH = SizeRange(smallest=20, coarse_side=192, small_side=160)
"""For both networks of the YuNet family; docs/reference/detectors.md has the measurements."""

COARSE_FROM = 400
"""A second pass pays when the first picture's longer side is more than this ..."""

COARSE_SHARE = 1 / 3
"""... and is made at this share of its size: what is too large for the first pass is large enough for the second ..."""

COARSE_MOST = 320
"""... but at this longer side at most."""


def automatic_min_face(width: int, height: int) -> float:
    """The smallest face wanted in a frame of this size when nobody says, in pixels of the frame."""
    return max(AUTOMATIC_FLOOR, AUTOMATIC_SHARE * min(max(width, height), 2 * min(width, height)))


def detection_scale(width: int, height: int, reach: SizeRange, min_face: float | None = None) -> float:
    """Factor from the original frame to the picture that the detector is given.

    The smallest face wanted becomes the smallest face that the detector finds. A frame is enlarged when the user asks
    for smaller faces than that, or when the whole frame is small; never above `MAX_ENLARGEMENT`, nor past
    `MAX_DETECTION_PIXELS` and `MAX_DETECTION_SIDE`.

    Args:
        width, height: of the frame, pixels.
        reach: of the detector.
        min_face: smallest face wanted, pixels of the frame; None for `automatic_min_face`.
    """
    longer = max(width, height)
    if min_face is None:
        wanted = max(min(reach.smallest / automatic_min_face(width, height), 1.0), reach.small_side / longer)
    else:
        wanted = max(reach.smallest / min_face, min(reach.small_side / longer, 1.0))
    return min(wanted, MAX_ENLARGEMENT, math.sqrt(MAX_DETECTION_PIXELS / (width * height)), MAX_DETECTION_SIDE / longer)


def resized(image: Image, scale: float) -> Image:
    """The image at about this scale, at least 1 x 1 pixel.

    Shrinking by whole blocks of pixels costs a fraction of other shrinking. Where little is left to shrink after that,
    searching the larger picture is cheaper than resizing it.
    """
    if scale < 1:
        block = int(1 / scale)
        blocks = (
            resize(image, *(-(-side // block) for side in (image.shape[1], image.shape[0]))) if block > 1 else image
        )
        enough = scale * block > LITTLE_TO_SHRINK and blocks.shape[0] * blocks.shape[1] <= MAX_DETECTION_PIXELS
        if enough and max(blocks.shape[:2]) <= MAX_DETECTION_SIDE:
            return blocks
        return resize(blocks, *size_for(image, scale))
    return resize(image, *size_for(image, scale))


def turned_back(face: Face, turns: int, width: int, height: int) -> Face:
    """A face of `np.rot90(picture, turns)` in the pixels of the picture, whose size this is."""
    if not turns:
        return face

    def back(point: tuple[float, float]) -> tuple[float, float]:
        x, y = point
        return ((width - y, x), (width - x, height - y), (y, height - x))[turns - 1]

    x1, y1, x2, y2 = face.box_xyxy
    (ax, ay), (bx, by) = back((x1, y1)), back((x2, y2))
    landmarks: Landmarks | None = None
    if face.landmarks_xy is not None:
        a, b, c, d, e = (back(point) for point in face.landmarks_xy)
        landmarks = (a, b, c, d, e)
    box = (min(ax, bx), min(ay, by), max(ax, bx), max(ay, by))
    return replace(face, box_xyxy=box, landmarks_xy=landmarks)


def plausible(face: Face) -> bool:
    """Whether the landmarks agree with the box of an upright face: about inside it, and the mouth below the eyes."""
    if face.landmarks_xy is None:
        return True
    x1, y1, x2, y2 = face.box_xyxy
    slack_x, slack_y = LANDMARK_SLACK * (x2 - x1), LANDMARK_SLACK * (y2 - y1)
    inside = all(x1 - slack_x <= x <= x2 + slack_x and y1 - slack_y <= y <= y2 + slack_y for x, y in face.landmarks_xy)
    left_eye, right_eye, _, left_mouth, right_mouth = face.landmarks_xy
    return inside and left_mouth[1] + right_mouth[1] > left_eye[1] + right_eye[1]


def without_duplicates(faces: list[Face]) -> list[Face]:
    """Best first; of boxes that overlap by more than `SAME_FACE_IOU` the best alone."""
    ranked = best_first(faces)
    boxes = np.array([face.box_xyxy for face in ranked], np.float64).reshape(-1, 4)
    scores = np.array([face.score for face in ranked], np.float64)
    return [ranked[index] for index in suppress_overlaps(boxes, scores, SAME_FACE_IOU)]


class ScaledDetector(ABC):
    """A detector that looks at a resized frame. A subclass says how it finds faces in the picture it is given."""

    def __init__(self, name: str, reach: SizeRange, min_face: float | None, *, turned: bool = False) -> None:
        """Remember the reach and the smallest face wanted (pixels of the original frame; None: automatic).

        `turned`: look at the picture turned by 90, 180 and 270 degrees too. A turned face keeps the landmarks' order
        that it has when it is upright, so that its crop is cut upright.

        Raises:
            DetectorError: `min_face` is not a finite number above 0.
        """
        if min_face is not None and not (math.isfinite(min_face) and min_face > 0):
            raise DetectorError(f"min_face: expected a number of pixels above 0; found {min_face}")
        self._name = name
        self._reach = reach
        self._min_face = min_face
        self._turns = (0, 1, 2, 3) if turned else (0,)
        self._told = False

    @property
    def name(self) -> str:
        """What the faces are marked with."""
        return self._name

    def detect(self, image: Image) -> list[Face]:
        """See `Detector.detect`. Faces smaller than `min_face` are left out."""
        return self.detect_reduced(image, 1)

    def reduction(self, width: int, height: int) -> int:
        """The factor, 1, 2, 4 or 8, by which a frame of this size may be shrunk before `detect_reduced` sees it."""
        scale = detection_scale(width, height, self._reach, self._min_face)
        return max(factor for factor in REDUCTIONS if factor == 1 or factor * scale <= 1)

    def detect_reduced(self, image: Image, factor: int) -> list[Face]:
        """Like `detect`, of a frame that was shrunk by a factor: coordinates are those of the frame at its own size."""
        check_image(image)
        height, width = (side * factor for side in image.shape[:2])
        scale = detection_scale(width, height, self._reach, self._min_face)
        self._tell_limit(width, height, scale)
        picture = np.ascontiguousarray(resized(np.ascontiguousarray(image), scale * factor))
        faces = self._found(picture, width, height)
        longer = max(picture.shape[:2])
        if self._reach.coarse_side and longer > COARSE_FROM:
            coarse = max(self._reach.coarse_side / longer, min(COARSE_SHARE, COARSE_MOST / longer))
            faces += self._found(resize(picture, *size_for(picture, coarse)), width, height)
        smallest = TOLERANCE * (self._min_face or automatic_min_face(width, height))
        return [face for face in without_duplicates(faces) if _large_and_inside(face, smallest, width, height)]

    @abstractmethod
    def _find(self, picture: Image) -> list[Face]:
        """Faces of a contiguous picture in that picture's own pixels, in any order."""

    def _found(self, picture: Image, width: int, height: int) -> list[Face]:
        factors = width / picture.shape[1], height / picture.shape[0]
        faces: list[Face] = []
        for turns in self._turns:
            view = np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture
            upright = filter(plausible, self._find(view))
            faces += [turned_back(face, turns, picture.shape[1], picture.shape[0]) for face in upright]
        return [scale_face(face, *factors) for face in faces]

    def _tell_limit(self, width: int, height: int, scale: float) -> None:
        if self._min_face is None or self._told or scale * self._min_face > self._reach.smallest * 0.99:
            return
        self._told = True
        _log.warning(
            "%s: min_face %g would need a picture too large to search (%d x %d enlarged %.1f times; at most %d pixels"
            " and %g times); faces are found from about %.0f pixels upwards",
            self._name, self._min_face, width, height, self._reach.smallest / self._min_face,
            MAX_DETECTION_PIXELS, MAX_ENLARGEMENT, self._reach.smallest / scale,
        )  # fmt: skip


def check_score(min_score: float) -> float:
    """Return `min_score` as it is.

    Raises:
        DetectorError: it is not within 0..1.
    """
    if not 0 <= min_score <= 1:
        raise DetectorError(f"min_score: expected a number from 0 to 1; found {min_score}")
    return min_score


def _large_and_inside(face: Face, smallest: float, width: int, height: int) -> bool:
    x1, y1, x2, y2 = face.box_xyxy
    return max(x2 - x1, y2 - y1) >= smallest and x1 < width and y1 < height and x2 > 0 and y2 > 0
