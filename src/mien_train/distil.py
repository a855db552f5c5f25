"""Distillation: earlier bundles tell how sure one can be of a training picture (Hinton et al., arXiv 1503.02531)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.bundle import load_bundle
from mien.errors import TrainingError
from mien.manifest import InputSpec
from mien.session import Session
from mien_train.data import Pack

BATCH = 256


def teacher_targets(
    teachers: Sequence[Path], pack: Pack, spec: InputSpec, on_picture: Callable[[int, int], None]
) -> NDArray[np.float32]:
    """What the teachers say of every picture, as it is and mirrored, averaged: float32 `[N, K]`, rows summing to 1.

    Raises:
        TrainingError: a teacher with other classes or another input than the run's.
    """
    sessions = [_open(teacher, pack.classes, spec) for teacher in teachers]
    total = np.zeros((len(pack.labels), len(pack.classes)), np.float32)
    for start in range(0, len(total), BATCH):
        pictures = np.array(pack.images[start : start + BATCH])
        for session, columns in sessions:
            for view in (pictures, np.ascontiguousarray(pictures[:, :, ::-1])):
                total[start : start + BATCH] += session.run(view)[0][:, columns]
        on_picture(min(start + BATCH, len(total)), len(total))
    return total / total.sum(axis=1, keepdims=True)


def _open(teacher: Path, classes: tuple[str, ...], spec: InputSpec) -> tuple[Session, list[int]]:
    """The session, and which of its columns is which of `classes`."""
    session = Session(load_bundle(str(teacher)))
    found = session.manifest
    if sorted(found.classes) != sorted(classes):
        raise TrainingError(
            f"teacher {teacher}: expected the data's classes ({', '.join(classes)}), found {', '.join(found.classes)}"
        )
    size = (spec.height, spec.width, spec.channels, spec.color)
    if size != (found.input.height, found.input.width, found.input.channels, found.input.color):
        raise TrainingError(
            f"teacher {teacher}: sees {found.input.height} x {found.input.width} {found.input.color}, the recipe asks "
            f"for {spec.height} x {spec.width} {spec.color}; a teacher looks at the pupil's own pictures"
        )
    return session, [found.classes.index(c) for c in classes]
