"""Distillation: earlier networks tell how sure one can be of a training picture (Hinton et al., arXiv 1503.02531).

They are asked once about each picture as it is, or at every step about the very view that the pupil sees, augmented and
mixed ("consistent teaching", Beyer et al., arXiv 2106.05237): dearer, and what they say is then never learnt by heart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.bundle import load_bundle
from mien.errors import TrainingError
from mien.manifest import InputSpec
from mien.session import Session
from mien_train.data import Pack
from mien_train.finished import open_run
from mien_train.initial import network_of
from mien_train.tensors import normalise, to_tensor

BATCH = 256

_Ask = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""uint8 `[N, H, W, C]` -> probabilities float32 `[N, K]`."""


def teacher_targets(
    teachers: Sequence[Path], pack: Pack, spec: InputSpec, on_picture: Callable[[int, int], None]
) -> NDArray[np.float32]:
    """What the teachers say of every picture, as it is and mirrored, averaged: float32 `[N, K]`, rows summing to 1.

    Args:
        teachers: bundles, or folders of finished runs.
        pack: the pictures.
        spec: the pupil's input.
        on_picture: called with how many are done, and of how many.

    Raises:
        TrainingError: a teacher with other classes or another input than the run's.
    """
    asked = [_asked(teacher, pack.classes, spec) for teacher in teachers]
    total = np.zeros((len(pack.labels), len(pack.classes)), np.float32)
    for start in range(0, len(total), BATCH):
        pictures = np.array(pack.images[start : start + BATCH])
        for ask, columns in asked:
            for view in (pictures, np.ascontiguousarray(pictures[:, :, ::-1])):
                total[start : start + BATCH] += ask(view)[:, columns]
        on_picture(min(start + BATCH, len(total)), len(total))
    return total / total.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class Panel:
    """Teachers that are asked at every step, and which of each one's columns is which of the pupil's classes."""

    members: tuple[tuple[nn.Module, list[int]], ...]

    @torch.no_grad()
    def ask(self, inputs: Tensor) -> Tensor:
        """What they say on average of float `[N, C, H, W]` in -1..1: probabilities float32 `[N, K]`."""
        answers = [network(inputs).float()[:, columns].softmax(1) for network, columns in self.members]
        return torch.stack(answers).mean(0)


def open_panel(
    teachers: Sequence[Path], classes: Sequence[str], spec: InputSpec, pictures: NDArray[np.uint8], device: torch.device
) -> Panel:
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
    members = [_network(teacher, classes, spec, pictures) for teacher in teachers]
    for network, _ in members:
        network.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - torch's stubs lack it
    return Panel(tuple(members))


def _asked(teacher: Path, classes: Sequence[str], spec: InputSpec) -> tuple[_Ask, list[int]]:
    if teacher.is_dir():
        network, columns = _of_run(teacher, classes, spec)
        return lambda images: network(normalise(to_tensor(images))).softmax(1).numpy(), columns
    session = Session(load_bundle(str(teacher)))
    found = session.manifest
    return lambda images: session.run(images)[0], _columns(teacher, found.classes, classes, found.input, spec)


def _network(
    teacher: Path, classes: Sequence[str], spec: InputSpec, pictures: NDArray[np.uint8]
) -> tuple[nn.Module, list[int]]:
    if teacher.is_dir():
        return _of_run(teacher, classes, spec)
    bundle = load_bundle(str(teacher))
    manifest = bundle.manifest
    columns = _columns(teacher, manifest.classes, classes, manifest.input, spec)
    network = _Classes(
        network_of(bundle, normalise(to_tensor(pictures))), len(columns), manifest.calibration.temperature
    )
    return network, columns


def _of_run(folder: Path, classes: Sequence[str], spec: InputSpec) -> tuple[nn.Module, list[int]]:
    run = open_run(folder)
    columns = _columns(folder, run.classes, classes, run.spec, spec)
    return _Classes(run.network.requires_grad_(False), len(run.classes), 1.0), columns


class _Classes(nn.Module):
    """A network's logits at its temperature, without its auxiliary outputs."""

    def __init__(self, network: nn.Module, classes: int, temperature: float) -> None:
        super().__init__()
        self.network, self.classes, self.temperature = network, classes, temperature

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)[:, : self.classes] / self.temperature


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
