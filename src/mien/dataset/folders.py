"""Labeled folders: DATA/<split>/<class>/picture, or DATA/<class>/picture for a set with one split."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from mien.dataset.csv_rows import CsvRows, DamagedRow
from mien.dataset.labels import canonical, clashes, vote_count
from mien.dataset.samples import SPLITS, Sample, Split
from mien.dataset.split_names import known_split, splits_among
from mien.errors import DatasetError, Remedy, reason
from mien.media.folder_walk import find_media

VOTES_FILE = "votes.csv"
"""Beside the split folders: column `path` (relative to the data set), then one column of counts a class."""


def read_split(root: Path, split: str) -> Split:
    """Read one split of a labeled folder.

    Args:
        root: the data set; holds `<split>/<class>/` folders, or `<class>/` folders (then every split is the whole).
        split: "train", "validation" or "test", or another name of `SPLIT_NAMES`.

    Raises:
        DatasetError: no such folder or split, a class folder without pictures or with folders of pictures, two folders
            for one class or split.
    """
    split = known_split(split)
    folder = split_folder(root, split)
    class_folders = _folders(folder)
    if not class_folders:
        raise DatasetError(f"{folder}: expected one folder per class (happy/, sad/, ...), found none")
    for first, second in clashes(p.name for p in class_folders):
        raise DatasetError(f"{folder}: folders {first!r} and {second!r} both mean {canonical(first)!r}; merge them")
    votes = _read_votes(root / VOTES_FILE)
    samples: list[Sample] = []
    passed_over: Counter[str] = Counter()
    for class_folder in class_folders:
        pictures = _pictures(class_folder, passed_over)
        label = canonical(class_folder.name)
        samples += [Sample(p, label, votes.get(p.relative_to(root).as_posix(), {})) for p in pictures]
    if votes and not any(s.votes for s in samples) and not any((root / name).is_file() for name in votes):
        raise DatasetError(
            f"{root / VOTES_FILE}: names no picture that is here (its first is {next(iter(votes))[:100]!r}); expected "
            f"paths as seen from {root}, such as {samples[0].path.relative_to(root).as_posix()}"
        )
    return Split(root, split, tuple(sorted({s.label for s in samples})), tuple(samples), passed_over)


def has_split_folder(root: Path, split: str) -> bool:
    """Whether `root` holds its own folder for `split`."""
    return root.is_dir() and known_split(split) in splits_among(p.name for p in _folders(root))


def split_folder(root: Path, split: str) -> Path:
    """The folder that holds `split`'s class folders: `root` itself for a set with one split.

    Raises:
        DatasetError: `root` is not a folder, holds two folders for the split, or holds other splits and not this one.
    """
    split = known_split(split)
    if not root.is_dir():
        raise DatasetError(
            f"{root}: expected a folder of labeled pictures, found {'a file' if root.exists() else 'nothing'}"
        )
    found = splits_among(p.name for p in _folders(root))
    names = found.get(split, [])
    if len(names) > 1:
        raise DatasetError(f"{root}: folders {names[0]!r} and {names[1]!r} both mean split {split!r}; keep one of them")
    if names:
        return root / names[0]
    if found:
        raise DatasetError(f"{root}: no split {split!r} here, only {', '.join(found)}; name one of them", Remedy.SPLIT)
    return root


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    except OSError as error:
        raise DatasetError(f"{folder}: this folder cannot be searched ({reason(error)})") from error


def _pictures(class_folder: Path, passed_over: Counter[str]) -> list[Path]:
    found = find_media(class_folder, videos=False)
    if found.problems:
        raise DatasetError(found.problems[0][1])
    inner = sorted({p.relative_to(class_folder).parts[0] for p in found.pictures if p.parent != class_folder})
    if inner:
        raise DatasetError(
            f"{class_folder}: expected the pictures of one class, found folders of pictures ({', '.join(inner[:5])}): "
            f"it looks like a split. Splits are folders called {', '.join(SPLITS)}, or another usual name; move "
            "pictures that belong to one class up into its folder"
        )
    if not found.pictures:
        held = f", only {found.counted()}" if found.passed_over else ""
        raise DatasetError(f"{class_folder}: no pictures in this class folder{held}; add some or remove the folder")
    passed_over.update(found.passed_over)
    return found.pictures


def _read_votes(path: Path) -> dict[str, dict[str, int]]:
    if not path.exists():
        return {}
    rows = CsvRows(path, ("path",))
    rows.require()
    for first, second in clashes(rows.names):
        rows.close()
        raise DatasetError(f"{path}: columns {first!r} and {second!r} both mean {canonical(first)!r}; add them up")
    votes: dict[str, dict[str, int]] = {}
    try:
        for row in rows:
            if isinstance(row, DamagedRow):
                raise row
            path_of = row.pop("path").replace("\\", "/").removeprefix("./")
            if path_of in votes:
                raise ValueError(f"{path_of[:100]!r} stands there twice")
            votes[path_of] = {canonical(name): vote_count(count) for name, count in row.items()}
    except ValueError as error:
        rows.close()
        raise DatasetError(f"{path}, line {rows.line}: {error}") from error
    return votes
