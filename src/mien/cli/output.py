"""What a command leaves behind: files written whole, and what went wrong, named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mien.cli.printable import printable
from mien.files import make_folder, write_text

if TYPE_CHECKING:
    from mien.dataset import Split

NAMED = 20
"""At most this many bad items are named; files name all."""


def write_file(path: Path, text: str) -> None:
    """Write a text file whole, and say so on stderr."""
    make_folder(path.parent)
    write_text(path, text)
    typer.echo(f"written: {path}", err=True)


def tell(line: str) -> None:
    """Say something about the work on stderr."""
    typer.echo(f"mien: {printable(line)}", err=True)


def say_passed_over(splits: Iterable[Split]) -> None:
    """One line that counts, by suffix, the files among a data set's pictures that are none."""
    total: Counter[str] = Counter()
    for split in splits:
        total.update(split.passed_over)
    if total:
        from mien.media.folder_walk import counted

        tell(f"passed over {counted(total)}")


def name_items(what: str, lines: list[str]) -> None:
    """Name bad items on stderr, one a line, `what` before each."""
    for line in lines[:NAMED]:
        tell(f"{what + ': ' if what else ''}{line}")
    if len(lines) > NAMED:
        tell(f"and {len(lines) - NAMED} more")


def write_charts(charts: dict[str, str], folder: Path) -> None:
    """Write the charts of a page as files of their own, and say so."""
    from mien.report.figures import write_figures

    written, note = write_figures(charts, folder)
    tell(f"{len(written)} figures in {folder}{f'; {note}' if note else ''}")
