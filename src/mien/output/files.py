"""Check an output path before a long run starts."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

from mien.errors import OutputError, Remedy
from mien.files import is_stream, replacing


def check_free(path: Path, *, overwrite: bool) -> None:
    """Refuse a path that is taken; a pipe or device never is.

    Raises:
        OutputError: a folder is there, or a file that may not be replaced.
    """
    if path.is_dir():
        raise OutputError(f"{path}: a folder; expected the name of a file")
    if path.exists() and not overwrite and not is_stream(path):
        raise OutputError(f"{path}: exists already; choose another name, or replace it", Remedy.OVERWRITE)


def check_bundle_path(path: Path, *, overwrite: bool) -> None:
    """Refuse a path that is taken, or that is not a bundle's.

    Raises:
        OutputError: see `check_free`; a name that does not end in .onnx.
    """
    if path.suffix != ".onnx":
        raise OutputError(f"{path}: expected a name that ends in .onnx")
    check_free(path, overwrite=overwrite)


def write_gzip(rows: Path, target: Path) -> None:
    """Write the bytes of the file `rows` to `target`, packed with gzip; see `mien.files.replacing`."""
    with (
        replacing(target) as temporary,
        rows.open("rb") as file,
        temporary.open("wb") as out,
        gzip.GzipFile("", "wb", fileobj=out, mtime=0) as packed,  # the same rows give the same file
    ):
        shutil.copyfileobj(file, packed, 1 << 20)
