"""`mien verify` and `mien show`: what a bundle says, and whether it holds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.options import MODEL_HELP, DeviceOption, UnsealedOption, open_bundle, registered
from mien.cli.output import say, say_json

if TYPE_CHECKING:
    from mien.model.bundle import Bundle
    from mien.model.verify import Check

BundleArgument = Annotated[str, typer.Argument(help=MODEL_HELP, callback=registered)]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: mien verify my_model.onnx")(verify)
    app.command(epilog="Example: mien show default")(show)


def verify(
    bundle: BundleArgument = "default",
    as_json: Annotated[bool, typer.Option("--json", help="Print the checks as JSON.")] = False,
    unsealed: UnsealedOption = False,
    device: DeviceOption = "cpu",
) -> None:
    """Check a bundle: seal, weights, graph against manifest, golden vectors, and that it runs (with --device: there).

    Exit code: 0 all is well, 2 a check failed.
    """
    from mien.model.verify_in_process import verify_apart

    loaded = open_bundle(bundle, unsealed)
    print_checks(loaded, verify_apart(loaded, device), as_json=as_json)


def print_checks(loaded: Bundle, checks: Sequence[Check], *, as_json: bool) -> None:
    """Print checks of a bundle, and leave with exit code 2 if one failed."""
    first = next((check for check in checks if check.passed is False), None)
    if as_json:
        document = {"bundle": str(loaded.path), "checks": [asdict(c) for c in checks]}
        say_json({**document, "first_difference": first and first.name})
    else:
        for check in checks:
            mark = {True: "ok", False: "FAILED", None: "-"}[check.passed]
            say(f"{mark:6}  {check.name:15}  {check.detail}")
        if first:
            say(f"first difference: {first.name}")
    if first:
        raise typer.Exit(2)


def show(bundle: BundleArgument = "default", unsealed: UnsealedOption = False) -> None:
    """Print a bundle's manifest as JSON."""

    say_json(json.loads(open_bundle(bundle, unsealed).manifest.to_json()))  # in ASCII: no name moves the cursor
