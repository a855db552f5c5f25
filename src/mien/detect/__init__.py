"""Frame -> faces. `make_detector` makes one by name; what a detector needs is imported only then."""

from __future__ import annotations

import difflib
from pathlib import Path

from mien.detect.base import Detector
from mien.detect.stub import StubDetector
from mien.errors import DetectorError

__all__ = ["ALIASES", "DETECTORS", "Detector", "StubDetector", "default_detector_name", "make_detector"]

DETECTORS = ("yunet", "haar", "opencv-yunet", "whole")
"""Names that `make_detector` knows."""

ALIASES = {"libface": "yunet"}
"""Earlier names: libface was the same network, inside the library libfacedetection."""

_OPTIONS = {
    "yunet": ("min_face", "min_score", "turned"),
    "haar": ("min_face", "model"),
    "opencv-yunet": ("min_face", "min_score", "model"),
    "whole": (),
}


def default_detector_name() -> str:
    """The detector that is used when nobody names one."""
    return DETECTORS[0]


_MEANT = {
    **dict.fromkeys(("skip", "none", "off", "no", "crop", "cropped", "face", "aligned"), "whole"),
    **dict.fromkeys(("opencv", "cascade", "viola-jones"), "haar"),
    **dict.fromkeys(("mtcnn", "retinaface", "ssd", "dlib", "mediapipe", "yolov8"), "yunet"),
}
"""What other tools call a detector -> the one here that does the same, or that does its work."""


def make_detector(
    name: str,
    *,
    min_face: float | None = None,
    min_score: float | None = None,
    model: Path | None = None,
    turned: bool = False,
    device: str = "cpu",
) -> Detector:
    """Make a detector by name.

    Args:
        name: one of `DETECTORS`, or of `ALIASES`.
        min_face: smallest face wanted (longer side of its box), pixels of the original frame; None: the larger of 20
            pixels and 2 % of the frame's longer side. Not for whole.
        min_score: least confidence, 0..1; None: the detector's own default. For yunet and opencv-yunet.
        turned: look for faces turned by 90, 180 and 270 degrees too. For yunet.
        model: haar: another cascade; opencv-yunet: its model file.
        device: what computes yunet; see `mien.model.device`. The others always run on the processor.

    Raises:
        DeviceError: the device cannot be used.
        DetectorError: unknown name, an option that this detector does not take, or the detector cannot be made here.
    """
    name = ALIASES.get(name, name)
    if name not in DETECTORS:
        nearest = _MEANT.get(name.lower()) or difflib.get_close_matches(name, DETECTORS, 1, 0)[0]
        raise DetectorError(f"unknown detector {name!r}: did you mean {nearest!r}? There are {', '.join(DETECTORS)}")
    given = {"min_face": min_face, "min_score": min_score, "model": model, "turned": turned or None}
    for option, value in given.items():
        if value is not None and option not in _OPTIONS[name]:
            raise DetectorError(f"detector {name!r} takes no {option} (found {value}); leave it out")
    return _make(name, min_face, min_score, model, turned, device)


def _make(
    name: str, min_face: float | None, min_score: float | None, model: Path | None, turned: bool, device: str
) -> Detector:
    if name == "yunet":
        from mien.detect import yunet

        return yunet.YuNetDetector(
            min_face=min_face,
            min_score=yunet.DEFAULT_MIN_SCORE if min_score is None else min_score,
            turned=turned,
            device=device,
        )
    if name == "opencv-yunet":
        from mien.detect import opencv_yunet

        return opencv_yunet.OpenCVYuNetDetector(
            model, min_face=min_face, min_score=opencv_yunet.DEFAULT_MIN_SCORE if min_score is None else min_score
        )
    if name == "haar":
        from mien.detect.haar import HaarDetector

        return HaarDetector(model, min_face=min_face)
    from mien.detect.whole import WholeDetector

    return WholeDetector()
