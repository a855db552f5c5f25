"""For people on Spark, Dask or Daft: a record batch of pictures in, a record batch of rows out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mien.batch import Job
from mien.detect import default_detector_name
from mien.distributed.shard import read_keys
from mien.distributed.sources import KEY_COLUMNS, PictureKey
from mien.distributed.work import recognizer_for
from mien.errors import MediaError
from mien.media import decode
from mien.output.parquet import arrow_rows, arrow_schema, pyarrow
from mien.output.rows import rows_of
from mien.pipeline import Recognizer
from mien.records import Failure, Frame

BYTES_COLUMNS = ("content", "bytes", "image", "data")
"""Columns that are taken for the pictures' own bytes, if they are binary."""

DEFAULT_JOB = Job("default", default_detector_name())


def batch_schema(job: Job = DEFAULT_JOB) -> Any:
    """The `pyarrow.Schema` of what `read_batch` returns."""
    return arrow_schema(recognizer_for(job).classes)


def read_batch(batch: Any, job: Job = DEFAULT_JOB) -> Any:
    """Rows of every face in a batch of pictures. The recognizer is made once in a process and uses one thread.

    Args:
        batch: a `pyarrow.RecordBatch` or `pyarrow.Table` with a column of paths or addresses (called as in
            `KEY_COLUMNS`), or of pictures (binary, called as in `BYTES_COLUMNS`), or both: then nothing is fetched,
            and the first names the second.
        job: how to read them.

    Returns:
        A `pyarrow.RecordBatch` of `batch_schema(job)`, a row a face, an error row for each picture that cannot be
        read. It may be longer or shorter than `batch`.

    Raises:
        MediaError: no such column. MienError: the model cannot be used, or a store does not answer.
    """
    recognizer = recognizer_for(job)
    names = next((batch.column(name).to_pylist() for name in KEY_COLUMNS if name in batch.schema.names), None)
    pictures = next((batch.column(name).to_pylist() for name in BYTES_COLUMNS if _is_binary(batch, name)), None)
    if names is None and pictures is None:
        raise MediaError(
            f"no column of pictures: expected one of {', '.join(KEY_COLUMNS)} with paths, or of "
            f"{', '.join(BYTES_COLUMNS)} with their bytes; found {', '.join(batch.schema.names)}"
        )
    if pictures is None:
        keys = [PictureKey(str(name)) if name else PictureKey("", -1, "a row without a key") for name in names or ()]
        results = read_keys(keys, recognizer, job)
    else:
        frames = _frames(names or [f"picture {number}" for number in range(len(pictures))], pictures, recognizer)
        results = recognizer.read_all(frames, ahead=False)
    rows = [row for result in results for row in rows_of(result)]
    return arrow_rows(rows, recognizer.classes)


def _frames(names: list[Any], pictures: list[bytes | None], recognizer: Recognizer) -> Iterator[Frame | Failure]:
    for name, data in zip(names, pictures, strict=True):
        index = 0
        try:
            for frame in decode(data or b"", str(name), recognizer.limits, recognizer.reduction):
                yield frame
                index += 1
        except MediaError as error:
            yield Failure(str(name), index, str(error))


def _is_binary(batch: Any, name: str) -> bool:
    if name not in batch.schema.names:
        return False
    kinds, kind = pyarrow().types, batch.schema.field(name).type
    return bool(kinds.is_binary(kind) or kinds.is_large_binary(kind))
