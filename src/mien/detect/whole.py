"""For data sets of crops: the picture is the face."""

from __future__ import annotations

from mien.detect.base import check_image
from mien.model.crop import whole_face
from mien.records import Face, Image


class WholeDetector:
    """Finds one face in every picture: the picture."""

    @property
    def name(self) -> str:
        """What the faces are marked with."""
        return "whole"

    def detect(self, image: Image) -> list[Face]:
        """See `Detector.detect`; exactly one face comes back, its score 1.0."""
        check_image(image)
        return [whole_face(image)]
