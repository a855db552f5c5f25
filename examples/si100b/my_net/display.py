"""Windows where there is a display, files in `figures/` where there is none: for every call, the students' own too.

`windows_to_files` changes nothing where windows can open. Where none can, `plt.show()` and `cv2.imshow()` write files
and say so, and `cv2.waitKey()` does not wait.
"""

from __future__ import annotations

import atexit
import itertools
import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path("figures")
"""Below the folder that a script runs in. A script that runs again writes its figures again."""

FPS = 25.0
"""Of the video that comes of a window whose picture changes."""

_written: dict[str, int] = {}


def has_display() -> bool:
    """Whether windows can open on this machine at all."""
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def has_cv2_windows() -> bool:
    """Whether this OpenCV can open windows here. opencv-python can, opencv-python-headless cannot."""
    try:
        import cv2
    except ImportError:
        return False
    built_with = re.search(r"^\s*GUI:\s*(\S+)", cv2.getBuildInformation(), re.MULTILINE)
    return has_display() and (built_with is None or built_with[1] != "NONE")


def windows_to_files() -> None:
    """Where no window can open, have `plt.show()` and `cv2.imshow()` write files."""
    if not has_display():
        _pyplot_to_files()
    if not has_cv2_windows():
        _cv2_to_files()


def new_file(name: str, suffix: str) -> Path:
    """A path in `figures/` that this script has not written yet: `name.png`, `name-2.png`, ..."""
    name = re.sub(r"[^\w-]+", "-", name).strip("-").lower() or "figure"
    key = f"{FOLDER}/{name}{suffix}"
    count = _written[key] = _written.get(key, 0) + 1
    FOLDER.mkdir(parents=True, exist_ok=True)
    return FOLDER / (f"{name}{suffix}" if count == 1 else f"{name}-{count}{suffix}")


def _pyplot_to_files() -> None:
    import matplotlib.pyplot as plt

    if plt.get_backend().lower() != "agg":
        return  # a notebook draws below its cell, and a script may have its own way

    def show(*_arguments: Any, **_options: Any) -> None:
        """Write every open figure to `figures/` and close it."""
        for number in plt.get_fignums():
            figure = plt.figure(number)
            title = next((axes.get_title() for axes in figure.axes if axes.get_title()), "")
            path = new_file(str(figure.get_label() or title or "figure"), ".png")
            figure.savefig(path, dpi=110)
            plt.close(figure)
            print(f"no display: picture saved as {path}")

    plt.show = show


class _Window:
    """What `cv2.imshow` is given under one name: a picture, or, once it changes, a video."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.last: np.ndarray | None = None
        self.still = 0
        self.writer: Any = None

    def show(self, image: np.ndarray) -> None:
        import cv2

        image = np.asarray(image)
        if self.last is None or image.shape != self.last.shape:
            self.close()
            path = new_file(self.name, ".png")
            cv2.imwrite(str(path), image)
            print(f"no window can open: picture saved as {path}")
        elif np.array_equal(image, self.last):
            self.still += 1
            return
        else:
            if self.writer is None:
                path = new_file(self.name, ".avi")
                size = image.shape[1], image.shape[0]
                self.writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, size)
                print(f"no window can open: video saved as {path}")
                self._write(self.last)
            self._write(image)
        self.last, self.still = image.copy(), 0

    def close(self) -> None:
        if self.writer is not None:
            self.writer.release()
            self.writer = None

    def _write(self, image: np.ndarray) -> None:
        import cv2

        self.writer.write(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image)


def _cv2_to_files() -> None:
    try:
        import cv2
    except ImportError:
        return
    windows: dict[str, _Window] = {}
    keys = itertools.cycle((ord("q"), 27))  # what scripts usually end with: q, escape

    def imshow(winname: str, mat: np.ndarray) -> None:
        windows.setdefault(winname, _Window(winname)).show(mat)

    def wait_key(delay: int = 0) -> int:
        """No key for a while; a key at once where a script would wait for one, or shows the same picture for ever."""
        waits = delay <= 0 or any(window.still > 1 for window in windows.values())
        return next(keys) if waits else -1

    def close(*_names: str) -> None:
        for window in windows.values():
            window.close()

    def nothing(*_arguments: Any, **_options: Any) -> None:
        """There is no window to do it to."""

    cv2.imshow, cv2.waitKey, cv2.waitKeyEx = imshow, wait_key, wait_key
    cv2.destroyAllWindows = cv2.destroyWindow = close
    cv2.namedWindow = cv2.resizeWindow = cv2.moveWindow = cv2.setWindowTitle = nothing
    cv2.setWindowProperty = cv2.setMouseCallback = cv2.startWindowThread = nothing
    cv2.getWindowProperty = lambda *_arguments: 0.0 if windows else -1.0
    atexit.register(close)
