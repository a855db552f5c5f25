"""Progress bars, on stderr, that vanish when done and stay away from pipes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress


def progress(disable: bool = False) -> Progress:
    """A bar with count and time left; nothing is shown when stderr is not a terminal."""
    # Late: every command's start would pay for it.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        transient=True,
        disable=disable or not console.is_terminal,
    )


class ProgressBar:
    """A bar that any long work can tell how far it is; a context manager."""

    def __init__(self, shown: bool = True) -> None:
        self._bar = progress() if shown and sys.stderr and sys.stderr.isatty() else None
        self._task = self._bar.add_task("", total=None, note="") if self._bar else None

    def __enter__(self) -> ProgressBar:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar:
            self._bar.stop()

    def update(self, what: str, done: int, total: int | None = None, note: str = "") -> None:
        """Show it."""
        if self._bar and self._task is not None:
            self._bar.update(self._task, description=what, completed=done, total=total, note=note)
