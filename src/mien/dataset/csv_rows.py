"""The one reader of CSV files: tables of pictures, `fer2013.csv`, votes and lists.

Column names are found whatever their case and the blanks around them. Between cells stand commas, or semicolons or tabs
where only these make the columns that must be there; a first line `sep=;`, as for spreadsheets, says so. Cells lose the
blanks around them. A byte order mark is skipped, UTF-16 is told by it, a file packed with gzip is unpacked, and a line
that is not UTF-8 is taken for Windows-1252.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import BinaryIO, cast

from mien.errors import DatasetError, reason

MAX_LINE = 4_000_000
"""Longest line, in bytes: a picture of 48 x 48 takes 9,000. A longer one is no table, and would fill the memory."""

SEPARATORS = (",", ";", "\t")

SEPARATOR_LINE = re.compile(r"\s*sep=(.)\s*", re.IGNORECASE)

SHOWN = 60
"""Characters of a cell shown in a message."""

Row = dict[str, str]


class DamagedRow(ValueError):
    """One row that cannot be read; those around it can."""


class CsvRows:
    """The rows of one CSV file.

    Args:
        path: the file; it may be packed with gzip.
        columns: the names that must be there. Rows have them under exactly these names, other columns under their own.

    Raises:
        DatasetError: the file cannot be read, or a column is missing or there twice.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path = path
        self._lines = _Lines(path)
        self.line = 0
        self.remedy = ""
        """What to do where a column is missing."""
        try:
            lines = iter(self._lines)
            first = next(lines, "")
            told = SEPARATOR_LINE.fullmatch(first.strip("\r\n"))
            if told:
                first = next(lines, "")
            separator = told[1] if told else _separator(first, columns)
            self._reader = csv.reader(chain([first] if first else [], lines), delimiter=separator)
            header = next(self._reader, list[str]())
        except (csv.Error, DamagedRow) as error:
            self.close()
            raise DatasetError(f"{path}: cannot be read as a CSV file ({error})") from error
        self.first = header
        self.names = [_column(name, columns) for name in header]
        self.missing = [column for column in columns if column not in self.names]
        twice = [name for name in dict.fromkeys(self.names) if name and self.names.count(name) > 1]
        if twice:
            self.close()
            raise DatasetError(f"{path}: column {shown(twice[0])} is there twice; remove one")

    def require(self) -> None:
        """Refuse a file without the columns that must be there."""
        if self.missing:
            self.close()
            if any("\0" in name for name in self.first):
                wanted = ", ".join(self.missing)
                raise DatasetError(f"{self.path}: no text; expected a CSV file with the columns {wanted}{self.remedy}")
            found = ", ".join(shown(name) for name in self.names[:12]) or "nothing"
            more = f" and {len(self.names) - 12} more" if len(self.names) > 12 else ""
            raise DatasetError(f"{self.path}: no column {', '.join(self.missing)}; found {found}{more}{self.remedy}")

    def name_columns(self, names: Sequence[str]) -> Row:
        """Call the columns so, in a file without a header; returns its first row."""
        self.names, self.missing = list(names), []
        self.line = self._reader.line_num
        return self._row(self.first)

    def __iter__(self) -> Iterator[Row | DamagedRow]:
        with closing(self):
            while True:
                self.line = self._lines.number + 1
                try:
                    cells = next(self._reader)
                    self.line = self._lines.number
                    if cells:  # an empty line
                        yield self._row(cells)
                except StopIteration:
                    return
                except (csv.Error, DamagedRow) as error:
                    yield DamagedRow(str(error))
                    if self._lines.ended:
                        return

    def close(self) -> None:
        """Close the file."""
        self._lines.close()

    def _row(self, cells: list[str]) -> Row:
        if len(cells) > len(self.names) and any(cell.strip() for cell in cells[len(self.names) :]):
            raise DamagedRow(f"expected {len(self.names)} cells, found {len(cells)}; put quotes around one with commas")
        padded = cells + [""] * (len(self.names) - len(cells))
        return {name: cell.strip() for name, cell in zip(self.names, padded, strict=False)}


class _Lines:
    """Lines of text; `ended` once nothing more can be read."""

    def __init__(self, path: Path) -> None:
        self.number, self.ended = 0, False
        self._path = path
        try:
            raw = path.open("rb")
        except FileNotFoundError:
            raise DatasetError(f"{path}: no such file") from None
        except OSError as error:
            raise DatasetError(f"{path}: cannot be read as a CSV file ({reason(error)})") from error
        head = raw.peek(4)[:4]
        self._raw = raw
        self._file: BinaryIO | _Utf16 = raw
        if head.startswith(b"\x1f\x8b"):
            self._file = cast("BinaryIO", gzip.GzipFile(fileobj=raw))
        elif head.startswith((b"\xff\xfe", b"\xfe\xff")):
            self._file = _Utf16(raw)

    def __iter__(self) -> Iterator[str]:
        while True:
            try:
                line = self._file.readline(MAX_LINE)
            except (OSError, EOFError, zlib.error) as error:
                self.ended = True
                raise DamagedRow(f"the file is truncated or damaged from here on ({error})") from error
            if not line:
                self.ended = True
                return
            if len(line) >= MAX_LINE:
                self.ended = True
                raise DamagedRow(f"a line of more than {MAX_LINE:,} bytes; expected the rows of a table")
            self.number += 1
            yield _text(line.removeprefix(b"\xef\xbb\xbf") if self.number == 1 else line)

    def close(self) -> None:
        self._file.close()
        self._raw.close()


class _Utf16:
    """Lines of a file in UTF-16, as spreadsheets write "Unicode text", in UTF-8."""

    def __init__(self, raw: BinaryIO) -> None:
        self._text = io.TextIOWrapper(raw, "utf-16", "replace", newline="")

    def readline(self, size: int) -> bytes:
        return self._text.readline(size).encode()

    def close(self) -> None:
        self._text.close()


def _separator(header: str, columns: Sequence[str]) -> str:
    """What stands between the cells: that with which the most of the columns are there, a comma if none is."""

    def there(separator: str) -> int:
        try:
            names = next(csv.reader([header], delimiter=separator), list[str]())
        except csv.Error:
            return 0
        return len({_column(name, columns) for name in names}.intersection(columns))

    return max(SEPARATORS, key=there)


def _text(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("cp1252", "replace")


def _column(name: str, columns: Sequence[str]) -> str:
    bare = name.strip().strip("\ufeff")
    return next((column for column in columns if column.casefold() == bare.casefold()), bare)


def shown(text: str) -> str:
    """Short text for a message: what came from a file may be long, and hold anything."""
    quoted = repr(text[: SHOWN + 1])
    return quoted if len(quoted) <= SHOWN + 2 else f"{quoted[: SHOWN - 3]}...{quoted[0]}"
