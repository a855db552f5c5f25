"""What other packages add to the command line: training's commands, and whatever else is installed."""

from __future__ import annotations

import typer

GROUP = "mien.commands"
"""The entry points: each is a function that takes the `typer.Typer` to add commands to."""


def add_plugins(app: typer.Typer) -> None:
    """Let each of them add its commands, and whatever else it brings."""
    from importlib.metadata import entry_points  # late: reading what is installed takes as long as reading a photo

    for command in entry_points(group=GROUP):
        command.load()(app)
