"""`images/train/<class>/` and `images/validation/<class>/` -> batches."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mien.dataset import Split, has_split, read_split
from mien.errors import DatasetError, MediaError
from mien.media.image import read_image
from mien.model.crop import cut, whole_face
from mien.model.manifest import CropSpec
from mien_train.bundles.student_weights import COURSE_INPUT
from mien_train.data.tensors import normalise

Loader = DataLoader[tuple[Tensor, int]]


class FaceFolder(Dataset[tuple[Tensor, int]]):
    """One split in memory: picture float `[3, 48, 48]`, RGB, -1..1, and the index of its class in `classes`.

    Pictures are read and resized by mien, as `mien predict` and `mien evaluate` do it. One that cannot be read is named
    on stderr and left out.
    """

    def __init__(self, split: Split) -> None:
        self.classes = list(split.classes)
        images: list[np.ndarray] = []
        self.targets: list[int] = []
        for sample in split.samples:
            try:
                image = next(read_image(sample.path)).image
            except MediaError as error:
                print(f"left out: {error}", file=sys.stderr)
                continue
            images.append(cut(image, [whole_face(image)], CropSpec(), COURSE_INPUT)[0])
            self.targets.append(self.classes.index(sample.label))
        if not images:
            raise DatasetError(f"{split.root}, split {split.name}: none of {len(split)} pictures can be read")
        self.images = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return normalise(self.images[index].float() / 255), self.targets[index]


def loadTrain(path: str | Path, batch_size: int) -> tuple[Loader, list[str]]:
    """`(train_loader, classes)` of `path/train/<class>/`; shuffled, classes sorted by name."""
    return _load(Path(path), "train", batch_size)


def loadTest(path: str | Path, batch_size: int) -> tuple[Loader, list[str]]:
    """`(test_loader, classes)` of `path/validation/<class>/`; shuffled, classes sorted by name.

    Unlike the course's own, it keeps the last batch when that is not full: an evaluation counts every picture.
    """
    return _load(Path(path), "validation", batch_size)


def _load(root: Path, split: str, batch_size: int) -> tuple[Loader, list[str]]:
    # Without this check a folder of classes would serve as training and validation alike.
    if not has_split(root, split):
        raise DatasetError(
            f"{root / split}: expected this folder with one folder of pictures per class in it, found "
            f"{'a file' if root.is_file() else f'nothing of this name in {root}' if root.is_dir() else f'no {root}'}; "
            "make it from fer2013.csv with: mien data import fer2013.csv --out images --classes happy,neutral,sad"
        )
    dataset = FaceFolder(read_split(root, split))
    return DataLoader(dataset, batch_size=batch_size, shuffle=True, drop_last=False), dataset.classes
