"""Rows as Arrow's columns, for Parquet files and for whoever works with Arrow."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

from mien.errors import OutputError
from mien.files import replacing
from mien.output.rows import Cell, Row, columns, flat, utf8

PARQUET_ROWS = 16_384
"""Rows in one Parquet row group: what is held in memory while the file is made."""


def pyarrow() -> Any:
    """The package.

    Raises:
        OutputError: it is not installed.
    """
    try:
        return import_module("pyarrow")
    except ImportError:
        raise OutputError(
            "a .parquet file needs pyarrow: pip install 'mien[parquet]' (.jsonl and .csv need nothing)"
        ) from None


def arrow_schema(classes: Sequence[str]) -> Any:
    """The `pyarrow.Schema` of rows over these classes: the columns of `mien.output.rows.columns`."""
    arrow = pyarrow()
    kinds = dict.fromkeys(columns(classes), arrow.float64())
    kinds |= {name: arrow.string() for name in ("source", "detector", "label", "error", "answer", "note")}
    kinds |= {name: arrow.int64() for name in ("frame", "face", "track", "unsure")}
    return arrow.schema(list(kinds.items()))


def arrow_rows(rows: Sequence[Row], classes: Sequence[str]) -> Any:
    """The rows as one `pyarrow.RecordBatch` of `arrow_schema(classes)`."""
    cells = [_encodable(flat(row, classes)) for row in rows]
    return pyarrow().RecordBatch.from_pylist(cells, schema=arrow_schema(classes))


def _encodable(cells: dict[str, Cell]) -> dict[str, Cell]:
    return {name: utf8(cell) if isinstance(cell, str) else cell for name, cell in cells.items()}


def write_parquet(lines: Path, target: Path, classes: Sequence[str]) -> None:
    """Write the rows of a file of JSON lines as Parquet; see `mien.files.replacing`."""
    parquet: Any = import_module("pyarrow.parquet")
    with (
        replacing(target) as temporary,
        lines.open("rb") as file,
        temporary.open("wb") as out,
        parquet.ParquetWriter(out, arrow_schema(classes)) as writer,
    ):
        while rows := [json.loads(line) for line in islice(file, PARQUET_ROWS)]:
            writer.write_batch(arrow_rows(rows, classes))
