"""`mien verify` and `mien show`: what a bundle says, and whether it holds."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from mien.cli.train import trainer
from mien.errors import DatasetError

VERIFY_EXAMPLES = """Examples:

mien verify my_model.onnx

mien verify my_model.onnx --against runs/first --data data/fer2013

mien verify student.onnx --against face_expression.pth --data images"""

BundleArgument = Annotated[str, typer.Argument(help="A bundled model's name, or the path of a .onnx file.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog=VERIFY_EXAMPLES)(verify)
    app.command(epilog="Example: mien show default")(show)


def verify(
    bundle: BundleArgument = "default",
    as_json: Annotated[bool, typer.Option("--json", help="Print the checks as JSON.")] = False,
    against: Annotated[
        Path | None,
        typer.Option(help="Run folder or student's .pth the bundle was made of: finds the first stage that differs."),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="With --against: labelled pictures to trace.")] = None,
    split: Annotated[str, typer.Option(help="With --against: train, validation or test.")] = "validation",
    samples: Annotated[int, typer.Option(help="With --against: so many pictures are traced.", min=1)] = 200,
) -> None:
    """Check a bundle: seal, weights, graph against manifest, golden vectors; and, if asked, against its origin.

    Exit code: 0 all is well, 2 a check failed.
    """
    from mien.bundle import load_bundle
    from mien.dataset import open_dataset
    from mien.verify import verify_bundle

    if (against is None) != (data is None):
        raise DatasetError("--against and --data go together: what the bundle was made of, and pictures to trace")
    loaded = load_bundle(bundle)
    checks = verify_bundle(loaded)
    if against is not None and data is not None:
        trace: Any = trainer("trace")
        checks += trace.trace(loaded, against, open_dataset(data, split), samples)
    first = next((check for check in checks if check.passed is False), None)
    if as_json:
        document = {"bundle": str(loaded.path), "checks": [asdict(c) for c in checks]}
        typer.echo(json.dumps({**document, "first_difference": first and first.name}, indent=2))
    else:
        for check in checks:
            mark = {True: "ok", False: "FAILED", None: "-"}[check.passed]
            typer.echo(f"{mark:6}  {check.name:15}  {check.detail}")
        if first:
            typer.echo(f"first difference: {first.name}")
    if first:
        raise typer.Exit(2)


def show(bundle: BundleArgument = "default") -> None:
    """Print a bundle's manifest as JSON."""
    from mien.bundle import load_bundle

    typer.echo(load_bundle(bundle).manifest.to_json())
