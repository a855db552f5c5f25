"""`mien verify` and `mien show`: what a bundle says, and whether it holds."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

BundleArgument = Annotated[str, typer.Argument(help="A bundled model's name, or the path of a .onnx file.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: mien verify my_model.onnx")(verify)
    app.command(epilog="Example: mien show default")(show)


def verify(
    bundle: BundleArgument = "default",
    as_json: Annotated[bool, typer.Option("--json", help="Print the checks as JSON.")] = False,
) -> None:
    """Check a bundle: seal, weights, graph against manifest, golden vectors."""
    from mien.bundle import load_bundle
    from mien.verify import verify_bundle

    loaded = load_bundle(bundle)
    checks = verify_bundle(loaded)
    if as_json:
        typer.echo(json.dumps({"bundle": str(loaded.path), "checks": [asdict(c) for c in checks]}, indent=2))
    else:
        for check in checks:
            mark = {True: "ok", False: "FAILED", None: "-"}[check.passed]
            typer.echo(f"{mark:6}  {check.name:15}  {check.detail}")
    if any(check.passed is False for check in checks):
        raise typer.Exit(2)


def show(bundle: BundleArgument = "default") -> None:
    """Print a bundle's manifest as JSON."""
    from mien.bundle import load_bundle

    typer.echo(load_bundle(bundle).manifest.to_json())
