"""A detector for tests: it finds what it was told to find."""

from __future__ import annotations

from collections.abc import Iterable

from mien.detect.base import best_first, check_image
from mien.records import Face, Image


class StubDetector:
    """Finds the given faces in every picture; takes the place of a real detector in tests."""

    def __init__(self, faces: Iterable[Face] = (), name: str = "stub") -> None:
        """Remember `faces`; each call returns them as they are, best first."""
        self._faces = best_first(faces)
        self._name = name

    @property
    def name(self) -> str:
        """The faces that the stub was made with, whatever the picture."""
        return self._name

    def detect(self, image: Image) -> list[Face]:
        """See `Detector.detect`."""
        check_image(image)
        return list(self._faces)
