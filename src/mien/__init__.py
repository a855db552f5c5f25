"""mien finds faces and reads the expression they show.

Names are imported when first used (PEP 562), so that `import mien` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from mien._version import __version__

if TYPE_CHECKING:
    from mien.detect import Detector, make_detector
    from mien.errors import MienError
    from mien.model.bundle import Bundle, load_bundle
    from mien.model.manifest import Manifest
    from mien.model.verify import verify_bundle
    from mien.output.data_frame import to_frame
    from mien.output.draw import annotate
    from mien.pipeline import Recognizer
    from mien.records import Expression, Face, Failure, Frame, FrameReadings, Reading, Readings

_HOME = {
    "Bundle": "model.bundle",
    "Detector": "detect",
    "Expression": "records",
    "Face": "records",
    "Failure": "records",
    "Frame": "records",
    "FrameReadings": "records",
    "Manifest": "model.manifest",
    "MienError": "errors",
    "Reading": "records",
    "Readings": "records",
    "Recognizer": "pipeline",
    "annotate": "output.draw",
    "load_bundle": "model.bundle",
    "make_detector": "detect",
    "to_frame": "output.data_frame",
    "verify_bundle": "model.verify",
}

__all__ = [
    "Bundle",
    "Detector",
    "Expression",
    "Face",
    "Failure",
    "Frame",
    "FrameReadings",
    "Manifest",
    "MienError",
    "Reading",
    "Readings",
    "Recognizer",
    "__version__",
    "annotate",
    "load_bundle",
    "make_detector",
    "to_frame",
    "verify_bundle",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'mien' has no attribute {name!r}")
    return getattr(import_module(f"mien.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
