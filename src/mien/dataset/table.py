"""CSV data sets (`path,label[,split][,metadata...]`), lists of pictures to leave out, and one door to every layout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mien.dataset.csv_rows import CsvRows, DamagedRow, Row, shown
from mien.dataset.folders import has_split_folder, read_split, split_folder
from mien.dataset.labels import canonical, clashes
from mien.dataset.samples import ONE_SPLIT, SPLITS, Sample, Split
from mien.dataset.split_names import SPLIT_NAMES, known_split, split_named
from mien.errors import DatasetError, Remedy
from mien.files import real_path

NAMED = 5
"""At most this many missing pictures are named in an error."""


def open_dataset(path: Path, split: str) -> Split:
    """Read one split of a data set: a folder (`read_split`) or a CSV file (`read_table`).

    Raises:
        DatasetError: as these say; also a folder whose train and validation splits are the same folder.
    """
    if path.is_file():
        return read_table(path, split)
    found = read_split(path, split)
    if has_split(path, "train") and has_split(path, "validation"):
        train, validation = (split_folder(path, name).resolve() for name in ("train", "validation"))
        if train == validation:
            raise DatasetError(
                f"{path}: train and validation are the same folder ({train}); a model must not be measured on the "
                "pictures it was trained on"
            )
    return found


def has_split(path: Path, split: str) -> bool:
    """Whether a data set, a folder or a CSV file, has its own pictures for `split`."""
    if not path.is_file():
        return has_split_folder(path, split)
    rows = _rows(path, ("path", "label"))
    return any("split" in row and split_named(row["split"]) == known_split(split) for _, row in rows)


def open_splits(path: Path) -> list[Split]:
    """Every split of a data set, in the order of `SPLITS`; one called `ONE_SPLIT` when it is not divided.

    Raises:
        DatasetError: as `open_dataset`; also a CSV file with a value of `split` that means none.
    """
    if not path.is_file():
        names = [name for name in SPLITS if has_split(path, name)]
        return [open_dataset(path, name) for name in names] or [replace(read_split(path, "train"), name=ONE_SPLIT)]
    rows = _rows(path, ("path", "label"))
    if "split" not in rows[0][1]:
        return [replace(read_table(path, "train"), name=ONE_SPLIT)]
    for line, row in rows:
        if not any(_is_of(row, name) for name in SPLITS):
            raise DatasetError(
                f"{path}, line {line}: split {shown(row['split'])}: expected {', '.join(SPLITS)}, or "
                f"{', '.join(name for name in SPLIT_NAMES if name not in SPLITS)}"
            )
    return [read_table(path, name) for name in SPLITS if any(_is_of(row, name) for _, row in rows)]


def read_table(path: Path, split: str) -> Split:
    """Read a CSV data set: columns `path` (relative to the CSV) and `label`; the rest becomes the samples' metadata.

    With a column `split`, only the rows of the wanted split are taken; without one, every row is.

    Raises:
        DatasetError: a column is missing or empty, a picture is missing or listed twice, two labels mean one class, no
            row for the split. Each names the lines or pictures.
    """
    split = known_split(split)
    rows = _rows(path, ("path", "label"))
    for first, second in clashes(sorted({row["label"].strip() for _, row in rows})):
        raise DatasetError(f"{path}: labels {first!r} and {second!r} both mean {canonical(first)!r}; use one of them")
    chosen = [(line, row) for line, row in rows if _is_of(row, split)]
    if not chosen:
        has = sorted({shown(row["split"]) for _, row in rows if row.get("split")})[:NAMED]
        raise DatasetError(
            f"{path}: no row of split {split!r}" + (f", only {', '.join(has)}; name one of them" if has else ""),
            *((Remedy.SPLIT,) if has else ()),
        )
    samples: list[Sample] = []
    line_of: dict[Path, int] = {}
    for line, row in chosen:
        picture = path.parent / row["path"]
        if line_of.setdefault(picture, line) != line:
            raise DatasetError(f"{path}, line {line}: {row['path']} is listed already on line {line_of[picture]}")
        metadata = {k: v for k, v in row.items() if k not in ("path", "label", "split")}
        samples.append(Sample(picture, canonical(row["label"]), metadata=metadata))
    _refuse_missing(path, [(line, row["path"]) for line, row in chosen if not (path.parent / row["path"]).is_file()])
    return Split(path.parent, split, tuple(sorted({s.label for s in samples})), tuple(samples))


def training_split(path: Path, split: str) -> Split | None:
    """The training split that stands beside `split`, if the data set has one of its own.

    Raises:
        DatasetError: it has one, and it cannot be read.
    """
    if known_split(split) == "train":
        return None
    if not has_split(path, "train"):
        return None
    return read_table(path, "train") if path.is_file() else read_split(path, "train")


def exclude(split: Split, listing: Path) -> Split:
    """`split` without the pictures in the CSV `listing`: column `path`, relative to the data set or to the CSV.

    Pictures of other splits may be listed, and none at all. A link is not the picture it leads to: it is left out
    under its own name.

    Raises:
        DatasetError: no such column, a listed picture that does not exist, or nothing is left.
    """
    rows = _rows(listing, ("path",), may_be_empty=True)
    gone: set[Path] = set()
    missing: list[tuple[int, str]] = []
    for line, row in rows:
        found = [p for p in (split.root / row["path"], listing.parent / row["path"]) if p.is_file()]
        gone.update(_place(p) for p in found)
        if not found:
            missing.append((line, row["path"]))
    _refuse_missing(listing, missing)
    kept = tuple(s for s in split.samples if _place(s.path) not in gone)
    if not kept:
        raise DatasetError(f"{listing}: excludes every picture of split {split.name!r}; nothing is left")
    return replace(split, samples=kept)


def _place(path: Path) -> Path:
    """One name for each place in the file system; a link at the end is not followed."""
    return real_path(path.parent) / path.name


def _is_of(row: Row, split: str) -> bool:
    name = row.get("split")
    return name is None or split_named(name) == split


def _rows(path: Path, columns: tuple[str, ...], may_be_empty: bool = False) -> list[tuple[int, Row]]:
    """(line, row) of a CSV file; refuses missing columns, damaged rows and empty cells in `columns`."""
    file = CsvRows(path, (*columns, "split"))
    file.missing = [c for c in file.missing if c in columns]
    if "pixels" in (name.casefold() for name in file.names):
        file.remedy = "; bring fer2013.csv into folders with `mien data import`"
    file.require()
    rows: list[tuple[int, Row]] = []
    for row in file:
        if isinstance(row, DamagedRow):
            raise DatasetError(f"{path}, line {file.line}: {row}")
        empty = [c for c in columns if not row[c]]
        if empty:
            raise DatasetError(f"{path}, line {file.line}: column {', '.join(empty)} is empty")
        rows.append((file.line, row))
    if not rows and not may_be_empty:
        raise DatasetError(f"{path}: no rows under the header")
    return rows


def _refuse_missing(path: Path, missing: list[tuple[int, str]]) -> None:
    if missing:
        named = ", ".join(f"{name} (line {line})" for line, name in missing[:NAMED])
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        raise DatasetError(f"{path}: no such picture: {named}{more}; paths are relative to {path.parent or '.'}")
