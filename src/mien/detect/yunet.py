"""The default detector: a small network of the YuNet family, run by ONNX Runtime.

Weights: libfacedetection (BSD-3-Clause, Shiqi Yu and contributors). Architecture: Wu, Peng, Yu, "YuNet: A Tiny
Millisecond-level Face Detector", 2023. `weights/face.md` describes the graph; `scripts/make_detector.py` writes it.
"""

from __future__ import annotations

from copy import copy
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.detect.scaled import NETWORK_REACH, ScaledDetector, check_score
from mien.errors import BundleError, DetectorError, reason
from mien.geometry import suppress_overlaps
from mien.model.graph import Graph
from mien.model.onnxfile import check_seal
from mien.records import Face, Image

DEFAULT_MIN_SCORE = 0.8

UNSURE = 0.75
"""A face of at least this share of the least score may continue a track, though not begin one."""

MODEL_FILE = "face.onnx"
STRIDES = (8, 16, 32)
"""Pixels between the cells of each of the network's three maps."""

NMS_IOU = 0.45
"""Where boxes overlap more than this, only the best one is a face; libfacedetection's own value."""

Floats = NDArray[np.float32]


class YuNetDetector(ScaledDetector):
    """Faces with five landmarks from about 20 pixels upwards. Safe to share between threads; the GIL is released."""

    shareable = True

    def __init__(
        self,
        *,
        min_face: float | None = None,
        min_score: float = DEFAULT_MIN_SCORE,
        turned: bool = False,
        device: str = "cpu",
    ) -> None:
        """Load the network.

        Args:
            min_face: smallest face wanted (longer side of its box), pixels of the original frame; None: automatic.
            min_score: least confidence, 0..1.
            turned: find faces in pictures turned by 90, 180 or 270 degrees too; takes four times as long.
            device: what computes; see `mien.model.device`.

        Raises:
            DeviceError: the device cannot be used.
            DetectorError: an option is out of range, or the network's file is missing or was altered.
        """
        super().__init__("yunet", NETWORK_REACH, min_face, turned=turned)
        self._min_score = check_score(min_score)
        self._graph = _load(Path(str(resources.files("mien") / "weights" / MODEL_FILE)), device)

    @property
    def sure(self) -> float:
        """Score from which a face counts by itself."""
        return self._min_score

    @property
    def for_tracking(self) -> YuNetDetector:
        """This detector with faces of lower scores too, which a tracker uses to go on with faces it knows."""
        lower = copy(self)
        lower._min_score = UNSURE * self._min_score
        return lower

    def _find(self, picture: Image) -> list[Face]:
        padded = pad_to_cells(picture)
        scores, boxes, landmarks = self._graph.run(("scores", "boxes", "landmarks"), {"picture": padded[None]})
        if not np.isfinite(scores).all():
            raise DetectorError(
                "detector 'yunet': the network's scores are not finite numbers; its file is damaged, or this"
                " processor computes wrongly: install mien again, or choose another detector"
            )
        cells = np.flatnonzero(scores[0, 0] >= self._min_score)
        confidence = scores[0, 0, cells].astype(np.float64)
        xyxy, points = decode_cells(cells, boxes[0][:, cells], landmarks[0][:, cells], padded.shape[:2])
        return [_face(xyxy[i], points[i], confidence[i]) for i in suppress_overlaps(xyxy, confidence, NMS_IOU)]


def pad_to_cells(picture: Image) -> Image:
    """The picture with black to its right and below, until both sides are multiples of the largest stride."""
    height, width = (-(-side // STRIDES[-1]) * STRIDES[-1] for side in picture.shape[:2])
    if (height, width) == picture.shape[:2]:
        return picture
    padded = np.zeros((height, width, 3), np.uint8)
    padded[: picture.shape[0], : picture.shape[1]] = picture
    return padded


def decode_cells(
    cells: NDArray[np.intp], boxes: Floats, landmarks: Floats, shape: tuple[int, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Boxes and landmarks of some cells, in the padded picture's pixels.

    Args:
        cells: `[K]`, which cells; they count row by row, first all of stride 8, then of 16, then of 32.
        boxes: `[4, K]`, the graph's output for them: the center's offset and the size's logarithm, in strides.
        landmarks: `[10, K]`, the graph's output for them: x and y of each landmark's offset, in strides.
        shape: height and width of the padded picture.

    Returns:
        Boxes xyxy `[K, 4]` and landmarks `[K, 5, 2]`.
    """
    counts = [(shape[0] // stride) * (shape[1] // stride) for stride in STRIDES]
    level = np.searchsorted(np.cumsum(counts), cells, side="right")
    stride = np.array(STRIDES)[level]
    row, column = np.divmod(cells - (np.cumsum(counts) - counts)[level], shape[1] // stride)
    corner = np.stack([column, row]).astype(np.float64)  # [2, K], in strides
    half = np.exp(boxes[2:].astype(np.float64)) / 2
    xyxy = np.empty((len(cells), 4), np.float64)
    xyxy[:, :2] = ((corner + boxes[:2] - half) * stride).T
    xyxy[:, 2:] = ((corner + boxes[:2] + half) * stride).T
    points = np.empty((len(cells), 5, 2), np.float64)
    points[...] = np.moveaxis((landmarks.reshape(5, 2, -1) + corner) * stride, 2, 0)
    return xyxy, points


def _face(box: NDArray[np.float64], points: NDArray[np.float64], score: np.float64) -> Face:
    x1, y1, x2, y2 = (float(value) for value in box)
    a, b, c, d, e = ((float(x), float(y)) for x, y in points)
    return Face((x1, y1, x2, y2), min(float(score), 1.0), (a, b, c, d, e), "yunet")


@cache
def _load(path: Path, device: str = "cpu") -> Graph:
    """The open graph: one for all detectors of this process, whatever faces they look for."""
    try:
        data = path.read_bytes()
        if not check_seal(data, str(path)):
            raise DetectorError(f"{path}: expected a sealed graph; found one without a seal: install mien again")
        # One thread: frames share the cores out better than the parts of one frame.
        return Graph(data, str(path), threads=1, device=device)
    except OSError as error:
        raise DetectorError(f"{path}: cannot be read ({reason(error)}): install mien again") from error
    except BundleError as error:
        raise DetectorError(f"detector 'yunet': {error}") from error
