"""Other names for a data set's labels: "0=angry,1=disgust", or a file that says so, in JSON or CSV."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

from mien.checked_json import strict_json
from mien.dataset.csv_rows import CsvRows, DamagedRow
from mien.dataset.labels import canonical
from mien.dataset.samples import Sample, Split
from mien.errors import DatasetError, reason

MAX_FILE_BYTES = 1_000_000
"""A larger file is no map of labels."""


def read_label_map(text: str) -> dict[str, str]:
    """Label in the data -> class, both as `canonical` spells them.

    Args:
        text: `happiness=happy,0=angry`, or the path of a JSON object or of a CSV file with the columns label and class.

    Raises:
        DatasetError: neither, an empty name, or one label twice.
    """
    if not text.strip():
        raise DatasetError("label map: it is empty; expected LABEL=CLASS,LABEL=CLASS, or a JSON or CSV file")
    path = Path(text)
    is_file = "=" not in text or path.is_file()
    pairs = _pairs_of_file(path) if is_file else [part.partition("=")[::2] for part in text.split(",") if part.strip()]
    found: dict[str, str] = {}
    for label, name in pairs:
        if not (label.strip() and name.strip()):
            raise DatasetError(f"label map: expected LABEL=CLASS, found {f'{label}={name}'[:60]!r}")
        if found.setdefault(canonical(label), canonical(name)) != canonical(name):
            raise DatasetError(f"label map: {label.strip()[:60]!r} has two classes; name it once")
    if not found:
        raise DatasetError("label map: it is empty; expected LABEL=CLASS,LABEL=CLASS, or a JSON or CSV file")
    return found


def relabeled(split: Split, names: Mapping[str, str]) -> Split:
    """The split with its labels, and those of its votes, called as the map says; others keep their names.

    Raises:
        DatasetError: the map names a label that the data does not have.
    """
    unknown = sorted(set(names) - set(split.classes) - {name for s in split.samples for name in s.votes})
    if unknown:
        raise DatasetError(
            f"{split.root}: no label {', '.join(unknown[:5])} in split {split.name!r}; it has "
            f"{', '.join(split.classes)}; correct the label map"
        )
    samples = tuple(_relabeled(sample, names) for sample in split.samples)
    return replace(split, samples=samples, classes=tuple(sorted({s.label for s in samples})))


def _relabeled(sample: Sample, names: Mapping[str, str]) -> Sample:
    votes: Counter[str] = Counter()
    for name, count in sample.votes.items():
        votes[names.get(name, name)] += count
    return replace(sample, label=names.get(sample.label, sample.label), votes=dict(votes))


def _pairs_of_file(path: Path) -> list[tuple[str, str]]:
    try:
        if path.stat().st_size > MAX_FILE_BYTES or not path.is_file():
            raise DatasetError(f"label map: {path}: expected a file in JSON or CSV of at most {MAX_FILE_BYTES:,} bytes")
        text = path.read_text(encoding="utf-8-sig") if path.suffix.lower() == ".json" else ""
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"label map: expected LABEL=CLASS,LABEL=CLASS or a file, found {str(path)[:80]!r} ({reason(error)[:80]})"
        ) from error
    if text:
        return _pairs_of_json(path, text)
    rows = CsvRows(path, ("label", "class"))
    rows.require()
    pairs: list[tuple[str, str]] = []
    for row in rows:
        if isinstance(row, DamagedRow):
            raise DatasetError(f"{path}, line {rows.line}: {row}")
        pairs.append((row["label"], row["class"]))
    return pairs


def _pairs_of_json(path: Path, text: str) -> list[tuple[str, str]]:
    try:
        found = strict_json(text)
    except ValueError as error:
        raise DatasetError(f"{path}: not JSON ({reason(error)[:80]}); expected {{LABEL: CLASS}}") from error
    if not isinstance(found, dict):
        raise DatasetError(f"{path}: expected a JSON object {{LABEL: CLASS}}, found {type(found).__name__}")
    return [(label, str(name)) for label, name in cast("dict[str, object]", found).items()]
