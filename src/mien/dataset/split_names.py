"""Names of splits: the one table that folders, CSV cells, `fer2013.csv`, votes and the command line are read with."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from mien.dataset.samples import SPLITS
from mien.errors import DatasetError

SPLIT_NAMES: dict[str, str] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "publictest": "validation",
    "test": "test",
    "testing": "test",
    "privatetest": "test",
}
"""Name found in the wild, lower-case and without blanks, dashes and underscores -> mien's name."""


def split_named(name: str) -> str | None:
    """The split that a name means, whatever its case ("PublicTest" is "validation"); None if it means none."""
    return SPLIT_NAMES.get("".join(c for c in name.casefold() if c not in " -_"))


def known_split(name: str) -> str:
    """The split that a name means.

    Raises:
        DatasetError: it means none; the nearest name is suggested.
    """
    found = split_named(name)
    if found is None:
        near = get_close_matches(name.casefold(), SPLIT_NAMES, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise DatasetError(f"unknown split {name!r}: expected one of {', '.join(SPLITS)}{hint}")
    return found


def splits_among(names: Iterable[str]) -> dict[str, list[str]]:
    """mien's name -> the names among `names` that mean it, in the order of `SPLITS`."""
    found: dict[str, list[str]] = {split: [] for split in SPLITS}
    for name in sorted(names):
        if (split := split_named(name)) is not None:
            found[split].append(name)
    return {split: meant for split, meant in found.items() if meant}
