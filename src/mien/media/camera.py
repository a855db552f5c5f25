"""Cameras, through OpenCV."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mien.errors import MediaError
from mien.imaging import to_bgr
from mien.media.connection import ConnectionLost, StampedImage
from mien.media.stream_address import CAMERA
from mien.opencv import load_opencv
from mien.records import Image

DEVICES = Path("/dev")
NAMES = Path("/sys/class/video4linux")
"""Where Linux keeps its cameras, and what they are called."""


class Camera:
    """An open camera; see `connection.Connection`.

    Raises:
        MediaError: there is no such camera, it may not be opened, it is in use, or OpenCV is not installed.
    """

    declared_s: float | None = None
    recording = False

    def __init__(self, source: str) -> None:
        self.source = source
        which = source.removeprefix(CAMERA)
        _check(source, which)
        cv2 = load_opencv(source, MediaError)
        with _quiet(cv2):
            self._capture = _capture(which)
        if not self._capture.isOpened():
            self._capture.release()
            raise MediaError(f"{source}: cannot be opened; {_closed()}")
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # where the driver can: else frames are some old

    def shots(self, from_s: float) -> Iterator[StampedImage | str]:
        """Pictures as they come; their time is the clock's."""
        while True:
            found, image = self._capture.read()
            if not found or image is None:
                raise ConnectionLost("it gives no more pictures; was it unplugged, or has another program taken it?")
            yield StampedImage(_bgr(image), None)

    def close(self) -> None:
        """Let others use it."""
        self._capture.release()


def cameras() -> dict[str, str]:
    """The cameras that this Linux has, `camera:0` -> what it is called; empty too where that cannot be told."""
    found = [p for p in DEVICES.glob("video*") if p.name.removeprefix("video").isdigit()]
    numbers = sorted(int(path.name.removeprefix("video")) for path in found)
    return {f"{CAMERA}{number}": _name(f"video{number}") for number in numbers}


def _name(device: str) -> str:
    try:
        return (NAMES / device / "name").read_text(errors="replace").strip()
    except OSError:
        return "unnamed"


def _capture(which: str) -> Any:
    cv2 = load_opencv("a camera", MediaError)
    api = cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY
    return cv2.VideoCapture(int(which) if which.isdigit() else which, api)


def _check(source: str, which: str) -> None:
    """Say what is wrong where the system tells; OpenCV only says no."""
    if sys.platform != "linux":
        return
    device = DEVICES / f"video{int(which)}" if which.isdigit() else Path(which)
    if not device.exists():
        found = cameras()
        names = ", ".join(f"{camera} ({name})" for camera, name in found.items())
        there = f"there {'are' if len(found) > 1 else 'is'} {names}" if found else "there is none (no /dev/video*)"
        raise MediaError(
            f"{source}: no such camera; {there}; or name a video file, or a stream such as rtsp://host/stream"
        )
    if not os.access(device, os.R_OK | os.W_OK):
        raise MediaError(
            f"{source}: not allowed to open {device}; join the group that owns it (sudo usermod -aG video $USER, then "
            "log in again), or in a container pass the device on (docker run --device)"
        )


def _closed() -> str:
    if sys.platform == "linux":
        return "another program may be using it (fuser -v /dev/video* tells which), or it gives no pictures"
    return (
        "there is no such camera, another program uses it, or this program is not allowed to (see the system's privacy "
        "settings)"
    )


def _bgr(image: Any) -> Image:
    if image.ndim == 2 or image.shape[2] == 1:
        return to_bgr(image)
    return np.ascontiguousarray(image[:, :, :3], np.uint8)


@contextmanager
def _quiet(cv2: Any) -> Generator[None]:
    """OpenCV warns into the terminal about each way of opening that it tries."""
    logging: Any = cv2.utils.logging
    level = logging.getLogLevel()
    logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        logging.setLogLevel(level)
