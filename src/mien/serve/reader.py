"""One worker's reader: bytes of a picture -> rows, by the library's own path and with the request's wishes."""

from __future__ import annotations

import io
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from PIL import Image as PillowImage

from mien.detect import Detector, default_detector_name, make_detector
from mien.errors import MediaError, MienError
from mien.media.image import decode
from mien.model.session import Session
from mien.output.draw import JPEG_QUALITY, annotate
from mien.output.rows import Row, rows_of, utf8
from mien.pipeline import Recognizer
from mien.records import Failure, Frame, FrameReadings
from mien.serve.options import MAX_FRAMES
from mien.serve.read_options import ReadOptions

DETECTORS_KEPT = 8
"""Detectors with a smallest face or a least score of their own that each reader keeps."""

_log = logging.getLogger("mien.serve")


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of a request: its bytes, what the client calls it, and why there are no bytes ("" if there are)."""

    data: bytes
    source: str
    problem: str = ""


@dataclass(slots=True)
class PictureResult:
    """What was read in one picture.

    Attributes:
        source: as the client calls it.
        width, height: of the first frame, pixels; 0 if it could not be read.
        rows: one a face, and one for each failure.
        error: why it could not be read, or not to its end; None otherwise.
        ours: whether the error is the server's own and not the picture's.
        json: the picture as it stands in an answer.
        jpeg: the first frame with its readings drawn on it, if wanted.
        readings: of each frame; dropped when the shadow has seen them.
        seconds: of each stage.
    """

    source: str
    width: int = 0
    height: int = 0
    rows: list[Row] = field(default_factory=list[Row])
    error: str | None = None
    ours: bool = False
    json: str = ""
    jpeg: bytes = b""
    readings: list[FrameReadings] = field(default_factory=list[FrameReadings])
    seconds: dict[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, slots=True)
class DetectorChoice:
    """The detector that a server uses; see `mien.detect.make_detector`. The model computes on its device, too."""

    name: str = ""
    min_face: float | None = None
    min_score: float | None = None
    turned: bool = False
    device: str = "cpu"

    def make(self, min_face: float | None = None, min_score: float | None = None) -> Detector:
        """A detector, with another smallest face or least score if one is given.

        Raises:
            DetectorError: this detector knows no such option.
        """
        return make_detector(
            self.name or default_detector_name(),
            min_face=min_face or self.min_face,
            min_score=self.min_score if min_score is None else min_score,
            turned=self.turned,
            device=self.device,
        )


class Reader:
    """A Recognizer for one thread at a time; the open model is shared by all of them.

    Args:
        model: whose model is read with.
        detector: makes this reader's detectors.

    Raises:
        DetectorError: the detector cannot be used.
    """

    def __init__(self, model: Recognizer, detector: DetectorChoice) -> None:
        self.recognizer = model.twin(detector.make())
        self.session = model.session
        self._choice = detector
        self._detectors: dict[tuple[float | None, float | None], Detector] = {(None, None): self.recognizer.detector}

    def session_for(self, wish: ReadOptions) -> Session:
        """The open model, giving what is wished.

        Raises:
            MienError: the model cannot give that.
        """
        return self.session.giving(wish.answer, wish.prior) if wish.answer or wish.prior else self.session

    def warm_up(self) -> None:
        """Read an empty picture and an empty crop: what is slow the first time is slow now."""
        self.recognizer.read(np.zeros((64, 64, 3), np.uint8))
        spec = self.recognizer.session.manifest.input
        self.recognizer.session.run(np.zeros((1, spec.height, spec.width, spec.channels), np.uint8))

    def read(self, picture: Picture, wish: ReadOptions) -> PictureResult:
        """Read one picture. Whatever is wrong with it stands in the result."""
        result = PictureResult(picture.source)
        clock = self.recognizer.clock
        clock.seconds.clear()
        try:
            self.recognizer.detector = self._detector(wish.min_face, wish.min_score)
            self.recognizer.session = self.session_for(wish)
            frames = clock.over("decode", self._frames(picture, whole=wish.draw))
            for item in self.recognizer.read_all(frames, ahead=False):
                _add(result, item)
            if wish.draw and result.readings:
                result.jpeg = _jpeg(result.readings[0])
        except MienError as error:
            result.error = str(error)
        except Exception as error:  # nothing that one picture drives a library into may end the worker
            _log.exception("a picture could not be read")
            result.error, result.ours = f"the server failed on this picture ({type(error).__name__})", True
        started = time.perf_counter()
        result.json = _as_json(result)
        result.seconds = {**clock.seconds, "encode": time.perf_counter() - started}
        return result

    def _frames(self, picture: Picture, *, whole: bool) -> Iterator[Frame | Failure]:
        read = 0
        if picture.problem:
            yield Failure(picture.source, 0, picture.problem)
            return
        reduction = None if whole else self.recognizer.reduction
        try:
            for frame in decode(picture.data, picture.source, self.recognizer.limits, reduction):
                if read == MAX_FRAMES:
                    yield Failure(
                        picture.source, read, f"{picture.source}: only the first {MAX_FRAMES} frames are read"
                    )
                    return
                read += 1
                yield frame
        except MediaError as error:
            yield Failure(picture.source, read, str(error))

    def _detector(self, min_face: float | None, min_score: float | None) -> Detector:
        wanted = (min_face, min_score)
        if wanted not in self._detectors:
            if len(self._detectors) > DETECTORS_KEPT:
                self._detectors.pop(next(key for key in self._detectors if key != (None, None)))
            self._detectors[wanted] = self._choice.make(min_face, min_score)
        return self._detectors[wanted]


def _add(result: PictureResult, item: FrameReadings | Failure) -> None:
    result.rows += rows_of(item)
    if isinstance(item, Failure):
        result.error = item.message
        return
    if not result.readings:
        result.width, result.height = item.frame.size
    result.readings.append(item)


def _jpeg(item: FrameReadings) -> bytes:
    drawn = annotate(item.frame.pixels, item.readings)
    data = io.BytesIO()
    PillowImage.fromarray(drawn[..., ::-1]).save(data, "JPEG", quality=JPEG_QUALITY)
    return data.getvalue()


def _as_json(result: PictureResult) -> str:
    document = {
        "source": result.source,
        "width": result.width,
        "height": result.height,
        "faces": [row for row in result.rows if row["error"] is None],
        "error": result.error,
    }
    return utf8(json.dumps(document, ensure_ascii=False))
