"""Readings -> rows, one a face: the same for JSON lines, CSV and Parquet.

| Column | Meaning |
|---|---|
| source, frame, time_s | the picture, its frame from 0, and when that frame is shown (empty for a still) |
| face | the face's index in the frame, from 0 |
| track | in a video or animation: the id of the face followed, from 1 on, the same in every frame; empty for a still |
| box_xyxy: x1, y1, x2, y2 | pixels of the frame, 2 decimals |
| score, detector | the detector's confidence, and its name |
| landmarks_xy: left_eye_x ... right_mouth_y | pixels, 2 decimals; left and right are the picture's; may be empty |
| label, confidence | the most probable class, and its probability |
| probabilities: p_CLASS ... | a column a class, in the model's order, 6 decimals |
| error | why the picture could not be read: such a row has only source, frame and error |
| answer | which of the model's answers this is: `people`, `fer2013`; empty where it has one without a name |
| disagreement | how much people would disagree, 0 to 1: the entropy of the probabilities, as a share of the most |
| unsure | 1 where the most probable class has less than half, so that most people would say otherwise; else 0 |
| note | what a reader must know of the picture: that it is truncated, or the first of several pages; else empty |

JSON lines nest what belongs together (`box_xyxy`, `landmarks_xy`, `probabilities`); CSV (RFC 4180) and Parquet are
flat. A picture or frame without a face has a row of `source`, `frame` and `time_s` alone where that is asked for: see
`rows_of`. Text is UTF-8; of a file name that is not, each odd byte is written as `\\udcNN`. A spreadsheet computes
cells that begin with "=", "+", "-" or "@": see `as_text`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal, TypedDict

from mien.records import Failure, FrameReadings, Reading

LANDMARK_NAMES = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
BOX_COLUMNS = ("x1", "y1", "x2", "y2")
_LANDMARK_COLUMNS = tuple(f"{name}_{axis}" for name in LANDMARK_NAMES for axis in "xy")

_ANSWER_COLUMNS: tuple[Literal["answer", "disagreement", "unsure", "note"], ...] = (
    "answer", "disagreement", "unsure", "note",
)  # fmt: skip
"""After all others: readers of before there were answers find theirs where they were."""

Cell = str | int | float | None


class Row(TypedDict):
    """One face, ready for JSON; of a picture without a face, or one that failed, most fields are None."""

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
    answer: str | None
    disagreement: float | None
    unsure: int | None
    note: str | None


def rows_of(item: FrameReadings | Failure, no_face_rows: bool | None = False) -> list[Row]:
    """One row a face, faces in the order of the readings; one row for a failure.

    Args:
        item: what was read.
        no_face_rows: whether a picture or frame without a face has a row; None: where it is part of a time series.
    """
    if isinstance(item, Failure):
        return [_row_without_face(item.source, item.frame, None, item.message, None)]
    frame = item.frame
    if not item.readings and (frame.time_s is not None if no_face_rows is None else no_face_rows):
        return [_row_without_face(frame.source, frame.index, frame.time_s, None, frame.note or None)]
    return [_row(index, reading, frame.note) for index, reading in enumerate(item.readings)]


def json_line(row: Row) -> str:
    """The row as one line of JSON, with its line end; UTF-8 can encode it, and a terminal shows it as it is.

    A name that is not UTF-8 has lone surrogates: JSON escapes them as `\\udcNN`, so that they are read back.
    """
    text = json.dumps(row, ensure_ascii=False)
    if not text.isprintable():
        text = "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
    return text + "\n"


def _row(index: int, reading: Reading, note: str) -> Row:
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
        "answer": expression.answer or None,
        "disagreement": _rounded(expression.disagreement, 6),
        "unsure": int(expression.unsure),
        "note": note or None,
    }


def _row_without_face(source: str, frame: int, time_s: float | None, error: str | None, note: str | None) -> Row:
    return {
        "source": source,
        "frame": frame,
        "time_s": None if time_s is None else round(time_s, 3),
        "face": None,
        "track": None,
        "box_xyxy": None,
        "score": None,
        "detector": None,
        "landmarks_xy": None,
        "label": None,
        "confidence": None,
        "probabilities": None,
        "error": error,
        "answer": None,
        "disagreement": None,
        "unsure": None,
        "note": note,
    }


def _rounded(value: float, digits: int) -> float:
    return round(float(value), digits) + 0.0  # float(): NumPy's own are not JSON; + 0.0: no "-0.0"


def columns(classes: Sequence[str]) -> list[str]:
    """The columns of CSV and Parquet, in order."""
    before = ["source", "frame", "time_s", "face", "track", *BOX_COLUMNS, "score", "detector", *_LANDMARK_COLUMNS]
    return [*before, "label", "confidence", *(f"p_{name}" for name in classes), "error", *_ANSWER_COLUMNS]


def flat(row: Row, classes: Sequence[str]) -> dict[str, Cell]:
    """Column -> cell, in the order of `columns`."""
    box, points, probabilities = row["box_xyxy"] or [], row["landmarks_xy"] or [], row["probabilities"] or {}
    cells: dict[str, Cell] = dict.fromkeys(columns(classes))
    for name in ("source", "frame", "time_s", "face", "track", "score", "detector", "label", "confidence", "error"):
        cells[name] = row[name]
    for name in _ANSWER_COLUMNS:
        cells[name] = row[name]
    cells.update(zip(BOX_COLUMNS, box, strict=False))
    cells.update(zip(_LANDMARK_COLUMNS, (value for point in points for value in point), strict=False))
    cells.update({f"p_{name}": value for name, value in probabilities.items()})
    return cells


def utf8(text: str) -> str:
    """The text with what UTF-8 cannot encode written as `\\udcNN`."""
    return text.encode("utf-8", "backslashreplace").decode()


def as_text(cell: Cell) -> Cell:
    """A cell that a spreadsheet takes for text: an apostrophe is put before what it would compute."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
