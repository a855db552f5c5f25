"""What is to be scored: the pictures of a folder, of an object store, or of a table of keys, one after the other.

Nothing is held: a hundred million keys pass through.
"""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from mien.distributed.listing import list_keys
from mien.distributed.object_store import ObjectStore
from mien.distributed.stores import is_url, open_store, split_url
from mien.errors import MediaError
from mien.media import IMAGE_SUFFIXES
from mien.media.folder_walk import counted, kind_by_name_or_content, walk_folder
from mien.output.parquet import pyarrow

TABLE_SUFFIXES = (".parquet", ".csv", ".csv.gz")
"""What is read as a table of keys."""

KEY_COLUMNS = ("key", "path", "url", "source", "file", "filename")
"""Columns that are taken for the keys where nobody names one."""

BATCH_ROWS = 16_384
"""Rows of a table read at once."""


class PictureKey(NamedTuple):
    """One picture to be: where it is, how large, or why it cannot be read. `size` is in bytes, -1 if nobody knows.

    A tuple: a plan makes a hundred million of them, and a dataclass takes four times as long to make.
    """

    source: str
    size: int = -1
    problem: str | None = None


def list_source(source: str, column: str | None = None) -> Iterator[PictureKey]:
    """Every key behind a source, in an order that is the same each time nothing has changed.

    Args:
        source: a folder; `s3://bucket/prefix`, or with gs or az; or a .parquet, .csv or .csv.gz file, of this machine
            or in an object store, with a column of paths and addresses. A relative one begins where the table lies.
        column: of the keys in a table; None: the only one, or the one that is called as in `KEY_COLUMNS`.

    Raises:
        MediaError: nothing is there, or no picture; a table without that column. StoreError: no answer from a store.
    """
    if source.lower().endswith(TABLE_SUFFIXES):
        yield from _in_table(source, column)
        return
    if column is not None:
        raise MediaError(
            f"{source}: only a table has a column ({column!r}); expected a name ending in .parquet, .csv or .csv.gz"
        )
    found = _in_bucket(source) if is_url(source) else _in_folder(source)
    first = next(found, None)
    if first is not None:
        yield first
        yield from found


def _in_folder(source: str) -> Iterator[PictureKey]:
    folder = Path(source)
    if "://" in source:
        raise MediaError(f"{source}: not an object store that is known; expected s3://, gs://, az:// or a folder")
    if not folder.is_dir():
        raise MediaError(f"{source}: no such folder; expected a folder, an object store's address, or a table of keys")
    problems: list[PictureKey] = []

    def note(error: OSError) -> None:
        where = str(error.filename)
        if where == str(folder):
            raise MediaError(f"{folder}: this folder cannot be searched ({error.strerror})") from error
        problems.append(PictureKey(where, -1, f"{where}: this folder cannot be searched ({error.strerror})"))

    found, passed_over = 0, Counter[str]()
    for path in walk_folder(folder, note):
        if kind_by_name_or_content(path):
            found += 1
            yield PictureKey(str(path))
        else:
            passed_over[path.suffix.lower() or "no suffix"] += 1
    yield from problems
    if not found and not problems:
        held = counted(passed_over) if passed_over else "nothing"
        raise MediaError(f"{folder}: no pictures or videos in this folder or below it; found {held}")


def _in_bucket(source: str) -> Iterator[PictureKey]:
    store = open_store(source.rstrip("/"))
    assert isinstance(store, ObjectStore)
    found = others = 0
    start, suffixes = f"{store.address}/", tuple(sorted(IMAGE_SUFFIXES))
    for page in list_keys(store, parallel=not source.startswith("az://")):
        keys = [PictureKey(start + name, size) for name, size in page if name.lower().endswith(suffixes)]
        found += len(keys)
        others += len(page) - len(keys)
        yield from keys
    if not found:
        raise MediaError(
            f"{source}: no pictures under this prefix; looked for {', '.join(sorted(IMAGE_SUFFIXES))}, and found "
            f"{others} other objects"
        )


def _in_table(source: str, column: str | None) -> Iterator[PictureKey]:
    row = 0
    for row, value in enumerate(_column(source, column), 1):
        if not value:
            yield PictureKey(f"{source}:{row}", -1, f"{source}: row {row} has no key")
        else:
            yield PictureKey(_resolved(str(value), source))
    if not row:
        raise MediaError(f"{source}: a table without rows; expected a key in each")


def _resolved(key: str, table: str) -> str:
    if "://" in key:
        return key
    if is_url(table):
        return f"{table.rpartition('/')[0]}/{key.lstrip('/')}"
    return str(Path(table).parent / key)


def _column(source: str, column: str | None) -> Iterator[Any]:
    pyarrow()  # says what to install
    try:
        file: Any = source
        if is_url(source):
            root, name = split_url(source)
            data = open_store(root).read(name)
            file = BytesIO(gzip.decompress(data) if source.lower().endswith(".gz") else data)
        if source.lower().endswith((".csv", ".csv.gz")):
            reader = _csv(file)
            wanted = _wanted(source, reader.schema.names, column)
            batches = (batch.column(wanted) for batch in reader)
        else:
            parquet: Any = import_module("pyarrow.parquet").ParquetFile(file)
            wanted = _wanted(source, parquet.schema_arrow.names, column)
            batches = (batch.column(0) for batch in parquet.iter_batches(BATCH_ROWS, columns=[wanted]))
        for batch in batches:
            yield from batch.to_pylist()
    except FileNotFoundError:
        raise MediaError(f"{source}: no such file") from None
    except (OSError, EOFError, zlib.error, ValueError) as error:  # pyarrow's own errors are ValueErrors
        raise MediaError(f"{source}: cannot be read as a table ({error})") from error


def _csv(file: Any) -> Any:
    """A reader of a CSV's rows whose cells are all text: a key that looks like a number stays as it is."""
    csv: Any = import_module("pyarrow.csv")
    arrow, parse = pyarrow(), csv.ParseOptions(newlines_in_values=True)
    names = csv.open_csv(file, parse_options=parse).schema.names
    if hasattr(file, "seek"):
        file.seek(0)
    text = csv.ConvertOptions(column_types=dict.fromkeys(names, arrow.string()), strings_can_be_null=True)
    return csv.open_csv(file, parse_options=parse, convert_options=text)


def _wanted(source: str, names: list[str], column: str | None) -> str:
    if column is not None:
        if column not in names:
            raise MediaError(f"{source}: no column {column!r}; there are {', '.join(names)}")
        return column
    if len(names) == 1:
        return names[0]
    known = [name for name in KEY_COLUMNS if name in names]
    if not known:
        raise MediaError(f"{source}: which column has the keys? There are {', '.join(names)}; name one")
    return known[0]
