"""`fer2013.csv` (and FER+'s `fer2013new.csv`) -> labelled folders.

The two files are read as their publishers distribute them: `emotion,pixels,Usage` with the class as an index into
`FER2013_ORDER`, and FER+'s vote counts in the same row order.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.dataset.folders import VOTES_FILE
from mien.dataset.labels import canonical
from mien.errors import DatasetError

FER2013_ORDER = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""Meaning of 0..6 in the column `emotion`; not alphabetical, which is why mien carries names."""

USAGE_SPLIT = {"Training": "train", "PublicTest": "validation", "PrivateTest": "test"}

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
    progress: Callable[[int], None] = lambda done: None,
    classes: Sequence[str] | None = None,
    by_votes: bool = False,
) -> ImportReport:
    """Write `out/<split>/<class>/ferNNNNNNN.png`, and `out/votes.csv` when FER+'s file is given.

    Args:
        pixels_csv: `fer2013.csv`.
        out: folder to make; pictures already there are written again.
        votes_csv: FER+'s `fer2013new.csv`: same rows in the same order.
        progress: called with the number of rows done.
        classes: the only ones written; rows of other classes are passed over. None: all.
        by_votes: the class is FER+'s, one of eight, by the majority of the votes: see `majority`.

    Returns:
        counts per split and class; a row that cannot be read is left out and named in `failed`.

    Raises:
        DatasetError: a file is missing, lacks a column, or the two files do not belong together; an unknown class;
            `by_votes` without votes.
    """
    if by_votes and not votes_csv:
        raise DatasetError(f"{pixels_csv}: classes by votes need FER+'s fer2013new.csv; give it with --votes")
    report, wanted = ImportReport(), _wanted(classes, FER_PLUS_CLASSES if by_votes else FER2013_ORDER)
    votes_rows: list[list[str]] = []
    seen: set[Path] = set()
    pairs = zip_longest(_rows(pixels_csv, ("emotion", "pixels", "Usage")), _votes(votes_csv))
    for index, (row, votes) in enumerate(pairs):
        if row is None or (votes_csv and votes is None):
            raise DatasetError(
                f"{pixels_csv} and {votes_csv} differ in their number of rows; use the pair that belongs together"
            )
        try:
            label, split, image = _parse(row)
            if by_votes and votes:
                label = majority({_vote_name(c): int(votes[c] or 0) for c in VOTE_COLUMNS})
        except ValueError as error:
            report.failed.append(f"{pixels_csv}, row {index + 1}: {error}")
            continue
        if label is None or label not in wanted:
            report.undecided += label is None
            continue
        name = (votes or {}).get("Image name") or f"fer{index:07d}.png"
        target = out / split / label / Path(name).name
        if target in seen:  # FER+ gives a few names twice
            target = target.with_name(f"{target.stem}-{index}{target.suffix}")
        seen.add(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(target)
        report.written[split, label] += 1
        if votes:
            votes_rows.append([target.relative_to(out).as_posix(), *(votes[c] or "0" for c in VOTE_COLUMNS)])
        progress(index + 1)
    if not report.written:
        raise DatasetError(f"{pixels_csv}: no usable row ({len(report.failed)} failed)")
    if votes_csv:
        report.with_votes = len(votes_rows)
        _write_votes(out / VOTES_FILE, votes_rows)
    return report


def majority(votes: Mapping[str, int]) -> str | None:
    """The class of FER+ that more than half of the votes name, or None (Barsoum et al., arXiv 1608.01041).

    As in its authors' evaluation, a class that a single annotator chose does not count, and a picture whose majority
    takes it for no face, or does not know, has no class.

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


def _vote_name(column: str) -> str:
    return NOT_A_FACE if column == "NF" else canonical(column)


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[dict[str, str]]:
    if not path.is_file():
        raise DatasetError(f"{path}: no such file")
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        missing = [c for c in columns if c not in (rows.fieldnames or ())]
        if missing:
            raise DatasetError(
                f"{path}: no column {', '.join(missing)}; found {', '.join(rows.fieldnames or ['nothing'])}"
            )
        yield from rows


def _votes(path: Path | None) -> Iterator[dict[str, str]]:
    if path is not None:
        yield from _rows(path, ("Usage", "Image name", *VOTE_COLUMNS))


def _parse(row: dict[str, str]) -> tuple[str | None, str, NDArray[np.uint8]]:
    emotion, usage = row["emotion"], row["Usage"]
    if not (emotion.isdigit() and int(emotion) < len(FER2013_ORDER)):
        raise ValueError(f"column emotion: expected 0..{len(FER2013_ORDER) - 1}, found {emotion!r}")
    if usage not in USAGE_SPLIT:
        raise ValueError(f"column Usage: expected one of {', '.join(USAGE_SPLIT)}, found {usage!r}")
    values = np.array(row["pixels"].split(), dtype=np.int64)
    if values.size != SIDE_PX**2 or values.min() < 0 or values.max() > 255:
        raise ValueError(f"column pixels: expected {SIDE_PX**2} values of 0..255, found {values.size} values")
    return FER2013_ORDER[int(emotion)], USAGE_SPLIT[usage], values.astype(np.uint8).reshape(SIDE_PX, SIDE_PX)


def _write_votes(path: Path, rows: list[list[str]]) -> None:
    names = [_vote_name(c) for c in VOTE_COLUMNS]
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["path", *names], *rows])
    temporary.replace(path)
