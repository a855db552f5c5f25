"""YuNet through OpenCV's `FaceDetectorYN`, for those who have its model file.

mien neither ships nor downloads the file: the user names it, or puts it into mien's data folder. This module is written
from OpenCV's documentation and tested against a stub of `cv2.FaceDetectorYN`, not against the model itself.
"""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import Any

import numpy as np

from mien.detect.scaled import NETWORK_REACH, ScaledDetector, check_score
from mien.errors import DetectorError, reason
from mien.folders import data_folder
from mien.geometry import xywh_to_xyxy
from mien.opencv import load_opencv
from mien.records import Face, Image

MODEL_FILE = "face_detection_yunet_2023mar.onnx"
MODEL_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
DEFAULT_MIN_SCORE = 0.8

_NMS_IOU = 0.3  # OpenCV's own defaults
_TOP_K = 5000


class OpenCVYuNetDetector(ScaledDetector):
    """Faces with five landmarks by YuNet. May be shared between threads; they take turns."""

    def __init__(
        self,
        model: Path | None = None,
        *,
        min_face: float | None = None,
        min_score: float = DEFAULT_MIN_SCORE,
        sha256: str | None = MODEL_SHA256,
    ) -> None:
        """Check and load the model.

        Args:
            model: the ONNX file; None for `default_model()`.
            min_face: smallest face wanted (longer side of its box), pixels of the original frame; None: automatic.
            min_score: least confidence, 0..1.
            sha256: what the file must hash to, wherever it lies; None takes any file.

        Raises:
            DetectorError: OpenCV is not installed, or the file is missing, has another hash or cannot be loaded.
        """
        super().__init__("opencv-yunet", NETWORK_REACH, min_face)
        path = model or default_model()
        _check_file(path, sha256)
        self._network = _load(path, check_score(min_score))
        self._one_at_a_time = threading.Lock()  # the input size is set in one call and used in the next

    def _find(self, picture: Image) -> list[Face]:
        with self._one_at_a_time:
            self._network.setInputSize((picture.shape[1], picture.shape[0]))
            rows = self._network.detect(picture)[1]
        return [] if rows is None else [_face(row) for row in np.asarray(rows, np.float64).tolist()]


def default_model() -> Path:
    """Where the model is looked for when nobody names it; it need not exist."""
    return data_folder() / MODEL_FILE


def _face(row: list[float]) -> Face:
    """A face from OpenCV's `[15]`: x, y, width, height, then the landmarks and the score.

    OpenCV names landmarks by the person: her right eye, left eye, nose tip, right and left mouth corner. Her right is
    the picture's left, so the order is that of `records.Landmarks`.
    """
    a, b, c, d, e = ((row[i], row[i + 1]) for i in range(4, 14, 2))
    return Face(xywh_to_xyxy(*row[:4]), min(max(row[14], 0.0), 1.0), (a, b, c, d, e), "opencv-yunet")


def _check_file(path: Path, sha256: str | None) -> None:
    if not path.is_file():
        raise DetectorError(
            f"{path}: no such file; expected YuNet's model {MODEL_FILE}: download it from the opencv_zoo repository"
            " (models/face_detection_yunet) and put it there, or name your copy"
        )
    if sha256 is None:
        return
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DetectorError(f"{path}: cannot be read ({reason(error)})") from error
    if found != sha256.lower():
        raise DetectorError(
            f"{path}: expected sha256 {sha256}; found {found}. The file is another version or damaged (a Git LFS"
            " pointer of 131 bytes is a common case): download it again, or call OpenCVYuNetDetector with sha256=None"
        )


def _load(path: Path, min_score: float) -> Any:
    cv2 = load_opencv("detector 'opencv-yunet'", DetectorError)
    factory: Any = getattr(cv2, "FaceDetectorYN", None)
    if factory is None:
        raise DetectorError(
            f"detector 'opencv-yunet' needs cv2.FaceDetectorYN, which OpenCV {cv2.__version__} does not have"
        )
    try:
        return factory.create(str(path), "", (320, 320), min_score, _NMS_IOU, _TOP_K)
    except cv2.error as error:
        raise DetectorError(f"{path}: OpenCV cannot load it as YuNet ({error})") from error
