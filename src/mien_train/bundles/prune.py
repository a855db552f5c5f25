"""A bundle's network -> the same with fewer channels inside its blocks, and what it takes to train it on.

Only the channels between a block's two convolutions are dropped: what blocks pass to each other keeps its width. (A
recipe with narrower stages, and `mien train --init`, goes further: see `mien_train.networks.narrow`.)
"""

from __future__ import annotations

from pathlib import Path

from mien.errors import Remedy, TrainingError
from mien.model.bundle import Bundle
from mien_train.data.packs import TrainingData
from mien_train.data.tensors import input_spec, normalize, output_columns, to_tensor
from mien_train.networks.initial import network_of
from mien_train.networks.narrow import narrowed
from mien_train.networks.resnet import build_network
from mien_train.recipe import Recipe, parse_recipe
from mien_train.run.folder import save_state
from mien_train.run.trainer import spread_over


def prune(parent: Bundle, recipe: Recipe, data: TrainingData, out: Path) -> None:
    """Write the weights of `parent`'s network to `out` (`.pt`), its blocks as narrow as `recipe` says.

    Raises:
        TrainingError: the bundle's network is not the one that its manifest describes.
    """
    spec, classes = input_spec(recipe), len(data.train.classes)
    columns = output_columns(recipe, classes)
    pictures = normalize(to_tensor(spread_over(data)))
    small = build_network(recipe.network, spec.channels, columns, recipe.size)
    small.load_state_dict(narrowed(network_of(parent, pictures), small, pictures))
    out.parent.mkdir(parents=True, exist_ok=True)
    save_state(small.state_dict(), out)


def parent_recipe(parent: Bundle) -> Recipe:
    """The recipe in a bundle's manifest.

    Raises:
        TrainingError: there is none, or it is not that of a residual network.
    """
    noted = parent.manifest.training.recipe  # which notes more beside the recipe than a recipe may hold
    recipe = parse_recipe({k: v for k, v in noted.items() if k in Recipe.model_fields}, str(parent.path))
    if "network" not in noted or recipe.network.name != "resnet":
        raise TrainingError(
            f"{parent.path}: expected a residual network that `mien train` made, found "
            f"{recipe.network.name if 'network' in noted else 'no recipe in the manifest'}; do not prune it",
            Remedy.PRUNE,
        )
    return recipe


def fine_tuning(parent: Recipe, share: float, epochs: int) -> Recipe:
    """The recipe for a network whose blocks lose `share` of their inner channels: gentle, and taught by its parent."""
    network = parent.network.model_copy(update={"inner": round(parent.network.inner * (1 - share), 4)})
    return parent.model_copy(
        update={
            "network": network, "epochs": epochs, "optimizer": "sgd", "learning_rate": 0.02, "momentum": 0.9,
            "weight_decay": 3e-4, "warmup_epochs": 0.2, "teacher_share": 0.5, "mixup": 0.0, "cutmix": 0.0,
        }
    )  # fmt: skip
