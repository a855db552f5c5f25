"""Readings -> files: JSON lines, CSV or Parquet, one row a face.

| Column | Meaning |
|---|---|
| source, frame, time_s | the picture, its frame from 0, and when that frame is shown (empty for a still) |
| face | the face's index in the frame, from 0 |
| track | in a video or animation: the id of the person, from 1 on, the same in every frame; empty for a still |
| box_xyxy: x1, y1, x2, y2 | pixels of the frame, 2 decimals |
| score, detector | the detector's confidence, and its name |
| landmarks_xy: left_eye_x ... right_mouth_y | pixels, 2 decimals; left and right are the picture's; may be empty |
| label, confidence | the most probable class, and its probability |
| probabilities: p_CLASS ... | a column a class, in the model's order, 6 decimals |
| error | why the picture could not be read: such a row has only source, frame and error |

JSON lines nest what belongs together (`box_xyxy`, `landmarks_xy`, `probabilities`); CSV (RFC 4180) and Parquet are
flat. A frame without a face has no row. Text is UTF-8; of a file name that is not, each odd byte is written as
`\\udcNN`. Nothing is put before a cell that begins with "=", "+", "-" or "@": open a CSV of strangers' file names as
text.
"""

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
from typing import Any, BinaryIO, TypedDict, cast

from mien.errors import MienError, OutputError
from mien.records import Failure, FrameReadings, Reading

SUFFIXES = (".jsonl", ".csv", ".parquet")
"""What `open_writer` writes."""

PARQUET_ROWS = 16_384
"""Rows in one Parquet row group: what is held in memory while the file is made."""

LANDMARK_NAMES = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
BOX_COLUMNS = ("x1", "y1", "x2", "y2")
_LANDMARK_COLUMNS = tuple(f"{name}_{axis}" for name in LANDMARK_NAMES for axis in "xy")

Cell = str | int | float | None


class Row(TypedDict):
    """One face, or one picture that failed (then all but `source`, `frame` and `error` is None), ready for JSON."""

    source: str
    frame: int
    time_s: float | None
    face: int | None
    track: int | None
    box_xyxy: list[float] | None
    score: float | None
    detector: str | None
    landmarks_xy: list[list[float]] | None
    label: str | None
    confidence: float | None
    probabilities: dict[str, float] | None
    error: str | None


def rows_of(item: FrameReadings | Failure) -> list[Row]:
    """One row a face, faces in the order of the readings; one row for a failure."""
    if isinstance(item, Failure):
        return [_error_row(item)]
    return [_row(index, reading) for index, reading in enumerate(item.readings)]


def json_line(row: Row) -> str:
    """The row as one line of JSON, with its line end; UTF-8 can encode it."""
    text = json.dumps(row, ensure_ascii=False)
    # Only a name that is not UTF-8 has lone surrogates; `\udcNN` is also how JSON escapes them, so they are read back.
    return _utf8(text) + "\n"


def open_writer(path: Path, classes: Sequence[str], *, overwrite: bool = False) -> ResultWriter:
    """Make a file of results; see `ResultWriter`.

    Args:
        path: ends in .jsonl, .csv or .parquet.
        classes: the model's, in its order.
        overwrite: replace `path`, and what an unfinished run has left beside it.

    Raises:
        OutputError: another suffix; `path` exists, or rows of an unfinished run for it do; its folder is not there or
            cannot be written to; .parquet without pyarrow.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        found = repr(suffix) if suffix else "a name without a suffix"
        raise OutputError(f"{path}: expected one of {', '.join(SUFFIXES)} for results, found {found}")
    if suffix == ".parquet":
        _pyarrow()
    partial = path.with_name(path.name + ".partial")
    try:
        _check_free(path, partial, overwrite)
        return ResultWriter(path, partial.open("wb" if overwrite else "xb"), classes)
    except (OSError, ValueError) as error:  # ValueError: a name that no file system takes
        raise OutputError(f"{path}: cannot be written ({getattr(error, 'strerror', None) or error})") from error


def _check_free(path: Path, partial: Path, overwrite: bool) -> None:
    if path.is_dir():
        raise OutputError(f"{path}: a folder; expected the name of a file")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: there is no folder {path.parent}; make it first")
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: exists already; choose another name, or replace it with --overwrite")
    if partial.exists() and not overwrite:
        raise OutputError(
            f"{partial}: rows of a run that did not finish; move them away, or drop them with --overwrite"
        )


class ResultWriter:
    """Writes rows as they come, and the whole file at once; a context manager, made by `open_writer`.

    Every `write` reaches `NAME.partial` before it returns, and closing moves that file onto `NAME`: `NAME` is never
    half written. If the with-block ends in an error, or the program is killed, the rows so far are in `NAME.partial`.
    It has the format of `NAME`, but JSON lines for Parquet: a Parquet file cannot be read before it is finished.

    Attributes:
        path: where the rows will be.
        partial: where they are meanwhile.
        rows: how many have been written.
    """

    def __init__(self, path: Path, partial: BinaryIO, classes: Sequence[str]) -> None:
        self.path = path
        self.partial = Path(partial.name)
        self.rows = 0
        self._file = partial
        self._classes = tuple(classes)
        self._suffix = path.suffix.lower()
        self._good_bytes = 0
        if self._suffix == ".csv":
            self._append(_csv_text([_columns(self._classes)]))

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
            text = _csv_text([list(_flat(row, self._classes).values()) for row in rows])
        else:
            text = "".join(map(json_line, rows))
        self._append(text)
        self.rows += len(rows)

    def close(self) -> None:
        """Move the finished file to `path`.

        Raises:
            OutputError: it cannot be finished or moved; the rows are kept in `partial`.
        """
        if self._file.closed:
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
        except OSError as error:
            raise self._failure(error) from error

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
        if error is None:
            self.close()
            return
        if not self._file.closed:
            self._stop()
            _note(error, self.kept)

    def _append(self, text: str) -> None:
        try:
            self._file.write(_utf8(text).encode())
            self._file.flush()
            self._good_bytes = self._file.tell()
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> OutputError:
        self._stop()
        return OutputError(f"{self.path}: cannot be written ({error.strerror or error}); {self.kept}")

    def _stop(self) -> None:
        """Close the partial file at the end of its last whole row; drop it if it has none."""
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            if self.rows:
                os.truncate(self.partial, self._good_bytes)
            else:
                self.partial.unlink()


def _row(index: int, reading: Reading) -> Row:
    face, expression = reading.face, reading.expression
    return {
        "source": reading.source,
        "frame": reading.frame,
        "time_s": None if reading.time_s is None else round(reading.time_s, 3),
        "face": index,
        "track": reading.track,
        "box_xyxy": [_rounded(value, 2) for value in face.box_xyxy],
        "score": _rounded(face.score, 6),
        "detector": face.detector,
        "landmarks_xy": [[_rounded(x, 2), _rounded(y, 2)] for x, y in face.landmarks_xy] if face.landmarks_xy else None,
        "label": expression.label,
        "confidence": _rounded(expression.confidence, 6),
        "probabilities": {name: _rounded(value, 6) for name, value in expression.as_dict().items()},
        "error": None,
    }


def _error_row(failure: Failure) -> Row:
    return {
        "source": failure.source,
        "frame": failure.frame,
        "time_s": None,
        "face": None,
        "track": None,
        "box_xyxy": None,
        "score": None,
        "detector": None,
        "landmarks_xy": None,
        "label": None,
        "confidence": None,
        "probabilities": None,
        "error": failure.message,
    }


def _rounded(value: float, digits: int) -> float:
    return round(float(value), digits) + 0.0  # float(): NumPy's own are not JSON; + 0.0: no "-0.0"


def _columns(classes: Sequence[str]) -> list[str]:
    before = ["source", "frame", "time_s", "face", "track", *BOX_COLUMNS, "score", "detector", *_LANDMARK_COLUMNS]
    return [*before, "label", "confidence", *(f"p_{name}" for name in classes), "error"]


def _flat(row: Row, classes: Sequence[str]) -> dict[str, Cell]:
    """Column -> cell, in the order of `_columns`."""
    box, points, probabilities = row["box_xyxy"] or [], row["landmarks_xy"] or [], row["probabilities"] or {}
    cells: dict[str, Cell] = dict.fromkeys(_columns(classes))
    for name in ("source", "frame", "time_s", "face", "track", "score", "detector", "label", "confidence", "error"):
        cells[name] = row[name]
    cells.update(zip(BOX_COLUMNS, box, strict=False))
    cells.update(zip(_LANDMARK_COLUMNS, (value for point in points for value in point), strict=False))
    cells.update({f"p_{name}": value for name, value in probabilities.items()})
    return cells


def _csv_text(rows: Sequence[Sequence[Cell]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _note(error: BaseException, text: str) -> None:
    """Add to what the error says, and leave its type as it is."""
    if isinstance(error, MienError):
        error.args = (f"{error}; {text}",)
    elif hasattr(error, "add_note"):  # Python 3.11
        cast(Any, error).add_note(text)


def _pyarrow() -> tuple[Any, Any]:
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError:
        raise OutputError(
            "a .parquet file needs pyarrow: pip install 'mien[parquet]' (.jsonl and .csv need nothing)"
        ) from None


def _make_parquet(lines: Path, target: Path, classes: Sequence[str]) -> None:
    arrow, parquet = _pyarrow()
    kinds = dict.fromkeys(_columns(classes), arrow.float64())
    kinds |= dict.fromkeys(("source", "detector", "label", "error"), arrow.string())
    kinds |= dict.fromkeys(("frame", "face", "track"), arrow.int64())
    schema = arrow.schema(list(kinds.items()))
    unfinished = target.with_name(target.name + ".unfinished")
    try:
        with lines.open("rb") as file, unfinished.open("wb") as out:
            with parquet.ParquetWriter(out, schema) as writer:
                while rows := [_flat(json.loads(line), classes) for line in islice(file, PARQUET_ROWS)]:
                    writer.write_table(arrow.Table.from_pylist([_encodable(row) for row in rows], schema))
            out.flush()
            os.fsync(out.fileno())
        unfinished.replace(target)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _encodable(cells: dict[str, Cell]) -> dict[str, Cell]:
    return {name: _utf8(cell) if isinstance(cell, str) else cell for name, cell in cells.items()}
