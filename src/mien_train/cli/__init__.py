"""The commands that training adds to `mien`: the entry point group `mien.commands` names `register`.

Only argument parsing is imported here. torch is imported when a command runs, so `mien --help` stays fast and
works without it.
"""

from __future__ import annotations

import typer

from mien_train.cli import compress, ensemble, trace, train, tune


def register(app: typer.Typer) -> None:
    """Add all commands of training."""
    for command in (train, tune, compress, ensemble, trace):
        command.register(app)
