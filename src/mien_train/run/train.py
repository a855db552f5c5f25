"""`mien train`: a recipe and labeled pictures -> a finished run folder."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from mien.progress import SILENT, Progress
from mien_train.networks.custom_network import CustomOptions, custom_recipe
from mien_train.recipe import Recipe, load_recipe, parse_recipe
from mien_train.run.curves import draw_curves
from mien_train.run.events import EventLog
from mien_train.run.folder import Epoch, read_about, read_history
from mien_train.run.loop import train as train_loop

SECONDS_BETWEEN_DRAWINGS = 5.0
"""A drawing takes half a second: as long as an epoch of a few pictures."""


def choose_recipe(path: Path | None, changes: dict[str, Any]) -> Recipe:
    """The recipe at `path` (a TOML file, or a run's folder), or the defaults, with the changes that are not None."""
    recipe = parse_recipe({}, "recipe")
    if path:
        recipe = parse_recipe(read_about(path)["recipe"], str(path)) if path.is_dir() else load_recipe(path)
    given = {k: v for k, v in changes.items() if v is not None}
    return parse_recipe({**recipe.model_dump(), **given}, str(path or "recipe"))


def continue_custom(recipe: Recipe, weights: Path, told: CustomOptions) -> Recipe:
    """`recipe` for the network that a user's weights belong to: its shape, color and size are theirs.

    Args:
        recipe: how to train. If it names a network of its own choice other than `resnet`, that stays.
        weights: a user's `.pth`.
        told: the code that makes the network, and how pictures are prepared.

    Raises:
        TrainingError: the weights do not say their network, or name another one.
    """
    if recipe.network.name != "resnet":
        return recipe
    student = custom_recipe(weights, told)
    return parse_recipe({**recipe.model_dump(), **student}, str(weights))


def run(
    data: Path,
    out: Path,
    recipe: Recipe,
    threads: int,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    initial: Path | None = None,
    without: Path | None = None,
    teachers: Sequence[Path] = (),
    progress: Progress = SILENT,
) -> None:
    """Train, or resume; the curves are drawn again as epochs end, and TensorBoard's events follow.

    Args:
        threads: of this process; 0 takes every core, or this process's part of them where several train together.
    """
    together = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    torch.set_num_threads(threads or max((os.cpu_count() or 1) // together, 1))
    events = EventLog(out / "tensorboard")
    drawn = -math.inf

    def after_epoch(epoch: Epoch) -> None:
        nonlocal drawn
        if time.monotonic() - drawn > SECONDS_BETWEEN_DRAWINGS or epoch.epoch == recipe.epochs:
            draw_curves(read_history(out), out / "curves.svg")
            drawn = time.monotonic()
        events.add(epoch)
        on_epoch(epoch)

    try:
        train_loop(data, out, recipe, after_epoch, initial, without, teachers, progress)
        draw_curves(read_history(out), out / "curves.svg")  # a kill may have come before those of the last epoch
    finally:
        events.close()
