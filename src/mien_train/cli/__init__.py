"""The commands that training adds to `mien`: the entry point group `mien.commands` names `register`.

Only argument parsing is imported here. torch is imported when a command runs, so `mien --help` stays fast and
works without it.
"""

from __future__ import annotations

import typer

from mien.cli.weight_options import add_converter
from mien_train.cli import compress, ensemble, export, trace, train, tune


def register(app: typer.Typer) -> None:
    """Add all commands of training, and what makes bundles of PyTorch weights."""
    for command in (train, export, tune, compress, ensemble, trace):
        command.register(app)
    add_converter(export.write_bundle_of)
