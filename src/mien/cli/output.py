"""What a command leaves behind: files written whole, and what went wrong, named."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mien.files import make_folder, write_text
from mien.printable import printable

if TYPE_CHECKING:
    from mien.dataset import Split
    from mien.output.rows import Row

LONGEST_LINE = 800
"""Characters of a message: a name alone may have thousands."""

NAMED = 20
"""At most this many bad items are named; files name all."""


def say(line: str, *, err: bool = False, bold: bool = False) -> None:
    """Print a line, on stdout or (`err`) on stderr, its control characters escaped.

    All that commands print goes through here or through the two functions below.
    """
    typer.secho(printable(line), err=err, bold=bold)


def say_text(text: str) -> None:
    """Print a text of many lines. Its names have to be `printable` already: a newline in one would forge a line."""
    typer.echo(printable(text, keep="\n"), nl=False)


def say_json(document: object) -> None:
    """Print a document as JSON, in ASCII."""
    typer.echo(json.dumps(document, indent=2))


def say_row(row: Row) -> None:
    """Print a row as a line of JSON, in UTF-8 whatever the terminal's encoding is."""
    from mien.output.rows import json_line

    typer.echo(json_line(row).encode(), nl=False)


def write_file(path: Path, text: str) -> None:
    """Write a text file whole, and say so on stderr."""
    make_folder(path.parent)
    write_text(path, text)
    say(f"written: {path}", err=True)


def tell(line: str) -> None:
    """Say something about the work on stderr; of a line that fills a screen, its beginning and its end."""
    if len(line) > LONGEST_LINE:
        line = f"{line[: LONGEST_LINE // 2]} ... {line[-LONGEST_LINE // 2 :]}"
    say(f"mien: {line}", err=True)


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
