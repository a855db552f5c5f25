"""`mien export`: a finished run, or weights alone -> a bundle. The work is imported late: it needs torch."""

from __future__ import annotations

import shlex
import sys
from dataclasses import astuple, dataclass, replace
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.option_groups import with_groups
from mien.cli.options import (
    BundleOutOption,
    OverwriteOutOption,
    PriorStrengthOption,
    UnsealedOption,
    open_bundle,
    registered_path,
)
from mien.cli.output import say
from mien.cli.progress import ProgressBar
from mien.cli.weight_options import WeightOptions, height_width, names, numbers
from mien.errors import TrainingError
from mien_train.cli.extras import named_extra

if TYPE_CHECKING:
    from mien.model.bundle import Bundle
    from mien.model.prior import Prior
    from mien_train.bundles.export_run import Exported
    from mien_train.bundles.plain_onnx import PlainFormat
    from mien_train.networks.custom_network import CustomOptions

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


@dataclass(frozen=True)
class ManifestOptions:
    """What the bundle's manifest says."""

    name: Annotated[str, typer.Option(help="The model's name in its manifest; default: the run's or file's.")] = ""
    about_data: Annotated[str, typer.Option("--about-data", help="Training data, for the manifest.")] = ""
    license: Annotated[str, typer.Option(help="Terms of data and weights, for the manifest.")] = ""


@dataclass(frozen=True)
class PlainOptions:
    """The plain ONNX file to write, instead of a bundle."""

    target: Annotated[
        Target | None,
        typer.Option("--for", help="With a bundle: write the file that this program takes.", rich_help_panel=PLAIN),
    ] = None
    layout: Annotated[
        Layout | None,
        typer.Option(
            help="With a bundle: write a plain ONNX file that takes float32 [B, C, S, S].", rich_help_panel=PLAIN
        ),
    ] = None
    output: Annotated[Output, typer.Option("--output", help="What a plain ONNX file gives.", rich_help_panel=PLAIN)] = (
        Output.logits
    )
    prior: Annotated[
        str,
        typer.Option(
            "--prior",
            help="Mix of classes that a plain ONNX file expects: training, even, or a JSON or CSV file of shares. "
            "Default: training; even for si100b-bench.",
            rich_help_panel=PLAIN,
        ),
    ] = ""
    prior_strength: PriorStrengthOption = 1.0
    answer: Annotated[
        str | None, typer.Option("--answer", help="Which answer a plain ONNX file gives.", rich_help_panel=PLAIN)
    ] = None
    unsealed: UnsealedOption = False

    @property
    def is_wanted(self) -> bool:
        """Whether a plain file is to be written."""
        return bool(self.target or self.layout)

    def expected_mix(self) -> Prior:
        """The prior of the file.

        Raises:
            MienError: it cannot be read.
        """
        from mien.model.prior import EVEN, TRAINING, as_prior

        return as_prior(self.prior or (EVEN if self.target else TRAINING), self.prior_strength)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXAMPLES)(with_groups(export))


def export(
    run: Annotated[
        Path,
        typer.Argument(
            help="Run folder of `mien train`; weights alone, your own .pth file; or a model for another program.",
            callback=registered_path,
        ),
    ],
    out: BundleOutOption,
    *,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="Labeled folder: fits the temperature and measures. A run needs its own; a .pth may do without.",
        ),
    ] = None,
    about: ManifestOptions,
    calibration_crops: Annotated[
        int, typer.Option(help="Training crops used to calibrate the crop margin of a run.", min=50)
    ] = 2000,
    weights: WeightOptions,
    label_answer: Annotated[
        str, typer.Option(help="For a run that learned votes too: the name of the answer by the labels.")
    ] = "labels",
    plain: PlainOptions,
    overwrite: OverwriteOutOption = False,
) -> None:
    """Turn a finished run, or PyTorch weights, into one .onnx bundle: graph, manifest, golden vectors, seal.

    A bundle becomes a plain ONNX file for another program with --for or --layout.
    """
    if plain.is_wanted:
        _export_plain(str(run), out, plain, weights, overwrite)
        return
    if run.is_file() or (run.suffix in (".pth", ".pt") and not run.is_dir()):
        result = _export_weights(run, out, data, about, weights, overwrite)
    else:
        if any(astuple(replace(weights, module=""))):
            raise TrainingError(
                f"{run}: expected a file of weights (.pth), as --network, --classes, --size, --color, --mean "
                f"and --std go with one, found {'a folder' if run.is_dir() else 'nothing'}; a run folder knows them: "
                "leave them out"
            )
        if data is None:
            raise TrainingError(f"{run}: a run is calibrated on the data it was trained on; give them with --data")
        with named_extra():
            from mien_train.bundles.export_run import export_run

        with ProgressBar() as bar:
            result = export_run(
                run, data, out, name=about.name or run.name, about_data=about.about_data, license=about.license,
                crops=calibration_crops, progress=bar, overwrite=overwrite, label_answer=label_answer,
                module=weights.module,
            )  # fmt: skip
    for line in result.lines():
        say(line)


def _export_plain(model: str, out: Path, plain: PlainOptions, weights: WeightOptions, overwrite: bool) -> None:
    prior = plain.expected_mix()
    with named_extra():
        from mien_train.bundles.plain_onnx import export_plain

    bundle = open_bundle(model, plain.unsealed)
    if plain.target:
        wanted = _format_of_target(plain.target, bundle, weights, prior)
        chosen = bundle.manifest.label_answer
    else:
        wanted = _format_of_options(plain, weights, prior)
        chosen = bundle.manifest.answer()
    if plain.answer:
        chosen = bundle.manifest.answer(plain.answer)
    data = export_plain(bundle, out, wanted, answer=chosen, overwrite=overwrite)
    named = f", answer {chosen.name}" if chosen.name else ""
    say(
        f"{out}: {len(data) / 1e6:.1f} MB, plain ONNX without a manifest{named}, {wanted.output} of "
        f"{', '.join(wanted.classes or chosen.classes)}, prior {wanted.prior}"
    )


def _format_of_target(target: Target, bundle: Bundle, weights: WeightOptions, prior: Prior) -> PlainFormat:
    from mien_train.bundles.plain_onnx import bench_format

    if any((weights.mean, weights.std, weights.size, weights.color)):
        raise typer.BadParameter(f"--mean, --std, --size and --color are fixed with --for {target.value}")
    return bench_format(bundle, prior)


def _format_of_options(plain: PlainOptions, weights: WeightOptions, prior: Prior) -> PlainFormat:
    from mien_train.bundles.plain_onnx import PlainFormat

    sides = height_width(weights.size)
    return PlainFormat(
        mean=numbers(weights.mean, "--mean") or (0.0,),
        std=numbers(weights.std, "--std") or (1.0,),
        side=sides[0] if sides else None,
        channels={"gray": 1, "rgb": 3}.get(weights.color.value) if weights.color else None,
        output=plain.output.value,
        prior=prior,
    )


def custom_options(given: WeightOptions) -> CustomOptions:
    """The options as training takes them."""
    from mien_train.networks.custom_network import CustomOptions

    return CustomOptions(
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
        from mien_train.bundles.custom_weights import export_weights
        from mien_train.bundles.to_onnx import TIME

        told = custom_options(options)
    told = replace(told, classes=told.classes or data_classes)
    # The same weights give the same bundle each time: `mien predict --resume` looks whether the model changed.
    written = weights.stat().st_mtime if weights.exists() else 0.0
    for note in export_weights(
        weights, out, told, created=f"{datetime.fromtimestamp(written, timezone.utc):{TIME}}"
    ).notes:
        say(f"assumed: {note}", err=True)


def _export_weights(
    path: Path, out: Path, data: Path | None, about: ManifestOptions, weights: WeightOptions, overwrite: bool
) -> Exported:
    with named_extra():
        from mien_train.bundles.custom_weights import export_weights

        told = custom_options(weights)
    with ProgressBar() as bar:
        return export_weights(
            path,
            out,
            told,
            name=about.name,
            data_root=data,
            about_data=about.about_data,
            license=about.license,
            command=shlex.join(["mien", *sys.argv[1:]]),
            overwrite=overwrite,
            progress=bar,
        )
