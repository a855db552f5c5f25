"""Rows -> files: JSON lines or CSV, packed with gzip on request, or Parquet; one row a face.

What a row holds stands in `mien.output.rows`.
"""

from __future__ import annotations

import csv
import errno
import io
import os
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from mien.errors import OutputError, Remedy, note_kept, reason
from mien.locks import Lock, lock
from mien.output import journal as journals
from mien.output.files import check_free, write_gzip
from mien.output.journal import About, Journal, Position, journal_of
from mien.output.parquet import pyarrow, write_parquet
from mien.output.rows import Cell, as_text, columns, flat, json_line, rows_of, utf8
from mien.records import Failure, FrameReadings

PACKED = ".gz"
"""What a name ends in whose rows are packed with gzip, after another suffix."""

SUFFIXES = (".jsonl", ".csv", ".parquet", ".jsonl.gz", ".csv.gz")
"""What `open_writer` writes."""


@dataclass(frozen=True, slots=True)
class RowStyle:
    """Which rows there are, and how their cells are written.

    Attributes:
        no_face_rows: whether a picture or frame without a face has a row; None: where it is part of a time series.
        spreadsheet: in CSV, put an apostrophe before text that a spreadsheet would compute.
    """

    no_face_rows: bool | None = False
    spreadsheet: bool = False


def open_writer(
    path: Path,
    classes: Sequence[str],
    *,
    overwrite: bool = False,
    run: About | None = None,
    resume: bool = False,
    style: RowStyle | None = None,
) -> ResultWriter:
    """Make a file of results, or go on with one; see `ResultWriter`.

    Args:
        path: ends in one of `SUFFIXES`.
        classes: the model's, in its order.
        overwrite: replace `path`, and what an unfinished run has left beside it.
        run: what the run is; with it a journal is kept, and the run can be gone on with.
        resume: go on where an unfinished run has stopped; where there is none, begin.
        style: which rows there are, and how their cells are written.

    Raises:
        OutputError: another suffix; `path` exists, or rows of an unfinished run for it do, or rows of another run; its
            folder is not there or cannot be written to; another run writes it; .parquet without pyarrow.
    """
    suffix = suffix_of(path)
    if suffix not in SUFFIXES:
        found = repr(suffix) if suffix else "a name without a suffix"
        raise OutputError(f"{path}: expected one of {', '.join(SUFFIXES)} for results, found {found}")
    if suffix == ".parquet":
        pyarrow()
    try:
        if not path.parent.is_dir():
            raise OutputError(f"{path}: there is no folder {path.parent}; make it first")
        check_free(path, overwrite=overwrite or resume)
        held = lock(path)
        try:
            return _open(path, classes, held, overwrite, run, resume, style or RowStyle())
        except BaseException:
            held.release()
            raise
    except (OSError, ValueError) as error:  # ValueError: a name that no file system takes
        raise OutputError(f"{path}: cannot be written ({reason(error)})") from error


def _open(
    path: Path,
    classes: Sequence[str],
    held: Lock,
    overwrite: bool,
    run: About | None,
    resume: bool,
    style: RowStyle,
) -> ResultWriter:
    partial = partial_of(path)
    if resume and run is not None and partial.exists() and (journal_of(partial).exists() or partial.stat().st_size):
        journal = Journal.go_on(partial, run)
        file = partial.open("r+b")
        file.seek(0, os.SEEK_END)
        return ResultWriter(path, file, classes, held, journal, style)
    begins = resume and run is not None  # a kill came before there was anything to go on with
    _check_free(path, partial, overwrite, empty_is_free=begins)
    # The journal comes first: where a partial file is, it says of which run.
    journal = Journal.begin(partial, run) if run is not None else None
    file = partial.open("wb" if overwrite or begins else "xb")
    return ResultWriter(path, file, classes, held, journal, style)


def suffix_of(path: Path) -> str:
    """What the name ends in, in lower case: `.csv`, or `.csv.gz` with the suffix before."""
    last = path.suffix.lower()
    return Path(path.stem).suffix.lower() + last if last == PACKED else last


def partial_of(path: Path) -> Path:
    """Where the rows of an unfinished run into `path` are."""
    return path.with_name(path.name + ".partial")


def finished(path: Path, run: About) -> Position | None:
    """What a finished run into `path` came to; None if there is none, or an unfinished one.

    Raises:
        OutputError: it was another run, nobody knows which, or the file was changed since or cannot be read.
    """
    try:
        return journals.finished(path, partial_of(path), run)
    except (OSError, ValueError) as error:
        raise OutputError(f"{path}: cannot be read ({reason(error)})") from error


def _check_free(path: Path, partial: Path, overwrite: bool, *, empty_is_free: bool) -> None:
    check_free(path, overwrite=overwrite)
    if partial.exists() and not (overwrite or (empty_is_free and not partial.stat().st_size)):
        raise OutputError(
            f"{partial}: rows of a run that did not finish; go on with it, move them away, or replace them",
            Remedy.RESUME,
            Remedy.OVERWRITE,
        )


class ResultWriter:
    """Writes rows as they come, and the whole file at once; a context manager, made by `open_writer`.

    Every `write` reaches `NAME.partial` before it returns, and closing moves that file onto `NAME`: `NAME` is never
    half written. If the with-block ends in an error, or the program is killed, the rows so far are in `NAME.partial`.
    It has the format of `NAME`, but it is never packed, and has JSON lines for Parquet: what is packed, or a Parquet
    file, cannot be read, nor gone on with, before it is finished.
    With a journal, `done` says how far the run is, and a later run can go on from there.

    Attributes:
        path: where the rows will be.
        partial: where they are meanwhile.
        rows: how many have been written.
        items: how many items of the run are done; more than 0 at once if it goes on with another.
        begun: what had been done before, if it goes on with another.
        seen: digests of the files that were read before, where copies are left out.
        damage: what was found damaged and is read again, in words; else empty.
    """

    def __init__(
        self,
        path: Path,
        partial: BinaryIO,
        classes: Sequence[str],
        held: Lock,
        journal: Journal | None,
        style: RowStyle,
    ) -> None:
        self.begun = self._position = journal.position if journal else Position()
        self.seen, self.damage = (journal.seen, journal.damage) if journal else ((), "")
        self.path = path
        self.partial = Path(partial.name)
        self.rows, self.items = self.begun.rows, self.begun.items
        self._file, self._lock, self._style = partial, held, style
        self._journal = journal
        self._classes = tuple(classes)
        whole = suffix_of(path)
        self._suffix, self._packed = whole.removesuffix(PACKED), whole.endswith(PACKED)
        if self._suffix == ".csv" and not self.begun.size:
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
        rows = rows_of(item, self._style.no_face_rows)
        self._count(item)
        for row in rows:
            if row["probabilities"] is not None and tuple(row["probabilities"]) != self._classes:
                raise ValueError(f"expected the classes {self._classes}, got {tuple(row['probabilities'])}")
        if not rows:
            return
        if self._suffix == ".csv":
            cells = [list(flat(row, self._classes).values()) for row in rows]
            text = _csv_text([[as_text(cell) for cell in line] for line in cells] if self._style.spreadsheet else cells)
        else:
            text = "".join(map(json_line, rows))
        self._append(text)
        self.rows += len(rows)

    def _count(self, item: FrameReadings | Failure) -> None:
        at = self._position
        if isinstance(item, Failure):
            self._position = replace(at, failed=at.failed + 1)
        else:
            self._position = replace(at, pictures=at.pictures + 1, faces=at.faces + len(item.readings))

    def done(self, items: int, copies: int = 0, seen: Sequence[str] = ()) -> None:
        """Note that the first `items` items of the run are done, and all their rows written.

        Args:
            items: how many.
            copies: how many more of them were left out as copies, since the last note.
            seen: digests of the files among them that were read, since the last note.

        Raises:
            OutputError: the disk is full or gone; says which rows are kept, and where.
        """
        self.items = items
        self._position = replace(self._position, items=items, rows=self.rows, copies=self._position.copies + copies)
        if self._journal:
            try:
                if os.fstat(self._file.fileno()).st_nlink == 0:  # what is written there, nobody will find
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
                self._journal.note(self._position, self._file, seen)
            except OSError as error:
                raise self._failure(error) from error

    def close(self, error: BaseException | None = None) -> None:
        """Move the finished file to `path`; after an `error`, keep the rows in `partial`, and have the error say so.

        Raises:
            OutputError: it cannot be finished or moved; the rows are kept in `partial`.
        """
        if self._file.closed:
            return
        if error is not None:
            self._stop()
            note_kept(error, self.kept, *self._remedies)
            return
        try:
            os.fsync(self._file.fileno())
            self._file.close()
            if self._suffix == ".parquet":
                write_parquet(self.partial, self.path, self._classes)
            elif self._packed:
                write_gzip(self.partial, self.path)
            else:
                self.partial.replace(self.path)
            if self._journal:
                self._journal.finish(self.path, self.partial, replace(self._position, rows=self.rows))
            self.partial.unlink(missing_ok=True)
        except OSError as problem:
            raise self._failure(problem) from problem
        except OutputError as problem:
            self._stop()
            note_kept(problem, self.kept, *self._remedies)
            raise
        self._lock.release()

    @property
    def _remedies(self) -> tuple[Remedy, ...]:
        kept = self._journal and (self.rows or self.items) and self.partial.exists()
        return (Remedy.RESUME,) if kept else ()

    @property
    def kept(self) -> str:
        """Where the rows of an unfinished run are, in words."""
        if (self.rows or self.items) and not self.partial.exists():
            return f"nothing is kept: {self.partial} was removed meanwhile"
        if not self.rows:
            return f"no rows, but {self.items} items are done" if self._journal and self.items else "no rows are kept"
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
            data = utf8(text).encode()
            self._file.write(data)
            self._file.flush()
            at = self._position
            self._position = replace(at, size=at.size + len(data), crc=zlib.crc32(data, at.crc))
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> OutputError:
        self._stop()
        return OutputError(f"{self.path}: cannot be written ({reason(error)}); {self.kept}", *self._remedies)

    def _stop(self) -> None:
        """Close the partial file at the end of its last whole row; drop it if nothing is done."""
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            if self.rows or self.items:
                os.truncate(self.partial, self._position.size)
            else:
                self.partial.unlink()
                if self._journal:
                    self._journal.remove()
        if self._journal:
            with suppress(OSError):
                self._journal.close()
        self._lock.release()


def _csv_text(rows: Sequence[Sequence[Cell]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
