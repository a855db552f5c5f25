"""Rows -> files: JSON lines, CSV or Parquet, one row a face. What a row holds stands in `mien.output.rows`."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, cast

from mien.errors import MienError, OutputError, Remedy, reason
from mien.files import replacing
from mien.output.files import check_free
from mien.output.journal import About, Journal, Position
from mien.output.parquet import arrow_rows, arrow_schema, pyarrow
from mien.output.rows import Cell, columns, flat, json_line, rows_of, utf8
from mien.records import Failure, FrameReadings

SUFFIXES = (".jsonl", ".csv", ".parquet")
"""What `open_writer` writes."""

PARQUET_ROWS = 16_384
"""Rows in one Parquet row group: what is held in memory while the file is made."""


def open_writer(
    path: Path, classes: Sequence[str], *, overwrite: bool = False, run: About | None = None, resume: bool = False
) -> ResultWriter:
    """Make a file of results, or go on with one; see `ResultWriter`.

    Args:
        path: ends in .jsonl, .csv or .parquet.
        classes: the model's, in its order.
        overwrite: replace `path`, and what an unfinished run has left beside it.
        run: what the run is; with it a journal is kept, and the run can be gone on with.
        resume: go on where an unfinished run has stopped; where there is none, begin.

    Raises:
        OutputError: another suffix; `path` exists, or rows of an unfinished run for it do, or rows of another run; its
            folder is not there or cannot be written to; .parquet without pyarrow.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        found = repr(suffix) if suffix else "a name without a suffix"
        raise OutputError(f"{path}: expected one of {', '.join(SUFFIXES)} for results, found {found}")
    if suffix == ".parquet":
        pyarrow()
    partial = path.with_name(path.name + ".partial")
    try:
        if resume and run is not None and partial.exists():
            journal = Journal.go_on(partial, run)
            file = partial.open("r+b")
            file.truncate(journal.position.size)
            file.seek(0, os.SEEK_END)
            return ResultWriter(path, file, classes, journal)
        _check_free(path, partial, overwrite)
        file = partial.open("wb" if overwrite else "xb")
        return ResultWriter(path, file, classes, Journal.begin(partial, run) if run is not None else None)
    except (OSError, ValueError) as error:  # ValueError: a name that no file system takes
        raise OutputError(f"{path}: cannot be written ({reason(error)})") from error


def is_complete(path: Path) -> bool:
    """Whether `path` is there and no unfinished run for it."""
    return path.exists() and not path.with_name(path.name + ".partial").exists()


def _check_free(path: Path, partial: Path, overwrite: bool) -> None:
    if not path.parent.is_dir():
        raise OutputError(f"{path}: there is no folder {path.parent}; make it first")
    check_free(path, overwrite=overwrite)
    if partial.exists() and not overwrite:
        raise OutputError(
            f"{partial}: rows of a run that did not finish; go on with it, move them away, or replace them",
            Remedy.RESUME,
            Remedy.OVERWRITE,
        )


class ResultWriter:
    """Writes rows as they come, and the whole file at once; a context manager, made by `open_writer`.

    Every `write` reaches `NAME.partial` before it returns, and closing moves that file onto `NAME`: `NAME` is never
    half written. If the with-block ends in an error, or the program is killed, the rows so far are in `NAME.partial`.
    It has the format of `NAME`, but JSON lines for Parquet: a Parquet file cannot be read before it is finished.
    With a journal, `done` says how far the run is, and a later run can go on from there.

    Attributes:
        path: where the rows will be.
        partial: where they are meanwhile.
        rows: how many have been written.
        items: how many items of the run are done; more than 0 at once if it goes on with another.
    """

    def __init__(self, path: Path, partial: BinaryIO, classes: Sequence[str], journal: Journal | None = None) -> None:
        position = journal.position if journal else Position()
        self.path = path
        self.partial = Path(partial.name)
        self.rows, self.items = position.rows, position.items
        self._file = partial
        self._journal = journal
        self._classes = tuple(classes)
        self._suffix = path.suffix.lower()
        self._good_bytes = position.size
        if self._suffix == ".csv" and not position.size:
            self._append(_csv_text([columns(self._classes)]))

    def add(self, item: int, result: FrameReadings | Failure) -> None:
        """Append the rows of one frame or failure of a run's item; whatever came before that item is done.

        Raises:
            OutputError, ValueError: see `write`.
        """
        if item > self.items:
            self.done(item)
        self.write(result)

    def write(self, item: FrameReadings | Failure) -> None:
        """Append the rows of one frame or failure.

        Raises:
            OutputError: the disk is full or gone; says which rows are kept, and where.
            ValueError: a reading with other classes than the writer's.
        """
        rows = rows_of(item)
        for row in rows:
            if row["probabilities"] is not None and tuple(row["probabilities"]) != self._classes:
                raise ValueError(f"expected the classes {self._classes}, got {tuple(row['probabilities'])}")
        if not rows:
            return
        if self._suffix == ".csv":
            text = _csv_text([list(flat(row, self._classes).values()) for row in rows])
        else:
            text = "".join(map(json_line, rows))
        self._append(text)
        self.rows += len(rows)

    def done(self, items: int) -> None:
        """Note that the first `items` items of the run are done, and all their rows written."""
        self.items = items
        if self._journal:
            self._journal.note(Position(items, self.rows, self._good_bytes))

    def close(self, error: BaseException | None = None) -> None:
        """Move the finished file to `path`; after an `error`, keep the rows in `partial`, and have the error say so.

        Raises:
            OutputError: it cannot be finished or moved; the rows are kept in `partial`.
        """
        if self._file.closed:
            return
        if error is not None:
            self._stop()
            _note(error, self.kept)
            return
        try:
            os.fsync(self._file.fileno())
            self._file.close()
            if self._suffix == ".parquet":
                _make_parquet(self.partial, self.path, self._classes)
                with suppress(OSError):
                    self.partial.unlink()
            else:
                self.partial.replace(self.path)
            if self._journal:
                self._journal.remove()
        except OSError as problem:
            raise self._failure(problem) from problem
        except OutputError as problem:
            self._stop()
            _note(problem, self.kept)
            raise

    @property
    def kept(self) -> str:
        """Where the rows of an unfinished run are, in words."""
        if not self.rows:
            return "no rows are kept"
        rows = "1 row is" if self.rows == 1 else f"{self.rows} rows are"
        return f"{rows} kept in {self.partial}{' as JSON lines' * (self._suffix == '.parquet')}"

    def __enter__(self) -> ResultWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(error)

    def _append(self, text: str) -> None:
        try:
            self._file.write(utf8(text).encode())
            self._file.flush()
            self._good_bytes = self._file.tell()
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> OutputError:
        self._stop()
        return OutputError(f"{self.path}: cannot be written ({reason(error)}); {self.kept}")

    def _stop(self) -> None:
        """Close the partial file at the end of its last whole row; drop it if nothing is done."""
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            if self.rows or self.items:
                os.truncate(self.partial, self._good_bytes)
            else:
                self.partial.unlink()
                if self._journal:
                    self._journal.remove()
        if self._journal:
            self._journal.close()


def _csv_text(rows: Sequence[Sequence[Cell]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _note(error: BaseException, text: str) -> None:
    """Add to what the error says, and leave its type as it is."""
    if isinstance(error, MienError):
        error.args = (f"{error}; {text}",)
    elif hasattr(error, "add_note"):  # Python 3.11
        cast(Any, error).add_note(text)


def _make_parquet(lines: Path, target: Path, classes: Sequence[str]) -> None:
    parquet: Any = import_module("pyarrow.parquet")
    with (
        replacing(target) as temporary,
        lines.open("rb") as file,
        temporary.open("wb") as out,
        parquet.ParquetWriter(out, arrow_schema(classes)) as writer,
    ):
        while rows := [json.loads(line) for line in islice(file, PARQUET_ROWS)]:
            writer.write_batch(arrow_rows(rows, classes))
