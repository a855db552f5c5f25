"""The stages in their order: media -> detect -> track -> crop -> classify. No other module knows it.

`Recognizer` and the evaluation look at a picture through the same `Stages`: what is measured is what ships.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from mien.detect import Detector, default_detector_name, make_detector
from mien.detect.base import faces_in
from mien.detect.read_ahead import SearchedFrame, search_frames
from mien.errors import MediaError, MienError, reason
from mien.media.image import Reduction, decode, read_image
from mien.media.limits import MAX_BYTES, MAX_PIXELS, Limits
from mien.media.pixels import to_bgr
from mien.model.bundle import Bundle, load_bundle
from mien.model.classify import classify, probabilities_of
from mien.model.crop import Crops, cut_frame
from mien.model.prior import Prior, as_prior
from mien.model.session import Scores, Session
from mien.records import Expression, Face, Failure, Frame, FrameReadings, Image, Reading, Readings
from mien.temporal.tracker import Tracker
from mien.timing import Stopwatch

Picture = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | PillowImage.Image | Image
"""What `Recognizer.read` takes."""

MAX_THREADS = 1024

TOGETHER = 16
"""Stills whose faces are classified in one call."""

TOGETHER_PIXELS = 2**25
"""At most this many pixels of stills are held in memory, and the picture that exceeds them."""


class Stages:
    """What every picture goes through: detect -> cut -> classify.

    Args:
        session: the open model.
        detector: finds the faces; `mien.detect.whole.WholeDetector` for pictures that are faces already.

    Attributes:
        clock: the seconds spent so far in each stage.
    """

    def __init__(self, session: Session, detector: Detector) -> None:
        self.session, self.detector = session, detector
        self.clock = Stopwatch()

    def detect(self, frame: Frame) -> list[Face]:
        """Faces of the frame, best first."""
        with self.clock.stage("detect"):
            return faces_in(self.detector, frame)

    def cut(self, frame: Frame, faces: Sequence[Face]) -> Crops:
        """The model's input, uint8 `[N, H, W, C]`, of N faces."""
        with self.clock.stage("crop"):
            return cut_frame(frame, faces, self.session.manifest.crop, self.session.manifest.input)

    def probabilities(self, crops: Crops) -> Scores:
        """Float32 `[N, K]` over the session's classes, rows summing to 1."""
        with self.clock.stage("classify"):
            return probabilities_of(self.session, crops)

    def express(self, crops: Crops) -> list[Expression]:
        """One expression for each crop, in order."""
        with self.clock.stage("classify"):
            return classify(self.session, crops)


class Recognizer:
    """Finds faces and reads the expression they show.

    ```python
    from mien import Recognizer

    for reading in Recognizer().read("photo.jpg"):
        print(reading.face.box_xyxy, reading.expression.label, reading.expression.confidence)
    ```

    Args:
        model: a bundled model's name, the path of a `.onnx` bundle, or a loaded bundle.
        detector: a detector's name (see `mien.detect.DETECTORS`) or any object with `name` and `detect(image)`.
        min_face: smallest face wanted, in pixels of the original frame; None: 2 % of the longer side, at least 20.
        turned: find and read faces turned by 90, 180 and 270 degrees too.
        threads: CPU threads; 0 takes every core.
        device: what computes: `auto` (a graphics card that this ONNX Runtime can use, else the processor), `cpu`,
            `cuda`, `coreml`, `directml` or `openvino`. What is asked for is what runs. A detector given as an object
            keeps its own.
        full_size: decode every JPEG at its own size. Otherwise one in which faces are looked for at 1/2, 1/4 or 1/8 of
            its size is decoded at that size, and again in full if a face has too few pixels there.
        max_pixels: a larger picture is refused before it is decoded, width x height.
        max_bytes: a larger file is refused, bytes.
        truncated: take what there is of a picture that is cut short or damaged; its frame's `note` says so.
        answer: which of the model's answers to give, by name (`people`, `fer2013`); None: its default.
        prior: the mix of classes to expect: "training" or None, "even", class -> share, or a file of shares; see
            `mien.model.prior`.
        prior_strength: how much of the way to go there from the training's mix, 0..1.

    Attributes:
        threads: how many are used.
        limits: what is refused as too large, and whether truncated pictures are taken.
        clock: the seconds spent so far in detecting (waiting for it, if several threads detect), tracking, cutting and
            classifying.

    Raises:
        MienError: the model or the detector cannot be used; see `mien.errors`.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Bundle = "default",
        detector: str | Detector | None = None,
        *,
        min_face: float | None = None,
        turned: bool = False,
        threads: int = 0,
        max_pixels: int = MAX_PIXELS,
        max_bytes: int = MAX_BYTES,
        truncated: bool = False,
        answer: str | None = None,
        prior: str | os.PathLike[str] | Mapping[str, float] | Prior | None = None,
        prior_strength: float = 1.0,
        device: str = "auto",
        full_size: bool = False,
    ) -> None:
        if not 0 <= threads <= MAX_THREADS:
            raise MienError(f"threads: expected 0 (every core) to {MAX_THREADS}, found {threads}")
        if min_face is not None and min_face < 1:
            raise MienError(f"expected min_face of 1 and more, found {min_face}")
        self.limits = Limits(max_pixels, max_bytes, truncated)
        self._made_of = (
            model, detector, min_face, threads, self.limits, answer, prior, prior_strength, turned, device, full_size,
        )  # fmt: skip
        self.threads = threads or os.cpu_count() or 1
        session = Session(
            model if isinstance(model, Bundle) else load_bundle(model),
            threads,
            answer=answer,
            prior=as_prior(prior, prior_strength),
            device=device,
        )
        if detector is None or isinstance(detector, str):
            name = detector or default_detector_name()
            detector = make_detector(name, min_face=min_face, turned=turned, device=device)
        self._stages = Stages(session, detector)
        self.clock = self._stages.clock
        self.full_size = full_size

    def __reduce__(self) -> tuple[Callable[..., Recognizer], tuple[object, ...]]:
        """Sent to another process, it is made there anew of the same arguments."""
        return _made_anew, self._made_of

    def twin(self, detector: Detector | None = None) -> Recognizer:
        """The same open model with a clock of its own, for another thread; with this detector, or the same."""
        other = object.__new__(type(self))  # `copy` would make it anew, by `__reduce__`
        other.__dict__.update(self.__dict__)
        other._stages = Stages(self.session, detector or self.detector)
        other.clock = other._stages.clock
        return other

    @property
    def session(self) -> Session:
        """The open model; the same one giving another answer may be set between two pictures."""
        return self._stages.session

    @session.setter
    def session(self, session: Session) -> None:
        self._stages.session = session

    @property
    def detector(self) -> Detector:
        """What finds the faces; another may be set between two pictures."""
        return self._stages.detector

    @detector.setter
    def detector(self, detector: Detector) -> None:
        self._stages.detector = detector

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the model's answer, in its order."""
        return self.session.classes

    @property
    def answer(self) -> str:
        """The name of the answer that is given; empty where the model has one without a name."""
        return self.session.answer.name

    @property
    def reduction(self) -> Reduction | None:
        """By how much a picture of some width and height may be shrunk while it is decoded; None: by nothing."""
        return None if self.full_size else getattr(self.detector, "reduction", None)

    def read(self, picture: Picture) -> Readings:
        """Readings of one picture, faces by detector score, highest first; of every frame, if it is animated.

        Args:
            picture: a path, the bytes of an image file, a file opened in binary mode, a Pillow image, or uint8
                `[H, W, 3]` BGR.

        Returns:
            A list that a notebook shows as a table.

        Raises:
            MediaError: the picture cannot be read, or is of another type.
        """
        return Readings(reading for frame in self._frames(picture) for reading in self.read_frame(frame).readings)

    def read_frame(self, frame: Frame) -> FrameReadings:
        """Readings of one frame by itself."""
        faces = self._stages.detect(frame)
        return self._classify(frame, faces, [None] * len(faces))

    def read_all(
        self, frames: Iterable[Frame | Failure], *, detect_every: int = 1, ahead: bool = True
    ) -> Iterator[FrameReadings | Failure]:
        """Readings frame by frame; a frame that fails becomes a `Failure`, and the rest go on.

        Faces in the frames of a video or animation are tracked from one to the next. Stills are taken a few at a time,
        and all their faces classified together.

        Args:
            frames: in order; those of one source together.
            detect_every: in a video, look for faces in every n-th frame only, and go by their motion in between.
            ahead: take frames before they are asked for, to look for faces in several at once; not while waiting for
                a camera.
        """
        tracker = Tracker(sure=getattr(self.detector, "sure", 0.0))
        stills: list[SearchedFrame] = []
        threads = self.threads if ahead else 1
        with closing(search_frames(frames, self.detector, detect_every=detect_every, threads=threads)) as found:
            for sought in found:
                if isinstance(sought.item, Failure) or sought.item.time_s is None:
                    stills.append(sought)
                    if _enough(stills):
                        yield from self._read_stills(stills)
                        stills = []
                    continue
                yield from self._read_stills(stills)
                stills = []
                if sought.first:
                    tracker = Tracker(sure=getattr(self.detector, "sure", 0.0))
                try:
                    yield self._follow(sought.item, sought.item.time_s, sought.faces, tracker)
                except MienError as error:
                    yield Failure(sought.item.source, sought.item.index, str(error))
            yield from self._read_stills(stills)

    def _read_stills(self, stills: Sequence[SearchedFrame]) -> Iterator[FrameReadings | Failure]:
        found = [self._crops_of(sought) for sought in stills]
        crops = [each[2] for each in found if not isinstance(each, Failure)]
        expressions = iter(self._stages.express(np.concatenate(crops)) if crops else ())
        for each in found:
            yield each if isinstance(each, Failure) else _gather(*each[:2], list(islice(expressions, len(each[1]))))

    def _crops_of(self, sought: SearchedFrame) -> tuple[Frame, list[Face], Crops] | Failure:
        if isinstance(sought.item, Failure):
            return sought.item
        try:
            with self.clock.stage("detect"):
                faces = sought.faces() if sought.faces else []
            return sought.item, faces, self._stages.cut(sought.item, faces)
        except MienError as error:
            return Failure(sought.item.source, sought.item.index, str(error))

    def _follow(
        self, frame: Frame, time_s: float, faces: Callable[[], list[Face]] | None, tracker: Tracker
    ) -> FrameReadings:
        found: list[Face] = []
        if faces:
            with self.clock.stage("detect"):
                found = faces()
        with self.clock.stage("track"):
            followed = tracker.update(found, time_s) if faces else tracker.expect(time_s)
        return self._classify(frame, [t.face for t in followed], [t.track for t in followed])

    def _classify(self, frame: Frame, faces: Sequence[Face], tracks: Sequence[int | None]) -> FrameReadings:
        return _gather(frame, faces, self._stages.express(self._stages.cut(frame, faces)), tracks)

    def _frames(self, picture: Picture) -> Iterable[Frame]:
        if isinstance(picture, (bytes, bytearray, memoryview)):
            return decode(bytes(picture), "bytes", self.limits, self.reduction)
        if isinstance(picture, (str, os.PathLike)):
            return read_image(Path(picture), self.limits, self.reduction)
        if isinstance(picture, np.ndarray):
            return [Frame(_checked(picture), "array")]
        if isinstance(picture, PillowImage.Image):
            return [Frame(_decoded(picture), "image")]
        if not hasattr(picture, "read"):
            _checked(picture)
        try:
            data = picture.read()
        except (OSError, ValueError) as error:  # ValueError: it is closed
            raise MediaError(f"{getattr(picture, 'name', 'file')}: cannot be read ({reason(error)})") from error
        if not isinstance(data, bytes):  # pyright: ignore[reportUnnecessaryIsInstance] - a text file says so only here
            raise MediaError("expected a file opened in binary mode, found one opened as text; open it with 'rb'")
        return decode(data, str(getattr(picture, "name", "file")), self.limits, self.reduction)


def _decoded(picture: PillowImage.Image) -> Image:
    try:
        return to_bgr(picture)  # Pillow reads the pixels of a file only now
    except Exception as error:
        raise MediaError(f"image: the picture is truncated, damaged or closed ({reason(error)})") from error


def _checked(image: object) -> Image:
    """The array, if it is an image.

    Raises:
        MediaError: it is not; says what it is.
    """
    if not isinstance(image, np.ndarray):
        raise MediaError(
            f"expected a path, bytes, a file object, a PIL image or an array, found {type(image).__name__}"
        )
    array = cast("NDArray[np.uint8]", image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise MediaError(
            f"expected an image uint8 [H, W, 3] in BGR, found {array.dtype} {list(array.shape)}{_hint(array)}"
        )
    return array


def _hint(array: NDArray[Any]) -> str:
    """What would make an image of it."""
    if not array.size:
        return ""
    if array.dtype.kind == "f":
        return "; scale floats by 255, and round them to uint8"
    if array.dtype != np.uint8:
        return "; bring its values to 0..255 in uint8"
    if array.ndim == 3 and array.shape[2] == 4:
        return "; drop an alpha channel with image[..., :3]"
    if array.ndim == 2 or array.shape[-1] == 1:
        return "; repeat gray in three channels: np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)"
    return ""


def _made_anew(
    model: str | os.PathLike[str] | Bundle,
    detector: str | Detector | None,
    min_face: float | None,
    threads: int,
    limits: Limits,
    answer: str | None,
    prior: str | os.PathLike[str] | Mapping[str, float] | Prior | None,
    prior_strength: float,
    turned: bool,
    device: str,
    full_size: bool,
) -> Recognizer:
    return Recognizer(
        model, detector, min_face=min_face, threads=threads, max_pixels=limits.max_pixels, max_bytes=limits.max_bytes,
        truncated=limits.truncated, answer=answer, prior=prior,
        prior_strength=prior_strength, turned=turned, device=device, full_size=full_size,
    )  # fmt: skip


def _gather(
    frame: Frame, faces: Sequence[Face], expressions: Sequence[Expression], tracks: Sequence[int | None] | None = None
) -> FrameReadings:
    readings = (
        Reading(frame.source, frame.index, frame.time_s, face, expression, track)
        for face, expression, track in zip(faces, expressions, tracks or [None] * len(faces), strict=True)
    )
    return FrameReadings(frame, tuple(readings))


def _enough(stills: Sequence[SearchedFrame]) -> bool:
    """Whether to read these before taking more: in good time, and without holding many large pictures."""
    frames = [sought.item for sought in stills if isinstance(sought.item, Frame)]
    pixels = sum(frame.held_pixels for frame in frames)
    return len(stills) >= TOGETHER or pixels >= TOGETHER_PIXELS or isinstance(stills[0].item, Failure)
