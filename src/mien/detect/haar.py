"""The course's detector: OpenCV's Haar cascade. Boxes only, no landmarks, no graded score."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from mien.detect.scaled import ScaledDetector, SizeRange
from mien.errors import DetectorError
from mien.geometry import xywh_to_xyxy
from mien.imaging import to_gray
from mien.opencv import load_opencv
from mien.records import Face, Image

CASCADE = "haarcascade_frontalface_default.xml"
SCALE_FACTOR = 1.3
MIN_NEIGHBORS = 5


class HaarDetector(ScaledDetector):
    """Frontal faces by a Haar cascade on the gray picture; every score is 1.0.

    A frame is searched at its own size, unless the automatic `min_face` exceeds the cascade's window (24 pixels for the
    default one). So frames up to 1200 pixels give the boxes that `detectMultiScale` gives.
    """

    def __init__(self, cascade: Path | None = None, *, min_face: float | None = None) -> None:
        """Load a cascade.

        Args:
            cascade: an XML file; None for OpenCV's `haarcascade_frontalface_default.xml`.
            min_face: smallest face wanted (side of its box), pixels of the original frame; None: automatic.

        Raises:
            DetectorError: OpenCV is not installed or has no cascades, or the file is missing or is none.
        """
        self._cascade = _load(cascade)
        self._one_at_a_time = threading.Lock()  # a CascadeClassifier keeps the picture it works on
        super().__init__("haar", SizeRange(smallest=float(max(self._cascade.getOriginalWindowSize()))), min_face)

    def _find(self, picture: Image) -> list[Face]:
        gray = to_gray(picture)
        with self._one_at_a_time:
            boxes = self._cascade.detectMultiScale(gray, scaleFactor=SCALE_FACTOR, minNeighbors=MIN_NEIGHBORS)
        # The cascade's level weights are sums over stages, not comparable between cascades: no score is made of them.
        return [Face(xywh_to_xyxy(*map(float, box)), 1.0, None, "haar") for box in boxes]


def _load(cascade: Path | None) -> Any:
    cv2 = load_opencv("detector 'haar'", DetectorError)
    classifier: Any = getattr(cv2, "CascadeClassifier", None)
    folder: Any = getattr(getattr(cv2, "data", None), "haarcascades", None)
    if classifier is None or (cascade is None and folder is None):
        raise DetectorError(
            f"detector 'haar' needs Haar cascades, which OpenCV {cv2.__version__} does not have:"
            " pip install 'opencv-python>=4.10,<5', or use another detector"
        )
    path = cascade or Path(folder) / CASCADE
    if not path.is_file():
        raise DetectorError(f"{path}: no such file; expected a Haar cascade (.xml)")
    try:
        loaded = classifier(str(path))
        usable = not loaded.empty()
    except (cv2.error, SystemError) as error:
        raise DetectorError(f"{path}: expected a Haar cascade (.xml); OpenCV cannot read it ({error})") from error
    if not usable:
        raise DetectorError(f"{path}: expected a Haar cascade (.xml); OpenCV finds none in it")
    return loaded
