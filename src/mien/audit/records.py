"""What an audit finds: frozen, and without pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mien.dataset import Sample


@dataclass(frozen=True, slots=True)
class Picture:
    """A labeled picture and the split it stands in."""

    split: str
    sample: Sample

    @property
    def label(self) -> str:
        """Canonical class name."""
        return self.sample.label

    def path_from(self, root: str) -> str:
        """Its path, relative to the data set where it lies inside, with forward slashes."""
        path = self.sample.path
        return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Two or more files with the same pixels, in the order of the splits."""

    pictures: tuple[Picture, ...]

    @property
    def splits(self) -> tuple[str, ...]:
        """Each split once, in order."""
        return tuple(dict.fromkeys(p.split for p in self.pictures))

    @property
    def labels(self) -> tuple[str, ...]:
        """Each label once, sorted."""
        return tuple(sorted({p.label for p in self.pictures}))

    def of(self, split: str) -> tuple[Picture, ...]:
        """The pictures of one split."""
        return tuple(p for p in self.pictures if p.split == split)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two pictures that look the same and differ in pixels, in the order of the splits.

    `correlation` is that of their thumbnails, up to 1; `turn` says how the second is turned to look like the first.
    """

    first: Picture
    second: Picture
    correlation: float
    turn: str

    @property
    def splits(self) -> tuple[str, ...]:
        """Each split once, in order."""
        return tuple(dict.fromkeys((self.first.split, self.second.split)))

    @property
    def labels(self) -> tuple[str, ...]:
        """Each label once, sorted."""
        return tuple(sorted({self.first.label, self.second.label}))


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file that is no picture, or a damaged one; `reason` names it."""

    picture: Picture
    reason: str


@dataclass(frozen=True, slots=True)
class FaceCheck:
    """Which of `looked_at` pictures the detector found no face in: a hint, as tight crops are hard to detect in."""

    detector: str
    looked_at: int
    missing: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class WrongLabel:
    """A label that the model contradicts; probabilities are the model's, 0..1."""

    picture: Picture
    suggested: str
    probability_of_label: float
    probability_of_suggested: float


@dataclass(frozen=True, slots=True)
class LabelCheck:
    """Labels of one split against a model, named with its answer and prior; the surest contradictions come first."""

    split: str
    model: str
    model_sha256: str
    checked: int
    found: tuple[WrongLabel, ...]


@dataclass(frozen=True, slots=True)
class Audit:
    """What is wrong with a data set, or may be.

    Attributes:
        data: the folder (of a CSV: the one it lies in).
        balance: split -> class -> how many pictures; the splits in their order.
        identical: pictures that share every pixel with another.
        near: pairs that look the same and do not share every pixel.
        unreadable, blank: files that cannot be read; pictures with almost no contrast.
        faces, labels: None when not checked.
        remarks: what a reader must know about how this came about, one sentence each.
    """

    data: str
    balance: Mapping[str, Mapping[str, int]]
    identical: tuple[DuplicateGroup, ...]
    near: tuple[Pair, ...]
    unreadable: tuple[Unreadable, ...]
    blank: tuple[Picture, ...]
    faces: FaceCheck | None = None
    labels: LabelCheck | None = None
    remarks: tuple[str, ...] = ()

    @property
    def pictures(self) -> int:
        """Files in all splits, unreadable ones among them."""
        return sum(sum(counts.values()) for counts in self.balance.values())

    def repeated(self, split: str, other: str) -> int:
        """How many pictures of `split` stand in `other` too, pixel for pixel."""
        return sum(len(g.of(split)) for g in self.identical if g.of(other))

    def copies(self, split: str) -> int:
        """How many pictures of `split` stand earlier in it already, pixel for pixel."""
        return sum(max(len(g.of(split)) - 1, 0) for g in self.identical)
