"""What `mien predict` prints: a table, JSON lines, a summary of each video; at the end the counts and the times."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mien.cli.output import say, say_row
from mien.printable import printable

if TYPE_CHECKING:
    from mien.media import Item
    from mien.model.session import Session
    from mien.records import Failure, FrameReadings, Reading
    from mien.run import Counts
    from mien.timing import Stopwatch

NAME_WIDTH = 44


class JsonLines:
    """Prints one line a face, or a failure; `no_face_rows` as in `mien.output.rows.rows_of`."""

    def __init__(self, no_face_rows: bool | None = False) -> None:
        self._no_face_rows = no_face_rows

    def add(self, item: int, result: FrameReadings | Failure) -> None:
        """Print the faces of one frame."""
        from mien.output.rows import rows_of

        for row in rows_of(result, self._no_face_rows):
            say_row(row)

    def close(self, error: BaseException | None = None) -> None:
        """All is printed."""


class Table:
    """Lines that align without knowing what comes: the picture's column is as wide as the longest name."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.width = min(max(max(len(i.source) for i in items), len("picture")), NAME_WIDTH)
        self._begun = False

    def close(self, error: BaseException | None = None) -> None:
        """All is printed."""

    def add(self, item: int, result: FrameReadings | Failure) -> None:
        """Print what was read in one frame."""
        from mien.records import Failure

        if isinstance(result, Failure):
            return
        self._begin()
        frame = result.frame
        name = frame.source if frame.time_s is None else f"{frame.source} @{frame.time_s:.2f}s"
        name = printable(name)
        name = name if len(name) <= self.width else "..." + name[3 - self.width :]
        if not result.readings:
            say(f"{name:{self.width}}     -  no face found")
        for index, reading in enumerate(result.readings):
            say(f"{name if index == 0 else '':{self.width}}  {index + 1:4}  {_describe(reading)}")

    def _begin(self) -> None:
        """Print the header above the first line; where nothing can be read, there is no table."""
        if not self._begun:
            self._begun = True
            say(
                f"{'picture':{self.width}}  face  expression         next               disagree  box x1 y1 x2 y2",
                bold=True,
            )


def _describe(reading: Reading) -> str:
    ranked = sorted(reading.expression.as_dict().items(), key=lambda pair: -pair[1])
    (first, p1), (second, p2) = ranked[0], ranked[1]
    box = " ".join(f"{round(v):4}" for v in reading.face.box_xyxy)
    # A question mark: even the most probable class is expected of fewer than half of people.
    first, second = printable(first), printable(second)
    shown = first + "?" * reading.expression.unsure
    return f"{shown:10} {p1:6.1%}  {second:10} {p2:6.1%}  {reading.expression.disagreement:8.2f}  {box}"


class Summary:
    """Prints how long and how often each track of each video shows each expression, when the run is over."""

    def __init__(self, items: Sequence[Item], *, err: bool) -> None:
        from mien.temporal.episodes import Observer

        self._items, self._err = items, err
        self._observers = [Observer() for _ in items]

    def add(self, item: int, result: FrameReadings | Failure) -> None:
        """Take the readings of one frame."""
        from mien.records import Failure

        if not isinstance(result, Failure):
            self._observers[item].add(result)

    def close(self, error: BaseException | None = None) -> None:
        """Print the totals, on stdout or (`err`) beside it."""
        from mien.temporal.episodes import totals

        if error is not None:
            return
        for item, observer in zip(self._items, self._observers, strict=True):
            if episodes := observer.finish():
                say(item.source, bold=True, err=self._err)
                say(
                    f"{'track':>5}  expression  seconds  episodes    first     last",
                    bold=True,
                    err=self._err,
                )
                for t in totals(episodes):
                    say(
                        f"{t.track:5}  {t.label:10}  {t.seconds:7.1f}  {t.episodes:8}  {t.first_s:7.1f}  "
                        f"{t.last_s:7.1f}",
                        err=self._err,
                    )


def print_profile(clock: Stopwatch, pictures: int) -> None:
    """Print where the time went, on stderr."""
    total = sum(clock.seconds.values())
    say(f"{'stage':10} {'seconds':>9} {'share':>7} {'ms/picture':>11}", bold=True, err=True)
    for name, spent in sorted(clock.seconds.items(), key=lambda pair: -pair[1]):
        share, each = spent / (total or 1), 1000 * spent / max(pictures, 1)
        say(f"{name:10} {spent:9.2f} {share:7.1%} {each:11.2f}", err=True)


def print_counts(counts: Counts, out: Path | None, annotate: Path | None, session: Session) -> None:
    """Print what a run came to, on stderr."""
    failed = f", {counts.failed} failed" if counts.failed else ""
    failed += f", {_count(counts.unread, 'source')} not read" if counts.unread else ""
    left_out = f", {_count(counts.copies, 'copy', 'copies')} left out" if counts.copies else ""
    places = "".join(
        f"; {what} in {place}" for what, place in (("rows", out), ("annotated pictures", annotate)) if place
    )
    read = f"{_count(counts.pictures, 'picture')}, {_count(counts.faces, 'face')}"
    told = session.answer.name and f"; answer {session.answer.name}"
    told += "" if session.prior.is_training else f"; prior {session.prior}"
    say(f"{read}{failed}{left_out}{told}{places}", err=True)


def _count(number: int, noun: str, plural: str = "") -> str:
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
