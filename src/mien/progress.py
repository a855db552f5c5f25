"""How far long work is, told to whoever wants to show it."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class PartOfProgress:
    """Tells another progress of a part of its work.

    Args:
        whole: who is told.
        what: the name of the part, in place of the name that its function gives.
        prefix: put before that name.
        before: steps that other parts have done.
        total: steps of all parts; None: the part's own.
    """

    whole: Progress
    what: str = ""
    prefix: str = ""
    before: int = 0
    total: int | None = None

    def update(self, what: str, done: int, total: int | None = None, note: str = "") -> None:
        """Pass it on."""
        name = self.prefix + (self.what or what)
        self.whole.update(name, self.before + done, total if self.total is None else self.total, note)
