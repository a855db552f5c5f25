"""Rows to whoever reads them at once: standard output, a pipe, a device. There is nothing to go on with."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from mien.errors import OutputError, reason
from mien.files import open_stream
from mien.output.rows import Cell, as_text, columns, flat, json_line, rows_of, utf8
from mien.output.writers import PACKED, RowStyle, suffix_of
from mien.records import Failure, FrameReadings


class RowStream:
    """Writes rows as they come: JSON lines if the name ends in .jsonl, else CSV.

    Args:
        path: what `mien.files.is_stream`, such as /dev/stdout.
        classes: the model's, in its order.
        style: which rows there are, and how their cells are written.

    Raises:
        OutputError: it cannot be opened, or a Parquet file is asked for.
    """

    def __init__(self, path: Path, classes: Sequence[str], style: RowStyle | None = None) -> None:
        self.path, self._classes, self._style = path, tuple(classes), style or RowStyle()
        suffix = suffix_of(path)
        if suffix == ".parquet" or suffix.endswith(PACKED):
            raise OutputError(f"{path}: a pipe, and {suffix} needs a file; write .csv or .jsonl")
        self._is_json = suffix == ".jsonl"
        try:
            self._file = open_stream(path)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({reason(error)})") from error
        if not self._is_json:
            self._write(self._lines([columns(self._classes)]))

    def add(self, item: int, result: FrameReadings | Failure) -> None:
        """Write the rows of one frame or failure.

        Raises:
            OutputError: nobody reads them any more, or there is no room.
        """
        rows = rows_of(result, self._style.no_face_rows)
        if self._is_json:
            self._write("".join(map(json_line, rows)))
        else:
            self._write(self._lines([list(flat(row, self._classes).values()) for row in rows]))

    def close(self, error: BaseException | None = None) -> None:
        """All is written."""
        try:
            self._file.close()
        except OSError as problem:
            raise self._failure(problem) from problem

    def _lines(self, cells: Sequence[Sequence[Cell]]) -> str:
        text = io.StringIO()
        csv.writer(text).writerows([as_text(c) for c in row] if self._style.spreadsheet else row for row in cells)
        return text.getvalue()

    def _write(self, text: str) -> None:
        try:
            self._file.write(utf8(text).encode())
            self._file.flush()
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> BaseException:
        if isinstance(error, BrokenPipeError):
            return error  # its reader has what it wanted
        return OutputError(f"{self.path}: cannot be written ({reason(error)})")
