"""What `mien live` shows: a table that is kept up to date, a line a change, JSON lines, a window."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Any, Protocol

from mien.cli.output import say, say_row
from mien.errors import OutputError
from mien.printable import printable
from mien.timing import clock_time

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from mien.live import Live, LiveFrame, ShownExpression
    from mien.records import Failure

REFRESH = 8
"""Times a second that the table is drawn: little enough for a slow line."""

QUIET_S = 2.0
"""After so long without a frame, the table says so."""

BAR = 20


class View(Protocol):
    """Shows moments as they come; a context manager."""

    def __enter__(self) -> object: ...

    def __exit__(self, *error: object) -> None: ...

    def show(self, moment: LiveFrame | Failure) -> None:
        """Draw the next moment."""
        ...


def make_view(reading: Live, source: str, *, as_json: bool) -> View:
    """The view that fits what stdout is."""
    from mien.media.stream_address import shown

    if as_json:
        return JsonLines()
    return LiveTable(reading, shown(source)) if sys.stdout.isatty() else ChangeLines()


class _PlainView:
    def __enter__(self) -> object:
        return self

    def __exit__(self, *error: object) -> None:
        sys.stdout.flush()


class JsonLines(_PlainView):
    """One line a face and frame, or a failure: the rows of `mien predict --json`."""

    def show(self, moment: LiveFrame | Failure) -> None:
        """Print the rows, and do not let them wait in a buffer."""
        from mien.output.rows import rows_of
        from mien.records import Failure

        if isinstance(moment, Failure):
            say(f"mien: {moment.message}", err=True)
        for row in rows_of(moment if isinstance(moment, Failure) else moment.result):
            say_row(row)


class ChangeLines(_PlainView):
    """One line for each change: who begins to show what, and who is gone."""

    def __init__(self) -> None:
        self._labels: dict[int, str | None] = {}

    def show(self, moment: LiveFrame | Failure) -> None:
        """Print what differs from before."""
        from mien.records import Failure

        if isinstance(moment, Failure):
            say(f"mien: {moment.message}", err=True)
            return
        time_s = moment.result.frame.time_s or 0.0
        for track in moment.gone:
            if self._labels.pop(track, None) is not None:
                say(f"{time_s:8.2f} s  face {track:3}  gone")
        for face in moment.faces:
            label = face.label if face.since_s is not None else None
            if label is not None and label != self._labels.get(face.track):
                say(f"{time_s:8.2f} s  face {face.track:3}  {label:10} {face.probability:4.0%}")
                self._labels[face.track] = label


class LiveTable:
    """A table on the terminal, a line a face; redrawn by a thread, so that it tells when nothing comes."""

    def __init__(self, reading: Live, source: str) -> None:
        from rich.console import Console
        from rich.live import Live as Screen

        self._reading, self._source = reading, source
        self._moment: LiveFrame | None = None
        self._screen = Screen(
            get_renderable=self._draw,
            console=Console(),
            refresh_per_second=REFRESH,
            transient=True,
            vertical_overflow="crop",
        )

    def __enter__(self) -> object:
        self._screen.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._screen.stop()

    def show(self, moment: LiveFrame | Failure) -> None:
        """Remember it for the next drawing; a failure stands above the table from now on."""
        from rich.text import Text

        from mien.records import Failure

        if isinstance(moment, Failure):
            self._screen.console.print(Text(printable(f"mien: {moment.message}"), style="yellow"))
        else:
            self._moment = moment

    def _draw(self) -> Group:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        head = [Text(line, style="dim", no_wrap=True, overflow="ellipsis") for line in (self._source, self._status())]
        table = Table(box=None, pad_edge=False)
        for name in ("face", "expression", "", "", "shown for"):
            table.add_column(name, justify="left" if name in ("expression", "") else "right", no_wrap=True)
        if moment := self._moment:
            for face in moment.faces:
                self._row(table, face, moment.result.frame.time_s or 0.0)
            if not moment.faces:
                table.add_row("-", "no face found")
        return Group(*head, table)

    def _row(self, table: Table, face: ShownExpression, time_s: float) -> None:
        from rich.progress_bar import ProgressBar

        sure = face.since_s is not None
        shown = f"{time_s - face.since_s:.1f} s" if face.since_s is not None else ""
        bar = ProgressBar(total=1.0, completed=face.probability, width=BAR)
        name = face.label if sure else f"{face.label}?"
        table.add_row(str(face.track), name, bar, f"{face.probability:4.0%}", shown, style="" if sure else "dim")

    def _status(self) -> str:
        reading, moment = self._reading, self._moment
        if moment is None:
            return "waiting for the first frame; Ctrl-C ends"
        time_s = moment.result.frame.time_s or 0.0
        if reading.quiet_s > QUIET_S:
            return f"no frame for {reading.quiet_s:.0f} s: waiting; Ctrl-C ends"
        return (
            f"{clock_time(time_s, 1)}  {reading.rate:.1f} frames/s  "
            f"latency {1000 * reading.latency_s:.0f} ms  {reading.dropped} dropped"
        )


class Window:
    """A window with the pictures, and boxes and bars on them.

    Raises:
        OutputError: this OpenCV has no windows, or there is no display to open one on.
    """

    TITLE = "mien"

    def __init__(self) -> None:
        from mien.opencv import load_opencv

        cv2 = load_opencv("--window", OutputError)
        self._cv2: Any = cv2
        found = re.search(r"^\s*GUI:\s*(\S+)", cv2.getBuildInformation(), re.MULTILINE)
        if not found or found[1] == "NONE":
            raise OutputError(
                "--window: expected an OpenCV that can open windows, found opencv-python-headless; "
                "replace it: pip uninstall opencv-python-headless, then pip install 'opencv-python>=4.10,<5'"
            )
        if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise OutputError(
                "--window: there is no display here (neither DISPLAY nor WAYLAND_DISPLAY is set); leave it out: the "
                "terminal shows what is read, too"
            )
        try:
            self._cv2.namedWindow(self.TITLE, self._cv2.WINDOW_NORMAL)
        except cv2.error as error:
            raise OutputError(f"--window: OpenCV cannot open one ({str(error).strip().splitlines()[0]})") from error

    def show(self, moment: LiveFrame) -> None:
        """Draw a frame."""
        from mien.output.draw import annotate

        self._cv2.imshow(self.TITLE, annotate(moment.result.frame.pixels, moment.readings))

    def is_open(self) -> bool:
        """Let the window live; whether it still does: q, Esc and its own button close it."""
        if self._cv2.waitKey(1) & 0xFF in (ord("q"), 27):
            return False
        return self._cv2.getWindowProperty(self.TITLE, self._cv2.WND_PROP_VISIBLE) >= 1
