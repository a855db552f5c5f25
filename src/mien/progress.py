"""How far long work is, told to whoever wants to show it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Takes word of how far long work is. The library tells it; a command line, a notebook or a log shows it."""

    def update(self, what: str, done: int, total: int | None = None, note: str = "") -> None:
        """`done` of `total` steps of `what` are done.

        Args:
            what: the work under way, such as "reading faces".
            done: steps finished, from 0.
            total: all steps; None if nobody knows.
            note: words about the work so far, such as its speed.
        """
        ...


class SilentProgress:
    """Shows nothing."""

    def update(self, what: str, done: int, total: int | None = None, note: str = "") -> None:
        """Take it, and say nothing."""


SILENT: Progress = SilentProgress()
"""What functions use unless they are given another."""
