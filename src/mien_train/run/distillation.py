"""Distillation: earlier networks tell how sure one can be of a training picture (Hinton et al., arXiv 1503.02531).

They are asked once about each picture as it is, or at every step about the very view that the pupil sees. The latter is
"consistent teaching" (Beyer et al., arXiv 2106.05237).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.errors import TrainingError
from mien.model.bundle import Bundle, load_bundle
from mien.model.manifest import InputSpec
from mien.model.session import Session
from mien.progress import SILENT, Progress
from mien_train.data.packs import Pack
from mien_train.data.tensors import normalize, predict_logits, to_tensor
from mien_train.networks.initial import network_of
from mien_train.run.finished_run import open_run

BATCH = 256

_Ask = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""uint8 `[N, H, W, C]` -> probabilities float32 `[N, K]`, in the pupil's order."""

ASKING = "asking the teachers"
"""What is done here, for people."""


def teacher_targets(
    teachers: Sequence[Path], pack: Pack, spec: InputSpec, progress: Progress = SILENT
) -> NDArray[np.float32]:
    """What the teachers say of every picture, as it is and mirrored, averaged: float32 `[N, K]`, rows summing to 1.

    Args:
        teachers: bundles, or folders of finished runs.
        pack: the pictures.
        spec: the pupil's input.
        progress: is told how many pictures are done.

    Raises:
        TrainingError: a teacher with other classes or another input than the run's.
    """
    asked = [_asked(teacher, pack.classes, spec) for teacher in teachers]
    total = np.zeros((len(pack.labels), len(pack.classes)), np.float32)
    for start in range(0, len(total), BATCH):
        pictures = np.array(pack.images[start : start + BATCH])
        for ask in asked:
            for view in (pictures, np.ascontiguousarray(pictures[:, :, ::-1])):
                total[start : start + BATCH] += ask(view)
        progress.update(ASKING, min(start + BATCH, len(total)), len(total))
    return total / total.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class Teacher:
    """A network, which of its outputs is which of the pupil's classes, and the temperature that it answers at."""

    network: nn.Module
    columns: list[int]
    temperature: float

    def ask(self, inputs: Tensor) -> Tensor:
        """Probabilities float32 `[N, K]` of float `[N, C, H, W]` in -1..1."""
        return (self.network(inputs).float()[:, self.columns] / self.temperature).softmax(1)


@dataclass(frozen=True)
class TeacherPanel:
    """Teachers that are asked at every step."""

    teachers: tuple[Teacher, ...]

    @torch.no_grad()
    def ask(self, inputs: Tensor) -> Tensor:
        """What they say on average, as `Teacher.ask`."""
        return torch.stack([teacher.ask(inputs) for teacher in self.teachers]).mean(0)


def open_panel(
    teachers: Sequence[Path], classes: Sequence[str], spec: InputSpec, pictures: NDArray[np.uint8], device: torch.device
) -> TeacherPanel:
    """The teachers as networks on `device`.

    Args:
        teachers: folders of finished runs, or bundles that mien trained.
        classes: the pupil's, in its order.
        spec: the pupil's input.
        pictures: uint8 `[N, H, W, C]`, training pictures of every class: see `load_initial`.
        device: where to compute.

    Raises:
        TrainingError: a teacher with other classes or another input, or a bundle without a network of ours.
    """
    opened = [_open(teacher, classes, spec, pictures) for teacher in teachers]
    for teacher in opened:
        teacher.network.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - torch's stubs lack it
    return TeacherPanel(tuple(opened))


def _asked(teacher: Path, classes: Sequence[str], spec: InputSpec) -> _Ask:
    if teacher.is_dir():
        run = _of_run(teacher, classes, spec)
        return lambda images: predict_logits(run.network, images, "fp32")[:, run.columns].softmax(1).numpy()
    session = _label_session(load_bundle(str(teacher)))
    columns = _columns(teacher, session.classes, classes, session.manifest.input, spec)
    return lambda images: session.run(images)[0][:, columns]


def _open(teacher: Path, classes: Sequence[str], spec: InputSpec, pictures: NDArray[np.uint8]) -> Teacher:
    if teacher.is_dir():
        return _of_run(teacher, classes, spec)
    bundle = load_bundle(str(teacher))
    answer = bundle.manifest.label_answer
    columns = _columns(teacher, answer.classes, classes, bundle.manifest.input, spec)
    return Teacher(network_of(bundle, normalize(to_tensor(pictures))), columns, answer.calibration.temperature)


def _label_session(bundle: Bundle) -> Session:
    """What a teacher says of the labels: the first columns of its network, and of its pupil's."""
    return Session(bundle, answer=bundle.manifest.label_answer.name or None)


def _of_run(folder: Path, classes: Sequence[str], spec: InputSpec) -> Teacher:
    run = open_run(folder)
    return Teacher(run.network, _columns(folder, run.classes, classes, run.spec, spec), 1.0)


def _columns(
    teacher: Path, found: Sequence[str], classes: Sequence[str], seen: InputSpec, spec: InputSpec
) -> list[int]:
    """Which of the teacher's columns is which of `classes`."""
    if sorted(found) != sorted(classes):
        raise TrainingError(
            f"teacher {teacher}: expected the data's classes ({', '.join(classes)}), found {', '.join(found)}"
        )
    size = (spec.height, spec.width, spec.channels, spec.color)
    if size != (seen.height, seen.width, seen.channels, seen.color):
        raise TrainingError(
            f"teacher {teacher}: sees {seen.height} x {seen.width} {seen.color}, the recipe asks for {spec.height} x "
            f"{spec.width} {spec.color}; a teacher looks at the pupil's own pictures"
        )
    return [list(found).index(c) for c in classes]
