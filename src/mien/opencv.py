"""OpenCV, where it is installed. Only the detectors `haar` and `opencv-yunet`, cameras and windows need it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from mien.errors import MienError


def load_opencv(what: str, error: type[MienError]) -> Any:
    """The module `cv2`, whichever package it comes from.

    Args:
        what: what needs it, for the error.
        error: which error to raise.
    """
    try:
        return import_module("cv2")
    except ImportError as reason:
        raise error(
            f"{what} needs OpenCV, which is not installed or does not load ({reason}): pip install 'mien[opencv]',"
            " or opencv-python-headless where there is no display"
        ) from reason
