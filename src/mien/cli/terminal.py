"""What a command line owes its terminal: its own words only, a word on Ctrl-C, and no fuss when a reader leaves."""

from __future__ import annotations

import io
import logging
import os
import sys
import warnings

from mien.cli.output import tell
from mien.cli.remedies import with_options

NOTHING = "every file that is there is whole; give the same command again"
"""What is said where a command has noted nothing of its own."""


class Interrupted(Exception):
    """Ctrl-C, and what is kept of the work that it ended: see `mien.errors.note_kept`."""

    def __init__(self, error: KeyboardInterrupt) -> None:
        kept = "; ".join(getattr(error, "__notes__", ()))
        remedies = getattr(error, "remedies", ())
        goes_on = f"{kept}; the same command goes on there" if remedies else kept or NOTHING
        super().__init__(with_options(f"interrupted; {goes_on}", remedies))


def prepare_terminal() -> None:
    """Nothing ends by an encoding; our own warnings are told as all else is, and those of other libraries are not."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that the terminal cannot show must not end the run
            stream.reconfigure(errors="backslashreplace")
    if not sys.warnoptions and os.environ.get("PYTHONWARNINGS", "ignore") == "ignore":
        warnings.simplefilter("ignore")
        os.environ["PYTHONWARNINGS"] = "ignore"  # in the processes that we start, too
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # what it finds wrong in a picture is told by our errors
    logging.lastResort = logging.NullHandler()
    ours = logging.getLogger("mien")
    if not any(isinstance(handler, _WarningLines) for handler in ours.handlers):
        ours.addHandler(_WarningLines(logging.WARNING))


def leave_stdout() -> None:
    """Write to it no more: Python would complain about what it still holds at the exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _WarningLines(logging.Handler):
    """Our own warnings, as lines on stderr; a server logs in its own way."""

    def emit(self, record: logging.LogRecord) -> None:
        if not logging.getLogger().handlers:
            tell(record.getMessage())
