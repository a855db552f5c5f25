"""How a detector would frame each training picture, so that training sees faces as inference will.

Inference cuts faces out by a detector's box and eyes; a data set of crops was cut by something else. Wider random moves
do not make up for it: how the two differ goes with the expression (an open mouth makes a box taller).
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from mien.detect import Detector
from mien.model.crop import Crops, square_of
from mien.model.manifest import DEFAULT_FRAMING, CropSpec
from mien.progress import SILENT, Progress
from mien.records import Face
from mien_train.data.framing import CANVAS, ENLARGE, central_face, framing_of, on_canvas

Views = NDArray[np.float32]
"""`[N, 4]`: center x and y (from the crop's center, in crop sides), log of the side (in crop sides) and angle (radians)
of the square that inference would cut; NaN where the detector finds no face."""

FRAMING = "finding faces"
"""What is done here, for people."""


def detected_views(
    crops: Crops,
    rows: NDArray[np.int64],
    detector: Detector,
    align: str,
    progress: Progress = SILENT,
) -> Views:
    """The views of the chosen crops; the others are NaN.

    Args:
        crops: uint8 `[N, S, S, C]`.
        rows: which to look at.
        detector: whose boxes.
        align: "eyes" or "none", as in `CropSpec`.
        progress: is told how many are done, and of how many.

    Raises:
        TrainingError: the detector finds a face in fewer than 20 crops.
    """
    found: dict[int, Face] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # detectors let go of Python's lock
        for done, (row, face) in enumerate(zip(rows, pool.map(lambda r: _find(crops[r], detector), rows), strict=True)):
            if face is not None:
                found[int(row)] = face
            progress.update(FRAMING, done + 1, len(rows))
    return views_of(found, crops.shape, align, len(rows))


def views_of(found: dict[int, Face], shape: tuple[int, ...], align: str, tried: int) -> Views:
    """Views `[N, 4]` from the faces found on the canvases (see `on_canvas`) of `tried` of the crops of this shape."""
    side = shape[1] * ENLARGE
    framing = framing_of(list(found.values()), (side, side), align, tried).framing
    spec = CropSpec.model_validate({"align": align, "framings": {DEFAULT_FRAMING: framing}})
    views = np.full((shape[0], 4), np.nan, np.float32)
    for row, face in found.items():
        x, y, length, angle = square_of(face, spec)
        views[row] = (x / side - CANVAS / 2, y / side - CANVAS / 2, np.log(length / side), angle)
    return views


def _find(crop: Crops, detector: Detector) -> Face | None:
    canvas = on_canvas(crop)
    return central_face(detector.detect(canvas), canvas)
