"""What a detector is, and what all of them check and promise."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, cast

import numpy as np

from mien.errors import DetectorError
from mien.records import Face, Frame, Image


class Detector(Protocol):
    """Finds faces in a picture. Any object with this attribute and this method will do.

    One with an attribute `shareable` that is true is called from several threads at once. One with the methods
    `reduction(width, height)` and `detect_reduced(image, factor)` is given JPEG pictures that were shrunk by that
    factor while they were decoded, and answers in the pixels of the frame at its own size.
    """

    @property
    def name(self) -> str:
        """Goes into `Face.detector`; a model's manifest may hold a framing under this name."""
        ...

    def detect(self, image: Image) -> list[Face]:
        """Faces of `image`, best first.

        Args:
            image: uint8 `[H, W, 3]`, BGR, H and W at least 1; need not be contiguous.

        Returns:
            Boxes and landmarks in the pixels of `image`, sorted by score (descending), then from the top, then from
            the left. A face cut by the frame's edge may have a box that reaches past it.

        Raises:
            DetectorError: `image` has another shape or dtype.
        """
        ...


def faces_in(detector: Detector, frame: Frame) -> list[Face]:
    """The faces of a frame, in its pixels at its own size.

    Raises:
        DetectorError: see `Detector.detect`.
        MediaError: the frame was reduced, the detector cannot deal with that, and it cannot be decoded again.
    """
    if frame.reduced and hasattr(detector, "detect_reduced"):
        detect: Callable[[Image, int], list[Face]] = getattr(detector, "detect_reduced")  # noqa: B009 - not in the protocol
        return detect(frame.reduced.image, frame.reduced.factor)
    return detector.detect(frame.pixels)


def check_image(image: Image) -> None:
    """Refuse what is not a picture.

    Raises:
        DetectorError: not uint8 `[H, W, 3]`, or without pixels.
    """
    # The annotation promises an array; a caller without a type checker may still hand over something else.
    found = cast(object, image)
    if not isinstance(found, np.ndarray):
        raise DetectorError(f"expected a picture as a uint8 array [H, W, 3]; found {type(found).__name__}")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        shape = ", ".join(map(str, image.shape))
        raise DetectorError(
            f"expected a picture as a uint8 array [H, W, 3], BGR; found {image.dtype} [{shape}]"
            " (a gray picture becomes BGR with np.repeat(gray[..., None], 3, axis=2))"
        )
    if image.size == 0:
        raise DetectorError(f"expected a picture of at least 1 x 1 pixel; found {image.shape[1]} x {image.shape[0]}")


def best_first(faces: Iterable[Face]) -> list[Face]:
    """Sort by score (descending), then from the top, then from the left."""
    return sorted(faces, key=lambda face: (-face.score, face.box_xyxy[1], face.box_xyxy[0], face.box_xyxy))
