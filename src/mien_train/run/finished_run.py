"""What a finished run left behind: its network, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from mien.errors import TrainingError
from mien.model.manifest import InputSpec
from mien_train.data.tensors import input_spec, output_columns
from mien_train.networks.resnet import build_network
from mien_train.networks.state_dict import load_checked
from mien_train.networks.tensor_file import read_tensors
from mien_train.recipe import Recipe, parse_recipe
from mien_train.run.folder import WEIGHTS, read_about, read_history


@dataclass(frozen=True)
class FinishedRun:
    """A run folder's outcome; the first `len(classes)` outputs of `network` are the classes' logits."""

    about: dict[str, Any]
    recipe: Recipe
    spec: InputSpec
    classes: tuple[str, ...]
    network: nn.Module


def open_run(folder: Path, module: str = "") -> FinishedRun:
    """The network that a finished run made.

    Args:
        folder: of the run.
        module: the code that makes its network, if that is a user's. It runs only when it is named here too.

    Raises:
        TrainingError: not a run folder, or the run is not finished.
    """
    about = read_about(folder)
    if not (folder / WEIGHTS).exists():
        done = len(read_history(folder))
        raise TrainingError(
            f"{folder}: the run stopped after epoch {done} of {about['recipe']['epochs']}; give the same `mien "
            "train` command to finish it"
        )
    recipe = parse_recipe(about["recipe"], str(folder / "run.json"))
    if recipe.network.module != module:
        raise TrainingError(
            f"{folder}: the code {recipe.network.module} makes this run's network, and opening the run runs it; name "
            "it again, with module"
            if recipe.network.module
            else f"{folder}: this run's network is {recipe.network.name}, and needs no code; leave out {module}"
        )
    spec, classes = input_spec(recipe), tuple(about["classes"])
    network = build_network(recipe.network, spec.channels, output_columns(recipe, len(classes)), recipe.size)
    weights = folder / WEIGHTS
    state = read_tensors(weights, "give the same `mien train` command again, which makes it anew from the checkpoint")
    load_checked(network, state, weights, "this run's network")
    return FinishedRun(about, recipe, spec, classes, network.eval())
