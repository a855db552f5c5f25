"""Labelled folders: DATA/<split>/<class>/picture, or DATA/<class>/picture for a set with one split."""

from __future__ import annotations

import csv
from pathlib import Path

from mien.dataset.labels import canonical, clashes
from mien.dataset.samples import SPLITS, Sample, Split
from mien.errors import DatasetError
from mien.media.image import IMAGE_SUFFIXES

VOTES_FILE = "votes.csv"
"""Beside the split folders: column `path` (relative to the data set), then one column of counts a class."""

SPLIT_ALIASES = {
    "val": "validation",
    "valid": "validation",
    "dev": "validation",
    "training": "train",
    "testing": "test",
}


def read_split(root: Path, split: str) -> Split:
    """Read one split of a labelled folder.

    Args:
        root: the data set; holds `<split>/<class>/` folders, or `<class>/` folders (then every split is the whole).
        split: "train", "validation" or "test".

    Raises:
        DatasetError: no such folder or split, a class folder without pictures, two folders for one class.
    """
    if split not in SPLITS:
        raise DatasetError(f"unknown split {split!r}: expected one of {', '.join(SPLITS)}")
    folder = split_folder(root, split)
    class_folders = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not class_folders:
        raise DatasetError(f"{folder}: expected one folder per class (happy/, sad/, ...), found none")
    for first, second in clashes(p.name for p in class_folders):
        raise DatasetError(f"{folder}: folders {first!r} and {second!r} both mean {canonical(first)!r}; merge them")
    votes = _read_votes(root / VOTES_FILE)
    samples: list[Sample] = []
    for class_folder in class_folders:
        found = [p for p in sorted(class_folder.rglob("*")) if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()]
        if not found:
            raise DatasetError(f"{class_folder}: no pictures in this class folder; add some or remove the folder")
        label = canonical(class_folder.name)
        samples += [Sample(p, label, votes.get(p.relative_to(root).as_posix(), {})) for p in found]
    return Split(root, split, tuple(sorted({s.label for s in samples})), tuple(samples))


def has_split(root: Path, split: str) -> bool:
    """Whether `root` holds its own folder for `split`."""
    return any((root / name).is_dir() for name in _names(split))


def split_folder(root: Path, split: str) -> Path:
    """The folder that holds `split`'s class folders: `root` itself for a set with one split.

    Raises:
        DatasetError: `root` is not a folder, or holds other splits and not this one.
    """
    if not root.is_dir():
        raise DatasetError(
            f"{root}: expected a folder of labelled pictures, found {'a file' if root.exists() else 'nothing'}"
        )
    for name in _names(split):
        if (root / name).is_dir():
            return root / name
    others = [s for s in SPLITS if has_split(root, s)]
    if others:
        raise DatasetError(f"{root}: no split {split!r} here, only {', '.join(others)}; name one with --split")
    return root


def _names(split: str) -> list[str]:
    return [split, *(alias for alias, name in SPLIT_ALIASES.items() if name == split)]


def _read_votes(path: Path) -> dict[str, dict[str, int]]:
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if "path" not in (rows.fieldnames or ()):
            raise DatasetError(f"{path}: expected a column 'path', found {', '.join(rows.fieldnames or ['nothing'])}")
        try:
            return {row.pop("path"): {canonical(k): int(v) for k, v in row.items()} for row in rows}
        except (TypeError, ValueError) as error:
            raise DatasetError(
                f"{path}, line {rows.line_num}: expected a whole number of votes per class ({error})"
            ) from error
