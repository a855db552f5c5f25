"""`images/train/<class>/` and `images/validation/<class>/` -> batches."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import Compose, Normalize, ToTensor

from mien.dataset import Split, has_split, read_split
from mien.errors import DatasetError, MediaError
from mien.media.image import read_image
from mien.model.crop import cut, whole_face
from mien.model.manifest import CropSpec
from mien_train.data.tensors import normalize
from mien_train.networks.emotion_net import COURSE_INPUT

from .figures import imshow_with_labels

Loader = DataLoader[tuple[Tensor, int]]

SHOWN = 32
"""So many pictures of a training batch are shown."""


def _course() -> Compose:
    return Compose([ToTensor(), Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))])


transform: dict[str, Any] = {"training": _course(), "evaluate": _course()}
"""What becomes of a picture (PIL, 48 x 48, RGB) in training and in evaluation. Put your own in its place."""

_PLAIN = dict(transform)


class FaceFolder(Dataset[tuple[Tensor, int]]):
    """One split in memory: picture float `[3, 48, 48]`, RGB, -1..1, and the index of its class in `classes`.

    Pictures are read and resized by mien, as `mien predict` and `mien evaluate` do it. One that cannot be read is named
    on stderr and left out.

    Attributes:
        classes: names, sorted.
        class_to_idx: name -> index.
        samples: path and index of each picture, also called `imgs`.
        targets: the indices alone.
        transform: PIL picture -> tensor; None takes the course's, which is done for all pictures alike.
    """

    def __init__(self, split: Split, transform: Callable[[Any], Tensor] | None = None) -> None:
        self.root, self.transform = str(split.root), transform
        self.classes = list(split.classes)
        self.class_to_idx = {name: index for index, name in enumerate(self.classes)}
        images: list[np.ndarray] = []
        self.samples: list[tuple[str, int]] = []
        for sample in split.samples:
            try:
                image = next(read_image(sample.path)).pixels
            except MediaError as error:
                print(f"left out: {error}", file=sys.stderr)
                continue
            images.append(cut(image, [whole_face(image)], CropSpec(), COURSE_INPUT)[0])
            self.samples.append((str(sample.path), self.class_to_idx[sample.label]))
        if not images:
            raise DatasetError(f"{split.root}, split {split.name}: none of {len(split)} pictures can be read")
        self.imgs, self.targets = self.samples, [index for _, index in self.samples]
        self.images = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if self.transform is None:
            return normalize(self.images[index].float() / 255), self.targets[index]
        return self.transform(Image.fromarray(self.images[index].permute(1, 2, 0).numpy())), self.targets[index]


def load_data(path: str | Path, batch_size: int, DataType: str = "evaluate") -> tuple[FaceFolder, Loader]:
    """`(Dataset, Dataloader)` of one folder of classes, shuffled.

    Args:
        path: a folder with a folder of pictures for each class.
        batch_size: 0 takes the whole set as one batch. A batch larger than the set holds the set.
        DataType: "training" or "evaluate": which `transform` is applied.
    """
    if batch_size < 0:
        raise ValueError(f"batch_size: expected 0 (everything) or more, found {batch_size}")
    chosen = transform[DataType]
    split = read_split(Path(path), Path(path).name)
    dataset = FaceFolder(split, None if chosen is _PLAIN.get(DataType) else chosen)
    # At most the set itself: scripts divide by len(dataset) // loader.batch_size.
    size = min(batch_size, len(dataset)) or len(dataset)
    return dataset, DataLoader(dataset, batch_size=size, shuffle=True, drop_last=False)


def loadTrain(path: str | Path, batch_size: int = 0) -> tuple[Loader, list[str]]:
    """`(train_loader, classes)` of `path/train/<class>/`; shuffled, classes sorted by name.

    Shapes and the range of values are printed, and some pictures shown. `batch_size=0` takes everything as one batch.
    """
    dataset, loader = load_data(_split_folder(Path(path), "train"), batch_size, "training")
    with torch.random.fork_rng(devices=[]):  # a look at the pictures must not change the order of training
        images, labels = next(iter(loader))
    print(f"Data shapes (train/test):\n{images.shape}\n\nData value range:\n({images.min():.4f}, {images.max():.4f})")
    imshow_with_labels(images[:SHOWN], labels[:SHOWN], dataset.classes)
    return loader, dataset.classes


def loadTest(path: str | Path, batch_size: int = 0) -> tuple[Loader, list[str]]:
    """`(test_loader, classes)` of `path/validation/<class>/`; shuffled, classes sorted by name.

    Unlike the course's own, it keeps the last batch when that is not full: an evaluation counts every picture.
    `batch_size=0` takes everything as one batch.
    """
    dataset, loader = load_data(_split_folder(Path(path), "validation"), batch_size, "evaluate")
    return loader, dataset.classes


def _split_folder(root: Path, split: str) -> Path:
    # Without this check a folder of classes would serve as training and validation alike.
    if not has_split(root, split):
        raise DatasetError(
            f"{root / split}: expected this folder with one folder of pictures per class in it, found "
            f"{'a file' if root.is_file() else f'nothing of this name in {root}' if root.is_dir() else f'no {root}'}; "
            "make it from fer2013.csv with: mien data import fer2013.csv --out images --classes happy,neutral,sad"
        )
    return root / split
