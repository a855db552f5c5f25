"""What a labeled data set is, whatever layout it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SPLITS = ("train", "validation", "test")
"""Names of the splits, used the same everywhere."""

ONE_SPLIT = "all"
"""What the split of a data set is called that is not divided."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One labeled picture.

    `label` is a canonical class name. `votes` counts how many annotators chose each class (canonical names; empty
    when the data set has no votes). `metadata` holds the other columns of a CSV data set, as text.
    """

    path: Path
    label: str
    votes: Mapping[str, int] = field(default_factory=dict[str, int])
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Split:
    """One split of a data set: its samples in a stable order and its classes sorted by name.

    `passed_over` counts the files among the pictures that are none, by suffix.
    """

    root: Path
    name: str
    classes: tuple[str, ...]
    samples: tuple[Sample, ...]
    passed_over: Mapping[str, int] = field(default_factory=dict[str, int])

    def __len__(self) -> int:
        return len(self.samples)
