"""`fer2013.csv` (and FER+'s `fer2013new.csv`) -> labeled folders.

The two files are read as their publishers distribute them. Columns `emotion`, `pixels` and `Usage` come in any order,
and the class is an index into `FER2013_ORDER` or a name. FER+'s vote counts have the same row order.
"""

from __future__ import annotations

import csv
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.dataset.csv_rows import CsvRows, DamagedRow, Row, shown
from mien.dataset.folders import VOTES_FILE
from mien.dataset.labels import canonical, vote_count
from mien.dataset.samples import SPLITS
from mien.dataset.split_names import split_named
from mien.errors import DatasetError, Remedy, note_kept
from mien.files import make_folder, partial_folder, replacing
from mien.locks import LOCK, locked
from mien.progress import SILENT, Progress

FER2013_ORDER = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""Meaning of 0..6 in the column `emotion`; not alphabetical, which is why mien carries names."""

COLUMNS = ("emotion", "pixels", "Usage")

NAMED = 3
"""So many bad rows are named where none is usable."""

SIDE_PX = 48
VOTE_COLUMNS = (
    "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF",
)  # fmt: skip
NOT_A_FACE = "not_a_face"
FER_PLUS_CLASSES = tuple(sorted([*FER2013_ORDER, "contempt"]))


@dataclass(slots=True)
class ImportReport:
    """What `import_fer2013` did: pictures written per (split, class), and each bad row with its reason.

    `undecided` counts the pictures that were left out because no class has the majority of the votes.
    """

    written: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    with_votes: int = 0
    failed: list[str] = field(default_factory=list[str])
    undecided: int = 0


def import_fer2013(
    pixels_csv: Path,
    out: Path,
    votes_csv: Path | None = None,
    progress: Progress = SILENT,
    classes: Sequence[str] | None = None,
    by_votes: bool = False,
    *,
    overwrite: bool = False,
) -> ImportReport:
    """Write `out/<split>/<class>/ferNNNNNNN.png`, and `out/votes.csv` when FER+'s file is given.

    All is written beside `out` first and moved there when it is whole.

    Args:
        pixels_csv: `fer2013.csv`; without a header its three columns are told by what they hold.
        out: folder to make.
        votes_csv: FER+'s `fer2013new.csv`: same rows in the same order.
        progress: is told the number of rows done.
        classes: the only ones written; rows of other classes are passed over. None: all.
        by_votes: the class is FER+'s, one of eight, by the majority of the votes: see `majority`.
        overwrite: replace the splits and votes that `out` holds.

    Returns:
        counts per split and class; a row that cannot be read is left out and named in `failed`.

    Raises:
        DatasetError: a file is missing, lacks a column, or the two files do not belong together; an unknown class;
            `by_votes` without votes; `out` holds a data set already; the disk is full.
    """
    if by_votes and not votes_csv:
        raise DatasetError(f"{pixels_csv}: classes by votes need FER+'s fer2013new.csv; give it, too", Remedy.VOTES)
    wanted = _wanted(classes, FER_PLUS_CLASSES if by_votes else FER2013_ORDER)
    make_folder(out.parent, DatasetError)
    with locked(out, DatasetError):
        held = _held(out)
        if held and not overwrite:
            raise DatasetError(
                f"{out}: holds a data set already ({', '.join(p.name for p in held)}); choose another folder, or "
                "replace it",
                Remedy.OVERWRITE,
            )
        with partial_folder(out, DatasetError) as begun:
            try:
                report = _Import(pixels_csv, votes_csv, begun, wanted, by_votes).run(progress)
            except KeyboardInterrupt as stopped:
                found = "what it held is untouched" if held else "nothing is there"
                note_kept(stopped, f"{out} is filled when every row is read, so {found}; the same command begins anew")
                raise
            _replace(out, begun, held)
    return report


def _replace(out: Path, begun: Path, held: Sequence[Path]) -> None:
    """Put what was made in the place of what is held."""
    for old in held:
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    out.mkdir(exist_ok=True)
    for made in sorted(begun.iterdir()):
        if made.name != LOCK:
            made.rename(out / made.name)


def _held(out: Path) -> list[Path]:
    """What an import would write anew in `out`, and is there."""
    if out.exists() and not out.is_dir():
        raise DatasetError(f"{out}: expected a folder to make, found a file")
    return [p for p in (out / name for name in (*SPLITS, VOTES_FILE)) if p.exists()]


class _Import:
    """One import, row by row."""

    def __init__(self, pixels_csv: Path, votes_csv: Path | None, out: Path, wanted: set[str], by_votes: bool) -> None:
        self.pixels_csv, self.votes_csv, self.out = pixels_csv, votes_csv, out
        self.wanted, self.by_votes = wanted, by_votes
        self.report = ImportReport()
        self._votes_rows: list[list[str]] = []
        self._seen: set[Path] = set()
        self._number = -1

    def run(self, progress: Progress) -> ImportReport:
        for index, (row, votes) in enumerate(zip_longest(_pixel_rows(self.pixels_csv), _votes(self.votes_csv))):
            if self.votes_csv and (row is None or votes is None):
                raise DatasetError(
                    f"{self.pixels_csv} and {self.votes_csv} differ in their number of rows; use the pair that belongs "
                    "together"
                )
            self._check_order(index, row, votes)
            try:
                self._add(index, row, votes)
            except ValueError as error:
                self.report.failed.append(f"{self.pixels_csv}, row {index + 1}: {error}")
            progress.update("importing", index + 1)
        if not self.report.written:
            failed = self.report.failed
            named = "".join(f"; {line.removeprefix(f'{self.pixels_csv}, ')}" for line in failed[:NAMED])
            raise DatasetError(f"{self.pixels_csv}: no usable row ({len(failed)} failed{named})")
        if self.votes_csv:
            self.report.with_votes = len(self._votes_rows)
            _write_votes(self.out / VOTES_FILE, self._votes_rows)
        return self.report

    def _add(self, index: int, row: Row | DamagedRow | None, votes: Row | DamagedRow | None) -> None:
        for each in (row, votes):
            if isinstance(each, DamagedRow):
                raise each
        assert isinstance(row, dict)
        assert not isinstance(votes, DamagedRow)
        label, split, image = _parse(row)
        counts = {_vote_name(c): _vote_count(c, votes[c]) for c in VOTE_COLUMNS} if votes else {}
        if self.by_votes and votes:
            label = majority(counts)
        if label is None or label not in self.wanted:
            self.report.undecided += label is None
            return
        name = (votes or {}).get("Image name") or f"fer{index:07d}.png"
        target = self.out / split / label / Path(name).name
        if target in self._seen:  # FER+ gives a few names twice
            target = target.with_name(f"{target.stem}-{index}{target.suffix}")
        self._seen.add(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(target)
        self.report.written[split, label] += 1
        if votes:
            path = target.relative_to(self.out).as_posix()
            self._votes_rows.append([path, *(str(count) for count in counts.values())])

    def _check_order(self, index: int, row: Row | DamagedRow | None, votes: Row | DamagedRow | None) -> None:
        """Votes are joined by position: refuse them at the first row that contradicts it."""
        if not isinstance(row, dict) or not isinstance(votes, dict):
            return
        advice = "the votes are of other pictures, or in another order; use the pair that belongs together"
        usage, other = row["Usage"], votes["Usage"]
        if split_named(usage) != split_named(other):
            raise DatasetError(
                f"row {index + 1}: Usage is {shown(usage)} in {self.pixels_csv} and {shown(other)} in "
                f"{self.votes_csv}: {advice}"
            )
        if (number := _FER_NAME.fullmatch(votes["Image name"])) and number[0] not in _GIVEN_TWICE:
            if int(number[1]) < self._number:
                raise DatasetError(
                    f"{self.votes_csv}, row {index + 1}: picture {votes['Image name']} after number {self._number}: "
                    f"{advice}"
                )
            self._number = int(number[1])


_FER_NAME = re.compile(r"fer(\d{7})\.png")
"""FER+ numbers the pictures in the order of `fer2013.csv`."""

_GIVEN_TWICE = frozenset({"fer0006953.png", "fer0008403.png", "fer0011785.png"})
"""Names that FER+'s published file gives to a second picture, too, out of the order of all others."""


def majority(votes: Mapping[str, int]) -> str | None:
    """The class of FER+ that more than half of the votes name, or None (Barsoum et al., arXiv 1608.01041).

    As in its authors' evaluation, a class that a single annotator chose does not count. A picture whose majority takes
    it for no face, or does not know, has no class.

    Args:
        votes: of each of `FER_PLUS_CLASSES`, unknown, and not_a_face.
    """
    counted = {name: count for name, count in votes.items() if count > 1}
    name = max(counted, key=lambda name: counted[name], default="")
    decided = name in FER_PLUS_CLASSES and 2 * counted[name] > sum(counted.values())
    return name if decided else None


def _wanted(classes: Sequence[str] | None, known: Sequence[str]) -> set[str]:
    wanted = {canonical(c) for c in (known if classes is None else classes)}
    unknown = sorted(wanted - set(known))
    if unknown or not wanted:
        raise DatasetError(f"no class {', '.join(unknown)!r} there: there are {', '.join(sorted(known))}")
    return wanted


def _vote_count(column: str, cell: str) -> int:
    try:
        return vote_count(cell)
    except ValueError as error:
        raise ValueError(f"column {column}: {error}") from None


def _vote_name(column: str) -> str:
    return NOT_A_FACE if column == "NF" else canonical(column)


def _pixel_rows(path: Path) -> Iterator[Row | DamagedRow]:
    rows = CsvRows(path, COLUMNS)
    names = _columns_by_content(rows.first) if len(rows.missing) == len(COLUMNS) else None
    if names:
        yield rows.name_columns(names)
    rows.require()
    yield from rows


def _columns_by_content(cells: Sequence[str]) -> list[str] | None:
    """The columns of a file without a header, by its first row; None if they cannot be told."""
    names: list[str] = []
    for cell in (cell.strip() for cell in cells):
        if len(cell.split()) == SIDE_PX**2:
            names.append("pixels")
        elif split_named(cell):
            names.append("Usage")
        else:
            names.append("emotion" if _label(cell) else "")
    return names if all(names.count(column) == 1 for column in COLUMNS) else None


def _votes(path: Path | None) -> Iterator[Row | DamagedRow]:
    if path is not None:
        rows = CsvRows(path, ("Usage", "Image name", *VOTE_COLUMNS))
        rows.require()
        yield from rows


def _label(emotion: str) -> str | None:
    """The class that a cell means: a number of `FER2013_ORDER`, or a name in any spelling."""
    if emotion.isascii() and emotion.isdigit():
        return FER2013_ORDER[int(emotion)] if int(emotion[:4]) < len(FER2013_ORDER) else None
    return label if (label := canonical(emotion)) in FER_PLUS_CLASSES else None


def _parse(row: Row) -> tuple[str, str, NDArray[np.uint8]]:
    label, split = _label(row["emotion"]), split_named(row["Usage"])
    if label is None:
        raise ValueError(
            f"column emotion: expected 0..{len(FER2013_ORDER) - 1}, found {shown(row['emotion'])}; a class's name "
            "will do too"
        )
    if split is None:
        raise ValueError(
            f"column Usage: expected one of Training, PublicTest, PrivateTest, found {shown(row['Usage'])}"
        )
    cells = row["pixels"].split()
    try:
        values = np.array(cells, dtype=np.int64)
    except (ValueError, OverflowError):
        raise ValueError("column pixels: expected whole numbers, found " + shown(row["pixels"])) from None
    if values.size != SIDE_PX**2 or values.min() < 0 or values.max() > 255:
        raise ValueError(f"column pixels: expected {SIDE_PX**2} values of 0..255, found {values.size} values")
    return label, split, values.astype(np.uint8).reshape(SIDE_PX, SIDE_PX)


def _write_votes(path: Path, rows: list[list[str]]) -> None:
    names = [_vote_name(c) for c in VOTE_COLUMNS]
    with replacing(path, DatasetError) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["path", *names], *rows])
