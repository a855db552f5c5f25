"""Which faces the page shows, and their pictures as inline PNGs, read again from their files."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.errors import MediaError
from mien.imaging import encode_png
from mien.measure.evaluate import Evaluation
from mien.media.image import read_image
from mien.model.crop import cut, whole_face
from mien.model.manifest import CropSpec, InputSpec
from mien.records import Face

BATCH_SHOWN = 32
PAIRS_SHOWN, FACES_A_PAIR = 8, 6
SIDE_PX = 48


def shuffled_batch(evaluation: Evaluation) -> list[int]:
    """Positions of the first 32 samples of a shuffled pass, always the same ones."""
    return np.random.default_rng(0).permutation(len(evaluation.samples))[:BATCH_SHOWN].tolist()


def confident_mistakes(evaluation: Evaluation) -> list[tuple[str, str, int, list[int]]]:
    """(truth, prediction, count, positions) of the commonest confusions, the surest mistakes of each first."""
    predicted = evaluation.probabilities.argmax(axis=1)
    confidence = evaluation.probabilities.max(axis=1) if len(predicted) else np.empty(0)
    names = evaluation.match.classes
    found: list[tuple[str, str, int, list[int]]] = []
    for pair in evaluation.scores.confusions(PAIRS_SHOWN):
        is_pair = (evaluation.truth == names.index(pair.truth)) & (predicted == names.index(pair.predicted))
        rows: NDArray[np.int64] = np.flatnonzero(is_pair)
        surest = rows[np.argsort(-confidence[rows], kind="stable")][:FACES_A_PAIR]
        found.append((pair.truth, pair.predicted, pair.count, surest.tolist()))
    return found


def thumbnail(evaluation: Evaluation, position: int) -> str:
    """`face_url` of one sample."""
    face = evaluation.faces[position] if evaluation.faces else None
    return face_url(evaluation.samples[position].path, face)


def face_url(path: Path, face: Face | None = None) -> str:
    """A `data:` URL of a face (None: the whole picture), 48 x 48, gray where it is; "" if its file cannot be read."""
    try:
        image = next(read_image(path)).pixels
    except MediaError:
        return ""
    target = InputSpec(height=SIDE_PX, width=SIDE_PX, channels=3, color="bgr")
    small = cut(image, [face or whole_face(image)], CropSpec(), target)[0]
    if (small[..., :1] == small).all():
        small = small[..., :1]
    return "data:image/png;base64," + base64.b64encode(encode_png(small)).decode()
