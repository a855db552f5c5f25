"""Pictures a second in training: our loop against a plain PyTorch loop, same pictures, same networks, in turns.

python benchmarks/training.py data/fer2013 [--pictures 4096] [--rounds 2]

The plain loop is what tutorials and the course teach: a dataset that opens a file for each picture and each epoch and
turns and lights it with Pillow, a `DataLoader` that puts them together, fp32, memory as it comes. Ours decodes once,
augments whole batches (more richly), computes in bf16 with channels last where the processor can, and, where its recipe
says so, compiles the network. Ours is also measured in fp32, to tell what the arithmetic gains and what the rest.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch import nn
from torch.utils.data import DataLoader, Dataset

from mien.dataset import read_split
from mien_train.data.tensors import input_spec, resolve_precision
from mien_train.networks.resnet import build_network
from mien_train.recipe import NetworkRecipe, Recipe
from mien_train.run.folder import read_history
from mien_train.run.loop import train

RECIPES = {
    "the course's network": Recipe(network=NetworkRecipe(name="si100b"), color="rgb"),
    "ours (eighth.toml)": Recipe(network=NetworkRecipe(stem="full", attention="se"), compile=True),
}


class Files(Dataset[tuple[torch.Tensor, int]]):
    """A picture a file, opened when it is asked for."""

    def __init__(self, root: Path, recipe: Recipe) -> None:
        split = read_split(root, "train")
        self.samples = [(s.path, split.classes.index(s.label)) for s in split.samples]
        self.mode, self.size = ("L" if recipe.color == "gray" else "RGB"), recipe.size
        self.classes = len(split.classes)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        path, label = self.samples[index]
        picture = Image.open(path).convert(self.mode).resize((self.size, self.size))
        angle, contrast, brightness = np.random.default_rng().uniform((-15, 0.65, 0.75), (15, 1.35, 1.25))
        picture = picture.rotate(angle, Image.Resampling.BILINEAR)
        picture = ImageEnhance.Brightness(ImageEnhance.Contrast(picture).enhance(contrast)).enhance(brightness)
        values = np.asarray(picture, np.float32).reshape(self.size, self.size, -1) / 255
        tensor = (torch.from_numpy(values).permute(2, 0, 1) - 0.5) / 0.5
        return (tensor.flip(2) if torch.rand(()) < 0.5 else tensor), label


def plain_epoch(root: Path, recipe: Recipe) -> float:
    """Seconds of one epoch as tutorials teach it."""
    files = Files(root, recipe)
    loader = DataLoader(files, recipe.batch_size, shuffle=True, drop_last=True)
    network = build_network(recipe.network, input_spec(recipe).channels, files.classes, recipe.size).train()
    optimizer = torch.optim.SGD(network.parameters(), 0.01, 0.9)
    criterion = nn.CrossEntropyLoss()
    started = time.perf_counter()
    for images, labels in loader:
        optimizer.zero_grad()
        criterion(network(images), labels).backward()
        optimizer.step()
    return time.perf_counter() - started


def our_epoch(root: Path, recipe: Recipe, cache: Path) -> float:
    """Seconds of the second epoch of `mien train`, its look at validation included; the first one compiles."""
    with tempfile.TemporaryDirectory() as run:
        train(root, Path(run), recipe.model_copy(update={"epochs": 2}), cache=cache)
        return read_history(Path(run))[-1].seconds


def subset(data: Path, root: Path, count: int) -> None:
    """A labeled folder of links to `count` training pictures, and a few for validation."""
    for name, wanted in (("train", count), ("validation", 140)):
        samples = read_split(data, name).samples
        for i in np.random.default_rng(0).permutation(len(samples))[:wanted]:
            link = root / name / samples[i].label / samples[i].path.name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(samples[i].path.resolve())


def main() -> None:
    """Print pictures a second and ratios: the best of the rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--pictures", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, precision auto is {resolve_precision('auto')}")
    with tempfile.TemporaryDirectory() as work:
        root, cache = Path(work, "data"), Path(work, "cache")
        subset(args.data, root, args.pictures)
        for name, recipe in RECIPES.items():
            our_epoch(root, recipe, cache)  # decodes
            best = {"plain": 1e9, "ours": 1e9, "ours in fp32": 1e9}
            for _ in range(args.rounds):
                best["plain"] = min(best["plain"], plain_epoch(root, recipe))
                best["ours"] = min(best["ours"], our_epoch(root, recipe, cache))
                fp32 = recipe.model_copy(update={"precision": "fp32"})
                best["ours in fp32"] = min(best["ours in fp32"], our_epoch(root, fp32, cache))
            print(name)
            for way, seconds in best.items():
                print(f"  {way:13} {args.pictures / seconds:6.0f} pictures/s, {best['plain'] / seconds:4.1f} x plain")


if __name__ == "__main__":
    main()
