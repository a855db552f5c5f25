"""Writes docs/reference/cli.md from the commands' own help, so that the two cannot differ.

python scripts/make_cli_docs.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from mien.cli import app

TARGET = Path(__file__).parents[1] / "docs/reference/cli.md"


def sections(command: Any, name: str) -> list[str]:
    """The help of a command and, below it, of its subcommands."""
    parts = [f"## `{name}`\n\n{describe(command, name)}"]
    for subname, sub in sorted(getattr(command, "commands", {}).items()):
        parts += sections(sub, f"{name} {subname}")
    return parts


def describe(command: Any, name: str) -> str:
    """Purpose, arguments, options and example."""
    lines = [(command.help or "").strip(), ""]
    rows = [option_row(p) for p in command.params if not getattr(p, "hidden", False) and p.name != "help"]
    if rows:
        lines += ["| | |", "|---|---|", *rows, ""]
    if command.epilog:
        lines += ["```", *(line for line in command.epilog.splitlines() if line), "```", ""]
    return "\n".join(lines)


def option_row(parameter: Any) -> str:
    """One line of the table."""
    if parameter.param_type_name == "option":
        takes = "" if parameter.is_flag else " VALUE"
        names = " / ".join(f"`{n}{takes}`" for n in [*parameter.opts, *parameter.secondary_opts])
    else:
        names = f"`{parameter.name.upper()}`"
    default = getattr(parameter.default, "value", parameter.default)  # of a choice: its name
    shown = default not in (None, False, "", 0) and not callable(default) and default is not ...
    about = (getattr(parameter, "help", "") or "").strip().replace("<", "&lt;")
    return f"| {names} | {about}{f' Default: {default}.' if shown else ''} |"


def page() -> str:
    """The whole of docs/reference/cli.md."""
    head = "# Command line\n\n`scripts/make_cli_docs.py` makes this page from the commands' own help.\n"
    exits = "Exit codes: 0 done; 1 finished, some items failed (each is named); 2 wrong use or unreadable input.\n"
    return "\n".join([head, exits, *sections(typer.main.get_command(app), "mien")]).rstrip() + "\n"


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
