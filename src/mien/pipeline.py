"""The stages in their order: media -> detect -> crop -> classify. No other module knows it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from mien.bundle import load_bundle
from mien.classify import classify
from mien.crop import cut
from mien.detect import Detector, default_detector_name, make_detector
from mien.errors import MienError
from mien.media.image import MAX_PIXELS, decode, read_image
from mien.records import Failure, Frame, FrameReadings, Image, Reading
from mien.session import Session


class Recognizer:
    """Finds faces and reads the expression they show.

    ```python
    from mien import Recognizer

    for reading in Recognizer().read("photo.jpg"):
        print(reading.face.box_xyxy, reading.expression.label, reading.expression.confidence)
    ```

    Args:
        model: a bundled model's name or the path of a `.onnx` bundle.
        detector: a detector's name (see `mien.detect.DETECTORS`) or any object with `name` and `detect(image)`.
        min_face: smallest face wanted, in pixels of the original frame; None: 2 % of the longer side, at least 20.
        threads: CPU threads; 0 takes every core.
        max_pixels: a larger picture is refused before it is decoded.

    Raises:
        MienError: the model or the detector cannot be used; see `mien.errors`.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = "default",
        detector: str | Detector | None = None,
        *,
        min_face: float | None = None,
        threads: int = 0,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self.session = Session(load_bundle(model), threads)
        if detector is None or isinstance(detector, str):
            detector = make_detector(detector or default_detector_name(), min_face=min_face)
        self.detector = detector
        self.max_pixels = max_pixels

    @property
    def classes(self) -> tuple[str, ...]:
        """The model's classes, in its order."""
        return self.session.manifest.classes

    def read(self, picture: str | os.PathLike[str] | bytes | Image) -> list[Reading]:
        """Readings of one picture, faces by detector score, highest first; of every frame, if it is animated.

        Args:
            picture: a path, the bytes of an image file, or uint8 `[H, W, 3]` BGR.

        Raises:
            MediaError: the picture cannot be read.
        """
        return [reading for frame in self._frames(picture) for reading in self.read_frame(frame).readings]

    def read_frame(self, frame: Frame) -> FrameReadings:
        """Readings of one frame."""
        manifest = self.session.manifest
        faces = self.detector.detect(frame.image)
        expressions = classify(self.session, cut(frame.image, faces, manifest.crop, manifest.input))
        readings = (
            Reading(frame.source, frame.index, frame.time_s, face, expression)
            for face, expression in zip(faces, expressions, strict=True)
        )
        return FrameReadings(frame, tuple(readings))

    def read_all(self, frames: Iterable[Frame | Failure]) -> Iterator[FrameReadings | Failure]:
        """Readings frame by frame; a frame that fails becomes a `Failure`, and the rest go on."""
        for item in frames:
            if isinstance(item, Failure):
                yield item
                continue
            try:
                yield self.read_frame(item)
            except MienError as error:
                yield Failure(item.source, item.index, str(error))

    def _frames(self, picture: str | os.PathLike[str] | bytes | Image) -> Iterable[Frame]:
        if isinstance(picture, bytes):
            return decode(picture, "bytes", self.max_pixels)
        if isinstance(picture, (str, os.PathLike)):
            return read_image(Path(picture), self.max_pixels)
        return [Frame(picture, "array")]
