"""`mien trace`: a bundle beside what it was made of -> the first stage that differs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli.models import BundleArgument, print_checks
from mien.cli.option_groups import Without, with_groups
from mien.cli.options import SplitOption, UnsealedOption, labeled_data, open_bundle
from mien.cli.weight_options import WeightOptions
from mien_train.cli.export import custom_options
from mien_train.cli.extras import named_extra

EXAMPLES = """Examples:

mien trace my_model.onnx runs/first --data data/fer2013

mien trace custom.onnx face_expression.pth --data images"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXAMPLES)(with_groups(trace))


def trace(
    bundle: BundleArgument,
    origin: Annotated[Path, typer.Argument(help="The run folder, or the user's .pth file, it was made of.")],
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            help="Labeled pictures to follow through both.",
            callback=labeled_data,
        ),
    ],
    *,
    split: SplitOption = "validation",
    samples: Annotated[int, typer.Option(help="How many pictures to follow.", min=1)] = 200,
    weights: Annotated[WeightOptions, Without("classes")],
    unsealed: UnsealedOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the checks as JSON.")] = False,
) -> None:
    """Compare a bundle with what it was made of, stage by stage, and name the first stage that differs.

    Exit code: 0 all stages agree, 2 one differs.
    """
    from mien.dataset import open_dataset
    from mien.model.verify_in_process import verify_apart

    with named_extra():
        from mien_train.bundles.trace import trace as trace_bundle

        told = custom_options(weights)

    loaded = open_bundle(bundle, unsealed)
    checks = verify_apart(loaded) + trace_bundle(loaded, origin, open_dataset(data, split), samples, told)
    print_checks(loaded, checks, as_json=as_json)
