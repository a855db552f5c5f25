"""Stored soft targets: what teachers of any kind said of each picture, so that training costs no teacher.

A file (`.npz`) holds `keys` (`pixel_key` of each picture), `classes` and `people`. The latter is the share of people
who would choose each class: `[N, K]`, or `[V, N, K]` for several views of each picture. Whoever can ask a network may
write one.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.errors import TrainingError
from mien.files import replacing
from mien_train.data.packs import Pack

SUFFIX = ".npz"


def save_soft_targets(path: Path, keys: Sequence[str], classes: Sequence[str], people: NDArray[np.floating]) -> None:
    """Write soft targets.

    Args:
        path: the `.npz` file.
        keys: N keys of pictures, as `mien.dataset.fingerprint.pixel_key` gives them.
        classes: K names.
        people: `[N, K]` or `[V, N, K]`, each row summing to 1.
    """
    with replacing(path, TrainingError) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file, keys=np.array(list(keys)), classes=np.array(list(classes)), people=people.astype(np.float16)
        )


def load_soft_targets(path: Path, pack: Pack) -> NDArray[np.float32]:
    """What the file says of each picture of `pack`, averaged over its views: float32 `[N, K]`, rows summing to 1.

    A picture that the file does not know has a row of zeros.

    Raises:
        TrainingError: not such a file, other classes, or none of the pictures are in it.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            keys, classes = [str(k) for k in stored["keys"]], [str(c) for c in stored["classes"]]
            people = stored["people"].astype(np.float32)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise TrainingError(
            f"{path}: expected soft targets (keys, classes, people in an .npz file): {error}"
        ) from error
    people = people.mean(0) if people.ndim == 3 else people
    if sorted(classes) != sorted(pack.classes) or people.shape != (len(keys), len(classes)):
        raise TrainingError(
            f"{path}: expected soft targets for the data's classes ({', '.join(pack.classes)}), found "
            f"{', '.join(classes)} in an array of {people.shape}"
        )
    people = people[:, [classes.index(c) for c in pack.classes]]
    row_of = {key: row for row, key in enumerate(keys)}
    rows = np.array([row_of.get(key, -1) for key in pack.keys])
    if not (rows >= 0).any():
        raise TrainingError(f"{path}: knows none of the {len(rows)} training pictures; it was made of other data")
    found = np.where((rows >= 0)[:, None], people[rows], 0)
    return (found / np.maximum(found.sum(axis=1, keepdims=True), 1e-9)).astype(np.float32)
