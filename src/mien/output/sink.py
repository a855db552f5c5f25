"""The one door by which results leave."""

from __future__ import annotations

from typing import Protocol

from mien.records import Failure, FrameReadings


class Sink(Protocol):
    """Takes the results of a run: prints them, writes them to a file, draws them."""

    def add(self, item: int, result: FrameReadings | Failure) -> None:
        """Take the result of one frame.

        Args:
            item: number of the item in the run, from 0. Numbers never go down; an item without frames is left out.
            result: its frames come in order. After pictures read in another process, `result.frame.image` is None.

        Raises:
            OutputError: it cannot be written.
        """
        ...

    def close(self, error: BaseException | None = None) -> None:
        """Finish: nothing more comes. Closing twice does nothing.

        Args:
            error: what ended the run early; then keep what is whole, and leave nothing half made.

        Raises:
            OutputError: it cannot be finished.
        """
        ...
