"""A stand-in for what the course's skeletons import from torchvision, where torchvision is not installed."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


class Compose:
    """One transform after the other."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        self.transforms = list(transforms)

    def __call__(self, image: Any) -> Any:
        for transform in self.transforms:
            image = transform(image)
        return image


class Resize:
    """A PIL picture in another size, bilinear: `(height, width)`, or a number for the shorter side."""

    def __init__(self, size: int | Sequence[int]) -> None:
        self.size = size

    def __call__(self, image: Image.Image) -> Image.Image:
        if isinstance(self.size, int):
            scale = self.size / min(image.size)
            width, height = (max(round(side * scale), 1) for side in image.size)
        else:
            height, width = self.size[0], self.size[-1]
        return image.resize((width, height), Image.Resampling.BILINEAR)


class Grayscale:
    """A PIL picture in gray, in one channel or the same in three."""

    def __init__(self, num_output_channels: int = 1) -> None:
        self.num_output_channels = num_output_channels

    def __call__(self, image: Image.Image) -> Image.Image:
        gray = image.convert("L")
        return gray if self.num_output_channels == 1 else Image.merge("RGB", [gray] * 3)


class ToPILImage:
    """A uint8 array `[H, W, C]`, or a tensor `[C, H, W]` in 0..1, as a PIL picture."""

    def __call__(self, image: np.ndarray | Tensor) -> Image.Image:
        if isinstance(image, Tensor):
            image = (image * 255).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
        return Image.fromarray(image.squeeze(-1) if image.ndim == 3 and image.shape[-1] == 1 else image)


class ToTensor:
    """A PIL picture or uint8 array `[H, W, C]` as float `[C, H, W]` in 0..1."""

    def __call__(self, image: Image.Image | np.ndarray) -> Tensor:
        pixels = np.atleast_3d(np.array(image))
        tensor = torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
        return tensor.float() / 255 if tensor.dtype == torch.uint8 else tensor.float()


class Normalize:
    """`(x - mean) / std`, one value a channel."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        self.mean, self.std = tuple(mean), tuple(std)

    def __call__(self, tensor: Tensor) -> Tensor:
        mean, std = (torch.tensor(values, dtype=tensor.dtype).view(-1, 1, 1) for values in (self.mean, self.std))
        return (tensor - mean) / std


class ImageFolder(Dataset[tuple[Any, int]]):
    """`root/<class>/<picture>`: RGB pictures, and the index of their class; classes sorted by name."""

    def __init__(self, root: str | Path, transform: Callable[[Any], Any] | None = None) -> None:
        self.root, self.transform = str(root), transform
        self.classes = sorted(folder.name for folder in Path(root).iterdir() if folder.is_dir())
        self.class_to_idx = {name: index for index, name in enumerate(self.classes)}
        self.samples = [
            (str(path), index)
            for name, index in self.class_to_idx.items()
            for path in sorted((Path(root) / name).rglob("*"))
            if path.suffix.lower() in SUFFIXES
        ]
        if not self.samples:
            raise FileNotFoundError(f"{root}: expected folders of pictures, one a class, found none")
        self.imgs, self.targets = self.samples, [index for _, index in self.samples]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        path, target = self.samples[index]
        with Image.open(path) as picture:
            image = picture.convert("RGB")
        return (self.transform(image) if self.transform else image), target


def stand_in() -> None:
    """Let `import torchvision` find this module's parts, where torchvision itself is not installed."""
    if "torchvision" in sys.modules or importlib.util.find_spec("torchvision"):
        return
    parts = {
        "transforms": {c.__name__: c for c in (Compose, Resize, Grayscale, ToPILImage, ToTensor, Normalize)},
        "datasets": {"ImageFolder": ImageFolder},
        "models": {},
    }
    package = ModuleType("torchvision", "A stand-in of my_net's.")
    package.__path__ = []
    package.__spec__ = ModuleSpec("torchvision", None)
    sys.modules["torchvision"] = package
    for name, contents in parts.items():
        module = ModuleType(f"torchvision.{name}")
        vars(module).update(contents)
        module.__getattr__ = _missing(name)  # type: ignore[method-assign]
        setattr(package, name, module)
        sys.modules[f"torchvision.{name}"] = module


def _missing(part: str) -> Callable[[str], Any]:
    def missing(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(
            f"torchvision.{part}.{name}: torchvision is not installed, and my_net's stand-in has only what the "
            "course's skeletons use; install it with the same command as torch (README.md)"
        )

    return missing
