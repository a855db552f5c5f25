"""`mien export`: a finished run, or weights alone -> a bundle. The work is imported late: it needs torch."""

from __future__ import annotations

import shlex
import sys
from dataclasses import astuple, replace
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.options import PriorStrengthOption, registered_path
from mien.cli.output import say
from mien.cli.progress import ProgressBar
from mien.cli.weight_options import (
    ClassesOption,
    Color,
    ColorOption,
    MeanOption,
    ModuleOption,
    NetworkOption,
    SizeOption,
    StdOption,
    WeightOptions,
    height_width,
    names,
    numbers,
)
from mien.errors import TrainingError
from mien_train.cli.extras import named_extra

if TYPE_CHECKING:
    from mien.model.prior import Prior
    from mien_train.bundles.export_run import Exported
    from mien_train.networks.student_network import StudentOptions

EXAMPLES = """Examples:

mien export runs/first --data data/fer2013 --out first.onnx

mien export face_expression.pth --network si100b --classes happy,neutral,sad --out student.onnx

mien export face_expression.pth --module my_net/classify.py:makeEmotionNet --data images --out student.onnx

mien export default --for si100b-bench --out entry.onnx

mien export student.onnx --layout nchw --mean 0.5 --std 0.5 --output logits --out plain.onnx"""


PLAIN = "For another program than mien"


class Target(str, Enum):
    """Programs that take an ONNX file of a fixed kind."""

    si100b_bench = "si100b-bench"


class Layout(str, Enum):
    """Order of a plain file's input."""

    nchw = "nchw"


class Output(str, Enum):
    """What a plain file gives."""

    logits = "logits"
    probabilities = "probabilities"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXAMPLES)(export)


def export(
    run: Annotated[
        Path,
        typer.Argument(
            help="Run folder of `mien train`; weights alone, a student's .pth file; or a model for another program.",
            callback=registered_path,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Bundle to write (.onnx).")],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="Labeled folder: fits the temperature and measures. A run needs its own; a .pth may do without.",
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="The model's name in its manifest; default: the run's or file's.")] = "",
    about_data: Annotated[str, typer.Option("--about-data", help="Training data, for the manifest.")] = "",
    licence: Annotated[str, typer.Option(help="Terms of data and weights, for the manifest.")] = "",
    calibration_crops: Annotated[
        int, typer.Option(help="Training crops used to calibrate the crop margin of a run.", min=50)
    ] = 2000,
    network: NetworkOption = "",
    module: ModuleOption = "",
    classes: ClassesOption = "",
    size: SizeOption = "",
    color: ColorOption = None,
    mean: MeanOption = "",
    std: StdOption = "",
    label_answer: Annotated[
        str, typer.Option(help="For a run that learned votes too: the name of the answer by the labels.")
    ] = "labels",
    target: Annotated[
        Target | None,
        typer.Option("--for", help="With a bundle: write the file that this program takes.", rich_help_panel=PLAIN),
    ] = None,
    layout: Annotated[
        Layout | None,
        typer.Option(
            help="With a bundle: write a plain ONNX file that takes float32 [B, C, S, S].", rich_help_panel=PLAIN
        ),
    ] = None,
    output: Annotated[
        Output, typer.Option("--output", help="What a plain ONNX file gives.", rich_help_panel=PLAIN)
    ] = Output.logits,
    prior: Annotated[
        str,
        typer.Option(
            "--prior",
            help="Mix of classes that a plain ONNX file expects: training, even, or a JSON or CSV file of shares. "
            "Default: training; even for si100b-bench.",
            rich_help_panel=PLAIN,
        ),
    ] = "",
    prior_strength: PriorStrengthOption = 1.0,
    answer: Annotated[
        str | None, typer.Option("--answer", help="Which answer a plain ONNX file gives.", rich_help_panel=PLAIN)
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace --out if it exists.")] = False,
) -> None:
    """Turn a finished run, or PyTorch weights, into one .onnx bundle: graph, manifest, golden vectors, seal.

    A bundle becomes a plain ONNX file for another program with --for or --layout.
    """
    if target or layout:
        from mien.model.prior import EVEN, TRAINING, as_prior

        mix = as_prior(prior or (EVEN if target else TRAINING), prior_strength)
        _export_plain(str(run), out, target, mean, std, size, color, output, mix, answer, overwrite)
        return
    about_weights = WeightOptions(network, module, classes, size, color, mean, std)
    if run.is_file() or (run.suffix in (".pth", ".pt") and not run.is_dir()):
        with named_extra():
            told = student_options(about_weights)
        result = _export_weights(run, out, data, name, about_data, licence, told, overwrite)
    else:
        if any(astuple(replace(about_weights, module=""))):
            raise TrainingError(
                f"{run}: expected a file of weights (.pth), as --network, --classes, --size, --color, --mean "
                f"and --std go with one, found {'a folder' if run.is_dir() else 'nothing'}; a run folder knows them: "
                "leave them out"
            )
        result = _export_run(
            run, out, data, name, about_data, licence, calibration_crops, label_answer, overwrite, module
        )
    for line in result.lines():
        say(line)


def _export_plain(
    model: str, out: Path, target: Target | None, mean: str, std: str, size: str, color: Color | None, output: Output,
    prior: Prior, answer: str | None, overwrite: bool,
) -> None:  # fmt: skip
    from mien.model.bundle import load_bundle

    with named_extra():
        from mien_train.bundles.plain_onnx import PlainFormat, bench_format, export_plain

    bundle = load_bundle(model)
    chosen = bundle.manifest.answer(answer) if answer else bundle.manifest.answer()
    if target:
        if any((mean, std, size, color)):
            raise typer.BadParameter(f"--mean, --std, --size and --color are fixed with --for {target.value}")
        wanted = bench_format(bundle, prior)
        chosen = bundle.manifest.answer(answer) if answer else bundle.manifest.label_answer
    else:
        sides = height_width(size)
        wanted = PlainFormat(
            mean=numbers(mean, "--mean") or (0.0,),
            std=numbers(std, "--std") or (1.0,),
            side=sides[0] if sides else None,
            channels={"gray": 1, "rgb": 3}.get(color.value) if color else None,
            output=output.value,
            prior=prior,
        )
    data = export_plain(bundle, out, wanted, answer=chosen, overwrite=overwrite)
    named = f", answer {chosen.name}" if chosen.name else ""
    say(
        f"{out}: {len(data) / 1e6:.1f} MB, plain ONNX without a manifest{named}, {wanted.output} of "
        f"{', '.join(wanted.classes or chosen.classes)}, prior {wanted.prior}"
    )


def student_options(given: WeightOptions) -> StudentOptions:
    """The options as training takes them."""
    from mien_train.networks.student_network import StudentOptions

    return StudentOptions(
        network=given.network,
        module=given.module,
        classes=names(given.classes),
        size=height_width(given.size),
        color=given.color.value if given.color else None,
        mean=numbers(given.mean, "--mean"),
        std=numbers(given.std, "--std"),
    )


def write_bundle_of(weights: Path, out: Path, options: WeightOptions, data_classes: tuple[str, ...]) -> None:
    """Write a bundle of PyTorch weights for a command that takes bundles; what was assumed goes to stderr."""
    with named_extra():
        from mien_train.bundles.student_weights import export_weights
        from mien_train.bundles.to_onnx import TIME

        told = student_options(options)
    told = replace(told, classes=told.classes or data_classes)
    # The same weights give the same bundle each time: `mien predict --resume` looks whether the model changed.
    written = weights.stat().st_mtime if weights.exists() else 0.0
    for note in export_weights(
        weights, out, told, created=f"{datetime.fromtimestamp(written, timezone.utc):{TIME}}"
    ).notes:
        say(f"assumed: {note}", err=True)


def _export_run(
    run: Path, out: Path, data: Path | None, name: str, about_data: str, licence: str, calibration_crops: int,
    label_answer: str, overwrite: bool, module: str,
) -> Exported:  # fmt: skip
    if data is None:
        raise TrainingError(f"{run}: a run is calibrated on the data it was trained on; give them with --data")
    with named_extra():
        from mien_train.bundles.export_run import export_run

    with ProgressBar() as bar:
        return export_run(
            run, data, out, name=name or run.name, about_data=about_data, licence=licence, crops=calibration_crops,
            progress=bar, overwrite=overwrite, label_answer=label_answer, module=module,
        )  # fmt: skip


def _export_weights(
    weights: Path, out: Path, data: Path | None, name: str, about_data: str, licence: str, told: StudentOptions,
    overwrite: bool,
) -> Exported:  # fmt: skip
    with named_extra():
        from mien_train.bundles.student_weights import export_weights

    with ProgressBar() as bar:
        return export_weights(
            weights,
            out,
            told,
            name=name,
            data_root=data,
            about_data=about_data,
            licence=licence,
            command=shlex.join(["mien", *sys.argv[1:]]),
            overwrite=overwrite,
            progress=bar,
        )
