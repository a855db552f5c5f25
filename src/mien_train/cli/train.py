"""`mien train` and `mien export`. The work is done by `mien_train`, imported late: it needs torch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.options import ThreadsOption
from mien.cli.progress import progress
from mien.errors import TrainingError
from mien_train.cli.extras import named_extra

if TYPE_CHECKING:
    from mien_train.bundles.export_run import Exported

EXPORT_EXAMPLES = """Examples:

mien export runs/first --data data/fer2013 --out first.onnx

mien export face_expression.pth --network si100b --classes happy,neutral,sad --out student.onnx"""

HEADER = (
    f"{'epoch':>9}  {'rate':>7}  {'train loss':>10}  {'accuracy':>8}  {'val. loss':>9}  {'accuracy':>8}  "
    f"{'no repeats':>10}  {'s':>5}"
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: mien train data/fer2013 --out runs/first --recipe recipes/first.toml")(train)
    app.command(epilog=EXPORT_EXAMPLES)(export)


def train(
    data: Annotated[Path, typer.Argument(help="Labelled folder with train/<class>/ and validation/<class>/.")],
    out: Annotated[Path, typer.Option("--out", help="Run folder; an interrupted run in it goes on.")],
    recipe: Annotated[
        Path | None,
        typer.Option("--recipe", help="Recipe in TOML, or the folder of a run, for its recipe; else the defaults."),
    ] = None,
    initial: Annotated[
        Path | None,
        typer.Option(
            "--init",
            help="Start from these weights: a run's weights.pt, a bundle, a bundled model's name, or dlib's face "
            "recognition network (.dat). Of a wider network in a bundle, the channels that count most are taken.",
        ),
    ] = None,
    exclude: Annotated[
        Path | None, typer.Option(help="CSV with a column path: pictures to leave out, as `mien audit --fix` writes.")
    ] = None,
    teacher: Annotated[
        list[Path] | None,
        typer.Option(
            help="A bundle (file, or the name of a bundled model) or the folder of a finished run that decides the "
            "recipe's teacher_share of the targets; give it again for an ensemble."
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="How many; default: the recipe's.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of all chance; default: the recipe's.")] = None,
    threads: ThreadsOption = 0,
) -> None:
    """Train a network; resume it by giving the same command again.

    Several processes train one network together under torchrun: docs/training.md says how.
    """
    with named_extra():
        from mien_train.run.folder import Epoch
        from mien_train.run.train import choose_recipe, run

    wanted = choose_recipe(recipe, {"epochs": epochs, "seed": seed})
    first = os.environ.get("RANK", "0") == "0"  # torchrun starts several; one of them speaks
    with progress(disable=not first) as bar:
        decoding = bar.add_task("decoding", total=None, note="")
        task = bar.add_task("epoch", total=None, note="", visible=False)

        def on_decode(done: int, total: int) -> None:
            bar.update(decoding, completed=done, total=total, visible=done < total)

        def on_prepare(what: str, done: int, total: int) -> None:
            bar.update(decoding, description=what, completed=done, total=total, visible=done < total)

        def on_step(epoch: int, step: int, steps: int) -> None:
            done, total = epoch * steps + step, wanted.epochs * steps  # of the run: its end is what people wait for
            if not bar.tasks[task].visible:
                bar.update(decoding, visible=False)
                bar.reset(task, total=total, completed=done, visible=True)
            bar.update(task, description=f"epoch {epoch + 1}/{wanted.epochs}", completed=done)

        told = False

        def on_epoch(e: Epoch) -> None:
            nonlocal told
            if not told:
                typer.echo(HEADER)
                told = True
            typer.echo(
                f"{f'{e.epoch}/{wanted.epochs}':>9}  {e.learning_rate:7.4f}  {e.train_loss:10.4f}  "
                f"{e.train_accuracy:8.2%}  {e.validation_loss:9.4f}  {e.validation_accuracy:8.2%}  "
                f"{e.clean_accuracy:10.2%}  {e.seconds:5.0f}"
            )

        run(data, out, wanted, threads, on_epoch, on_step, on_decode, initial, exclude, teacher or (), on_prepare)
    if not first:
        return
    typer.echo(f"curves: {out / 'curves.svg'}\nnext: mien export {out} --data {data} --out {out.name}.onnx")


def export(
    run: Annotated[Path, typer.Argument(help="Run folder of `mien train`, or weights alone: a student's .pth file.")],
    out: Annotated[Path, typer.Option("--out", help="Bundle to write (.onnx).")],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="Labelled folder: fits the temperature and measures. A run needs its own; a .pth may do without.",
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="The model's name in its manifest; default: the run's or file's.")] = "",
    about_data: Annotated[str, typer.Option("--about-data", help="Training data, for the manifest.")] = "",
    licence: Annotated[str, typer.Option(help="Terms of data and weights, for the manifest.")] = "",
    calibration_crops: Annotated[
        int, typer.Option(help="Training crops used to calibrate the crop margin of a run.", min=50)
    ] = 2000,
    network: Annotated[str, typer.Option(help="For a .pth file: whose weights they are. There is si100b.")] = "",
    classes: Annotated[
        str, typer.Option(help="For a .pth file: the classes in the order of the outputs, with commas between.")
    ] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace --out if it exists.")] = False,
) -> None:
    """Turn a finished run, or a student's weights, into one .onnx bundle: graph, manifest, golden vectors, seal."""
    if run.is_file():
        result = _export_weights(run, out, data, name, about_data, licence, network, classes, overwrite)
    else:
        if network or classes:
            raise TrainingError(
                f"{run}: expected a file of weights (.pth), as --network and --classes go with one, found "
                f"{'a folder' if run.is_dir() else 'nothing'}; a run folder knows both: leave them out"
            )
        result = _export_run(run, out, data, name, about_data, licence, calibration_crops, overwrite)
    for line in result.lines():
        typer.echo(line)


def _export_run(
    run: Path,
    out: Path,
    data: Path | None,
    name: str,
    about_data: str,
    licence: str,
    calibration_crops: int,
    overwrite: bool,
) -> Exported:
    if data is None:
        raise TrainingError(f"{run}: a run is calibrated on the data it was trained on; give them with --data")
    with named_extra():
        from mien_train.bundles.export_run import export_run

    with progress() as bar:
        task = bar.add_task("calibrating the crop", total=None, note="")

        def on_crop(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        return export_run(
            run, data, out, name=name or run.name, about_data=about_data, licence=licence, crops=calibration_crops,
            on_crop=on_crop, overwrite=overwrite,
        )  # fmt: skip


def _export_weights(
    weights: Path,
    out: Path,
    data: Path | None,
    name: str,
    about_data: str,
    licence: str,
    network: str,
    classes: str,
    overwrite: bool,
) -> Exported:
    if not (network and classes):
        raise TrainingError(
            f"{weights}: weights alone say neither their network nor their classes; add --network si100b --classes "
            "happy,neutral,sad (the classes in the order of training)"
        )
    with named_extra():
        from mien_train.bundles.course_weights import export_weights

    return export_weights(
        weights,
        network,
        classes.split(","),
        out,
        name=name,
        data_root=data,
        about_data=about_data,
        licence=licence,
        overwrite=overwrite,
    )
