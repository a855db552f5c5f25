"""`mien train`. The work is done by `mien_train`, imported late: it needs torch."""

from __future__ import annotations

import os
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.option_groups import Without, with_groups
from mien.cli.options import ExcludeFromTrainingOption, ThreadsOption, labeled_data, registered_path, registered_paths
from mien.cli.output import say
from mien.cli.progress import ProgressBar
from mien.cli.weight_options import WeightOptions
from mien.errors import DatasetError
from mien_train.cli.export import custom_options
from mien_train.cli.extras import named_extra
from mien_train.recipes import bundled_recipes

if TYPE_CHECKING:
    from mien_train.run.folder import Epoch

HEADER = (
    f"{'epoch':>9}  {'rate':>7}  {'train loss':>10}  {'accuracy':>8}  {'val. loss':>9}  {'accuracy':>8}  "
    f"{'no repeats':>10}  {'s':>5}"
)


@dataclass(frozen=True)
class TrainingOptions:
    """What is trained, from what it starts, and what teaches it."""

    recipe: Annotated[
        Path | None,
        typer.Option(
            "--recipe",
            help=f"{', '.join(bundled_recipes())}, a TOML file, or a run's folder for its recipe. "
            "Without it: the network of large-1, with one output.",
        ),
    ] = None
    initial: Annotated[
        Path | None,
        typer.Option(
            "--init",
            help="Start from these weights: a run's weights.pt, your own .pth, a bundle, a bundled model's name, or "
            "dlib's face recognition network (.dat). NAME@3 and NAME@production are of the registry. From a wider "
            "network in a bundle, the channels that count most are taken.",
            callback=registered_path,
        ),
    ] = None
    exclude: ExcludeFromTrainingOption = None
    teacher: Annotated[
        list[Path] | None,
        typer.Option(
            help="A bundle, a bundled model's name, NAME@3, a finished run's folder, or soft targets (.npz). "
            "It decides the recipe's teacher_share of the targets; give several for an ensemble.",
            callback=registered_paths,
        ),
    ] = None
    epochs: Annotated[int | None, typer.Option(help="Number of epochs; default: the recipe's.")] = None
    seed: Annotated[int | None, typer.Option(help="Random seed; default: the recipe's.")] = None

    def check(self) -> None:
        """Refuse a recipe or a list that cannot be read, before torch is imported.

        Raises:
            MienError: one of them cannot be read.
        """
        if self.recipe and not self.recipe.is_dir():
            with named_extra():
                from mien_train.recipe import load_recipe
            load_recipe(self.recipe)
        if self.exclude and not self.exclude.is_file():
            raise DatasetError(f"{self.exclude}: no such file; expected a CSV with a column path")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: mien train data/fer2013 --out runs/quick --recipe quick")(with_groups(train))


def train(
    data: Annotated[
        Path,
        typer.Argument(
            help="Folder with train/<class>/ and validation/<class>/, or a CSV: path,label,split.",
            callback=labeled_data,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Run folder; an interrupted run in it goes on.")],
    *,
    training: TrainingOptions,
    threads: ThreadsOption = 0,
    weights: Annotated[WeightOptions, Without("classes")],
) -> None:
    """Train a network; resume it by giving the same command again.

    Several processes train one network together under torchrun: docs/train/train.md says how.
    """
    from mien.dataset import check_training_data

    # What is wrong is told before torch is imported.
    check_training_data(data)
    training.check()
    with named_extra():
        from mien_train.run.train import choose_recipe, continue_custom, run

    recipe = choose_recipe(training.recipe, {"epochs": training.epochs, "seed": training.seed})
    initial = training.initial
    if initial and initial.suffix == ".pth":
        recipe = continue_custom(recipe, initial, custom_options(weights))
    elif any(astuple(weights)):
        raise typer.BadParameter("--network, --module, --size, --color, --mean and --std go with --init WEIGHTS.pth")
    first = os.environ.get("RANK", "0") == "0"  # torchrun starts several; one of them speaks
    lines = _EpochLines(recipe.epochs)
    with ProgressBar(shown=first) as bar:
        run(data, out, recipe, threads, lines.say_epoch, initial, training.exclude, training.teacher or (), bar)
    if not first:
        return
    if not lines.said:
        say(f"{out} is complete; to train on from it: mien train {data} --out NEW --init {out / 'weights.pt'}")
    say(f"curves: {out / 'curves.svg'}")
    say(f"next: mien export {out} --data {data} --out {out.name}.onnx")


class _EpochLines:
    """Prints a line for each epoch, under a heading."""

    def __init__(self, epochs: int) -> None:
        self._epochs, self.said = epochs, 0

    def say_epoch(self, e: Epoch) -> None:
        """Print what an epoch came to."""
        if not self.said:
            say(HEADER)
        self.said += 1
        say(
            f"{f'{e.epoch}/{self._epochs}':>9}  {e.learning_rate:7.4f}  {e.train_loss:10.4f}  "
            f"{e.train_accuracy:8.2%}  {e.validation_loss:9.4f}  {e.validation_accuracy:8.2%}  "
            f"{e.clean_accuracy:10.2%}  {e.seconds:5.0f}"
        )
