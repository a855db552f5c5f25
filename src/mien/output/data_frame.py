"""Readings -> a pandas data frame, where pandas is installed."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from itertools import groupby
from typing import Any

from mien.errors import OutputError
from mien.output.rows import Row, columns, flat, rows_of
from mien.records import Failure, Frame, FrameReadings, Reading


def to_frame(readings: Iterable[Reading | FrameReadings | Failure]) -> Any:
    """A pandas data frame with a row a face, in the columns of `mien predict --out` (see `mien.output.rows`).

    Args:
        readings: what `Recognizer.read` or `Recognizer.read_all` gives, of one model.

    Returns:
        a `pandas.DataFrame`.

    Raises:
        OutputError: pandas is not installed, or the readings come from models with different classes.
    """
    try:
        pandas: Any = import_module("pandas")
    except ImportError:
        raise OutputError("a data frame needs pandas: pip install pandas") from None
    # Readings of one frame count its faces together.
    rows = [row for _, items in groupby(readings, _frame_of) for row in _rows(list(items))]
    found = list(dict.fromkeys(tuple(row["probabilities"]) for row in rows if row["probabilities"] is not None))
    if len(found) > 1:
        raise OutputError(f"expected readings of one model, found classes {found[0]} and {found[1]}")
    classes = found[0] if found else ()
    return pandas.DataFrame([flat(row, classes) for row in rows], columns=columns(classes))


def _frame_of(item: Reading | FrameReadings | Failure) -> tuple[str, int] | int:
    return (item.source, item.frame) if isinstance(item, Reading) else id(item)


def _rows(items: list[Reading | FrameReadings | Failure]) -> list[Row]:
    faces = tuple(item for item in items if isinstance(item, Reading))
    if faces:
        first = faces[0]
        return rows_of(FrameReadings(Frame(None, first.source, first.frame, first.time_s), faces))
    return [row for item in items if not isinstance(item, Reading) for row in rows_of(item)]
